//! What brokers and networks do on bad days, judged by what a plain client reads afterwards.
//!
//! `cargo xtask faults kafka` makes the runs long.

#[path = "../broker/mod.rs"]
mod broker;
mod deletion;
mod disk_full;
mod fenced;
mod first_ack;
mod first_group;
mod fresh_topics;
#[allow(dead_code, reason = "the tests of rights use the rest")]
mod group;
mod killed;
mod late;
mod load;
mod members;
mod moved;
mod network;
mod plain;
mod refused;
mod replaced;
mod silent;
