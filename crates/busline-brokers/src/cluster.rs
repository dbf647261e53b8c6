//! Three servers that replicate, whatever they are.

use crate::{Error, Left, ports};

/// Servers of a cluster.
pub(crate) const NODES: usize = 3;

/// What a cluster asks of each of its servers.
pub trait Member: Sized {
    /// Waits until it is ready and knows the others.
    ///
    /// # Errors
    /// It ended, or it took too long.
    fn wait_until_ready(&self) -> Result<(), Error>;

    /// Whether another process had taken one of its ports.
    fn lost_its_port(&self) -> bool;

    /// Leaves the server running after this program.
    ///
    /// # Errors
    /// It does not run.
    fn leave(self) -> Result<Left, Error>;
}

/// Three servers in one cluster. Dropping it kills them and removes their stores.
#[derive(Debug)]
pub struct Cluster<S> {
    nodes: Vec<S>,
}

impl<S: Member> Cluster<S> {
    /// Starts what `begin` begins, three servers at a time, and waits until all are ready.
    pub(crate) fn start_with(begin: impl Fn() -> Result<Vec<S>, Error>) -> Result<Self, Error> {
        let begin = || Ok(Self { nodes: begin()? });
        ports::start(begin, Self::wait_until_ready, |cluster| cluster.nodes.iter().any(S::lost_its_port))
    }

    /// The servers, each with its own life, in the order of their numbers.
    #[must_use]
    pub fn nodes(&self) -> &[S] {
        &self.nodes
    }

    /// Waits until every server is ready: NATS has a leader, each Kafka broker knows all of them as alive.
    ///
    /// # Errors
    /// One of them ended, or it took more than 60 s (NATS) or 180 s (Kafka).
    pub fn wait_until_ready(&self) -> Result<(), Error> {
        self.nodes.iter().try_for_each(S::wait_until_ready)
    }

    /// Leaves the servers running after this program.
    ///
    /// # Errors
    /// One of them does not run.
    pub fn leave(self) -> Result<Vec<Left>, Error> {
        self.nodes.into_iter().map(S::leave).collect()
    }
}
