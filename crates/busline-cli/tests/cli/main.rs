//! The real binary, run as people and scripts run it.

mod bench;
mod canary;
mod harness;
mod publish;
mod strategies;
mod subscribe;
mod topics;
