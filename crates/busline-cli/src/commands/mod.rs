//! The commands: arguments become one plain request, and the request runs.

mod bench;
mod canary;
mod deliver;
mod doctor;
mod group;
mod job;
mod limits;
mod manual;
mod mode;
mod open_load;
mod outcome;
mod parked;
mod publish;
mod report_files;
mod subscribe;
mod topic;
#[cfg(feature = "sqlite")]
mod workloads;
#[cfg(not(feature = "sqlite"))]
#[path = "no_workloads.rs"]
mod workloads;

pub(crate) use bench::say_what_is_left;
pub(crate) use job::{Ended, Job};
pub(crate) use outcome::Outcome;
