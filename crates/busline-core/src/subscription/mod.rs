//! The subscribing engine: many keys at once, one key strictly in order.
//!
//! ```text
//!  Source ─ records ─→ reader ─→ Lanes (a queue for each key) ─→ workers ─→ handler
//!     ↑                            │ finished prefix     ↑  ↑      │
//!     └──── commits ── tender ←────┘      alarm ─ due ───┘  └ ends ┘
//! ```

mod behind;
mod builder;
mod engine;
mod guarded;
mod hand;
mod handler;
mod holds;
mod lane;
mod lanes;
#[cfg(test)]
mod lanes_model;
mod outcome;
mod parking;
mod progress;
mod reader;
mod refused;
mod retry;
mod settings;
mod subscribe;
mod tender;
mod watchdog;
mod worker;

pub(crate) use guarded::handling;
pub(crate) use handler::Place;
pub(crate) use parking::{delete_group, delete_topic};
pub(crate) use subscribe::{SubscriptionCore, close_in_handler};

pub use builder::{HANDLER_BATCH_MAX, SubscriptionBuilder};
pub use handler::{BatchHandler, Delivery, Handler, HandlerError, Verdict};
pub use outcome::{ParkingHealth, SubscriptionStats};
pub use parking::{
    Deletion, Diagnosis, Extent, Parked, ParkedCount, ParkedFilter, ParkedQueue, ParkedRecord, ParkedScope,
    ReplayOptions, ReplayReport, parked_record,
};
pub use retry::Retry;
pub use settings::{ParkingPolicy, SubscriptionSettings};
pub use subscribe::{Blocked, Left, Subscription};
