//! Three brokers, topics of three copies of which two must be in sync: one broker is killed, frozen or restarted under
//! load.
//!
//! What was acked is judged by what a plain client reads afterwards, what was handled by a group that reads all the
//! time. `BUSLINE_FAULT_ROUNDS` makes the runs longer; the default is a short one.

mod deleted;
mod fresh_topics;
mod group;
#[path = "../faults/load.rs"]
#[allow(dead_code, reason = "the fault tests of one broker use the rest")]
mod load;
mod one_of_three;
mod place;
#[path = "../faults/plain.rs"]
mod plain;
mod seed;

/// How often a fault is repeated in one run.
fn rounds(short: u32) -> u32 {
    std::env::var("BUSLINE_FAULT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(short)
}
