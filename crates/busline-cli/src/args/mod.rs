//! What can be written on the command line; this module only parses.

mod bench;
mod canary;
mod group;
mod line;
mod parked;
mod publish;
mod subscribe;
mod topic;
mod values;

pub(crate) use bench::Bench;
pub(crate) use canary::Canary;
pub(crate) use group::Group;
pub(crate) use line::{BUS_DEFAULT, Cli, Command};
pub(crate) use parked::Parked;
pub(crate) use publish::{Event, Publish};
pub(crate) use subscribe::Subscribe;
pub(crate) use topic::{Topic, TopicUpdate};
pub(crate) use values::Limit;
