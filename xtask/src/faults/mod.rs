//! `cargo xtask faults`: the fault tests of a backend on real servers, long and in release, until enough was acked.
//!
//! The tests judge; each tells of what it judged by a line of JSON (`FaultRun` in `busline-conformance`). This repeats
//! them and adds up. A round whose tests fail ends it. `BUSLINE_SEED` reaches the tests, so that `--acked 1` with the seed
//! of a run repeats the round that had it.

mod report;
mod request;
mod task;

pub(crate) use request::Request;
pub(crate) use task::run;
