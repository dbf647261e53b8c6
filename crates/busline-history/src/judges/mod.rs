//! The judges: pure functions from a run to the rules it broke, one file per group of rules.

mod bounds;
mod close;
mod content;
mod duplicates;
mod durability;
mod gaps;
mod key_order;
mod liveness;
mod loss;
mod outcome;
mod owed;
mod parking;
mod positions;
mod progress;
mod publish_order;
mod table;
mod time;

pub use table::{JUDGES, Judge, judge};
