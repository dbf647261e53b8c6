//! What brokers and networks do on bad days, judged by what a plain client reads afterwards.
//!
//! `BUSLINE_FAULT_ROUNDS` makes the runs longer; the default is a short one.

#[path = "../broker/mod.rs"]
mod broker;
mod fenced;
mod first_ack;
mod first_group;
mod fresh_topics;
mod killed;
mod load;
mod members;
mod network;
mod plain;
mod refused;
mod replaced;
mod silent;

/// How often a fault is repeated in one run.
fn rounds(short: u32) -> u32 {
    std::env::var("BUSLINE_FAULT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(short)
}
