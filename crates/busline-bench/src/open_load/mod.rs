//! Open load: envelopes are published when their time has come, whatever became of the ones before.
//!
//! ```text
//! request ─→ run ─→ sweep    which rate comes next
//!             └──→ paced ─→ pace      when each envelope is due
//!                    └────→ series    memory, lag and throughput over time, and their slopes
//!             outcome: what a rate came to
//! ```
//! Latencies count from the due time, so an envelope that waits behind a stall is as late as it was for its user.

mod command;
mod outcome;
mod pace;
mod paced;
mod request;
mod run;
mod series;
mod sweep;

pub use outcome::{BestRate, OpenReport, RateResult};
pub(crate) use pace::Pace;
pub use request::{OpenRequest, Rates};
pub use run::{open_load, open_load_on};
pub use series::{Point, Rise, Rises};
