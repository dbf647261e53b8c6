//! Three brokers that replicate.

use std::sync::Arc;

use super::Options;
use super::server::{Peers, Server};
use crate::ground::Ground;
use crate::{Error, Left};

const NODES: usize = 3;

/// Starts with other ports, if another process took one of them.
const STARTS: usize = 5;

/// Three Kafka brokers, each a controller too; topics have three copies and `min.insync.replicas` 2 unless they say
/// otherwise. Dropping it kills them and removes their logs.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    /// Starts three brokers and waits until each knows all of them.
    ///
    /// # Errors
    /// Those of [`Server::start`].
    pub fn start(options: &Options) -> Result<Self, Error> {
        let mut last = None;
        for _ in 0..STARTS {
            let cluster = Self::begin(options)?;
            match cluster.wait_until_ready() {
                Ok(()) => return Ok(cluster),
                Err(error) if cluster.nodes.iter().any(Server::lost_its_port) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::failed("the cluster was never started")))
    }

    fn begin(options: &Options) -> Result<Self, Error> {
        let ground = Arc::new(Ground::new("kafka-cluster")?);
        let peers = Peers::new(NODES)?;
        let begin = |number| Server::begin(options, Arc::clone(&ground), number, peers.clone());
        Ok(Self { nodes: (0..NODES).map(begin).collect::<Result<Vec<Server>, Error>>()? })
    }

    /// The brokers, each with its own life; the first has the number 1.
    #[must_use]
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// For clients: `kafka://HOST:PORT,HOST:PORT,HOST:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("kafka://{}", self.bootstrap())
    }

    /// For clients that want hosts and ports: `HOST:PORT,HOST:PORT,HOST:PORT`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.nodes.iter().map(Server::bootstrap).collect::<Vec<_>>().join(",")
    }

    /// Waits until every broker knows all of them as alive.
    ///
    /// # Errors
    /// One of them ended, or it took more than 180 s.
    pub fn wait_until_ready(&self) -> Result<(), Error> {
        self.nodes.iter().try_for_each(Server::wait_until_ready)
    }

    /// Leaves the brokers running after this program.
    ///
    /// # Errors
    /// One of them does not run.
    pub fn leave(self) -> Result<Vec<Left>, Error> {
        self.nodes.into_iter().map(Server::leave).collect()
    }
}
