//! Three brokers, topics of three copies of which two must be in sync: one broker is killed, frozen or restarted under
//! load.
//!
//! What was acked is judged by what a plain client reads afterwards, what was handled by a group that reads all the
//! time. `cargo xtask faults kafka` makes the runs long.

mod deleted;
mod fresh_topics;
#[path = "../faults/group.rs"]
#[allow(dead_code, reason = "the fault tests of one broker use the rest")]
mod group;
#[path = "../faults/load.rs"]
#[allow(dead_code, reason = "the fault tests of one broker use the rest")]
mod load;
mod one_of_three;
mod place;
#[path = "../faults/plain.rs"]
mod plain;
