//! Parking: what keeps failing leaves the way without leaving its order.
//!
//! ```text
//!  worker ─ out of attempts, or its key is parked ─→ queue ─→ keep ─ park, behind ─→ parking topic
//!    ↑                                                         │ ↑                      │   ↑
//!    └────────── lane goes on, progress moves ←── read back ───┘ └──── done ────────────┘   │ replayer, failed, done
//!                                                                                        replay
//! ```
//! The parking topic is the state: [`log::LogState`] is a fold over its entries, and nothing else is stored.

mod cuts;
mod entry;
mod filter;
mod follower;
mod gate;
mod halt;
mod keep;
mod log;
mod owner;
mod page;
mod parcel;
mod parked;
mod replay;
mod retire;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use keep::keep;
pub(crate) use log::Way;
pub(crate) use owner::{Cause, Item, Kind, Parking};
pub(crate) use writer::Writer;

pub use entry::{Diagnosis, ParkedScope, parked_record};
pub use filter::ParkedFilter;
pub use follower::ParkedRecord;
pub use parked::{Extent, Parked, ParkedQueue};
pub use replay::{ReplayOptions, ReplayReport};
pub use retire::{Deletion, ParkedCount};
pub(crate) use retire::{delete_group, delete_topic};
