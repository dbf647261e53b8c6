//! Three servers that replicate.

use std::sync::Arc;

use super::Options;
use super::server::{Place, Server};
use crate::ground::Ground;
use crate::{Error, Left, ports};

const NODES: usize = 3;

/// Starts with other ports, if another process took one of them.
const STARTS: usize = 5;

/// Three NATS servers in one cluster. Dropping it kills them and removes their stores.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    /// Starts three servers and waits until all are ready and have chosen a leader.
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
        let ground = Arc::new(Ground::new("nats-cluster")?);
        let routes = (0..NODES).map(|_| ports::free()).collect::<Result<Vec<u16>, Error>>()?;
        let begin = |number: usize| {
            let place = Place::Cluster { number, routes: routes.clone() };
            Server::begin(options, Arc::clone(&ground), &format!("nats-{}", number + 1), place)
        };
        Ok(Self { nodes: (0..NODES).map(begin).collect::<Result<Vec<Server>, Error>>()? })
    }

    /// The servers, each with its own life.
    #[must_use]
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// For clients: the URLs of all servers, with commas between them.
    #[must_use]
    pub fn url(&self) -> String {
        self.nodes.iter().map(Server::url).collect::<Vec<_>>().join(",")
    }

    /// Waits until every server is ready.
    ///
    /// # Errors
    /// One of them ended, or was not ready within 60 s.
    pub fn wait_until_ready(&self) -> Result<(), Error> {
        self.nodes.iter().try_for_each(Server::wait_until_ready)
    }

    /// Leaves the servers running after this program.
    ///
    /// # Errors
    /// One of them does not run.
    pub fn leave(self) -> Result<Vec<Left>, Error> {
        self.nodes.into_iter().map(Server::leave).collect()
    }
}
