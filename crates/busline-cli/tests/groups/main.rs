//! Members of a group as processes of their own: shared, killed, stopped, locked out, interrupted.

mod administration;
mod faults;
mod file_history;
#[path = "../cli/harness.rs"]
#[expect(dead_code, reason = "each test target needs another part of it")]
mod harness;
mod lines;
mod lock;
mod members;
mod parked;
