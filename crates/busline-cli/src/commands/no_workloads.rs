//! `busline bench --workload` in a build without SQLite, on whose files the workloads are measured.

use busline::{Error, ErrorKind, Result};

use super::Ended;
use crate::args::Bench;
use crate::interrupt::Stop;
use crate::output::Output;

/// Never made.
pub(crate) enum Request {}

impl Request {
    /// # Errors
    /// `Unsupported/Feature`, always.
    pub(super) fn new(_args: &Bench) -> Result<Self> {
        Err(left_out())
    }
}

pub(super) async fn run(request: Request, _output: &mut Output, _stop: Stop) -> Result<Ended> {
    match request {}
}

pub(super) async fn publish(_arguments: Vec<String>) -> Result<Ended> {
    Err(left_out())
}

fn left_out() -> Error {
    Error::new(ErrorKind::Unsupported, "Feature")
        .cause("workloads are measured on SQLite files, and this build leaves the sqlite driver out")
        .next("build with the feature 'sqlite'")
        .at("bench", "")
}
