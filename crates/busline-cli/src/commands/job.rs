//! What the command line asks for, checked and ready to run.

use std::time::Duration;

use busline::{Bus, Result};

use super::{bench, canary, deliver, doctor, group, manual, parked, publish, subscribe, topic};
use crate::args::Command;
use crate::interrupt::Stop;
use crate::output::Output;
use crate::target::Target;

/// One request.
pub(crate) enum Job {
    Publish(publish::Request),
    Subscribe(subscribe::Request),
    Deliver(Box<deliver::Request>),
    Group(group::Request),
    Topic(topic::Request),
    Parked(Box<parked::Request>),
    Bench(Box<bench::Request>),
    Doctor(doctor::Request),
    Canary(canary::Request),
    Manual(manual::Request),
}

/// How a command ended that did what it could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All is done.
    Done,
    /// Something failed, and was told.
    SomeFailed,
}

impl Job {
    /// Turns arguments into a request. Only `bench` takes further buses.
    ///
    /// # Errors
    /// What can be seen to be wrong before anything is opened: names, times, payloads.
    pub(crate) fn new(command: Command, bus: Target, further: Vec<Target>) -> Result<Self> {
        Ok(match command {
            Command::Pub(args) => Self::Publish(publish::Request::new(*args, bus)?),
            Command::Sub(args) if args.member.group.is_some() => {
                Self::Deliver(Box::new(deliver::Request::new(args, bus)?))
            }
            Command::Sub(args) => Self::Subscribe(subscribe::Request::new(args, bus)?),
            Command::Topic(args) => Self::Topic(topic::Request::new(args, bus)?),
            Command::Bench(args) => Self::Bench(Box::new(bench::Request::new(args, bus, further)?)),
            Command::Parked(args) => Self::Parked(Box::new(parked::Request::new(args, bus)?)),
            Command::Group(args) => Self::Group(group::Request::new(args, bus)?),
            Command::Doctor => Self::Doctor(doctor::Request { bus }),
            Command::Canary(args) => Self::Canary(canary::Request::new(args, bus)?),
            Command::Completions { shell } => Self::Manual(manual::Request::Completions(shell)),
            Command::Man { command } => Self::Manual(manual::Request::Page(command)),
        })
    }

    pub(crate) async fn run(self, output: &mut Output, stop: Stop) -> Result<Ended> {
        match self {
            Self::Publish(request) => publish::run(request, output, stop).await,
            Self::Subscribe(request) => subscribe::run(request, output, stop).await,
            Self::Deliver(request) => deliver::run(*request, output, stop).await,
            Self::Group(request) => group::run(request, output).await,
            Self::Parked(request) => parked::run(*request, output, stop).await,
            Self::Topic(request) => topic::run(request, output).await,
            Self::Bench(request) => bench::run(*request, output, stop).await,
            Self::Doctor(request) => doctor::run(request, output).await,
            Self::Canary(request) => canary::run(request, output, stop).await,
            Self::Manual(request) => manual::run(&request, output),
        }
    }
}

/// Time that a bus without anything unsettled gets to end.
pub(super) const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Closes the bus behind a command; the command's own error goes before one of closing.
pub(super) async fn close<T>(bus: &Bus, outcome: Result<T>) -> Result<T> {
    let closed = bus.close(CLOSE_MAX).await;
    let value = outcome?;
    closed.map(|_| value)
}
