//! The commands: arguments become one plain request, and the request runs.

mod bench;
mod deliver;
mod doctor;
mod group;
mod job;
mod manual;
mod outcome;
mod parked;
mod publish;
mod subscribe;
mod topic;

pub(crate) use job::{Ended, Job};
pub(crate) use outcome::Outcome;
