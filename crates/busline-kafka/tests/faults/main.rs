//! What brokers and networks do on bad days, judged by what a plain client reads afterwards.
//!
//! `BUSLINE_FAULT_ROUNDS` and `BUSLINE_FAULT_RECORDS` make the runs longer; the default is a short one.

#[path = "../broker/mod.rs"]
mod broker;
mod disk_full;
mod fenced;
mod first_ack;
mod first_group;
mod fresh_topics;
#[allow(dead_code, reason = "the tests of rights use the rest")]
mod group;
mod killed;
mod length;
mod load;
mod members;
mod network;
mod plain;
mod refused;
mod replaced;
mod seed;
mod silent;
