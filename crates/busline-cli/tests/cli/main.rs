//! The real binary, run as people and scripts run it.

mod bench;
mod harness;
mod publish;
mod subscribe;
mod topics;
