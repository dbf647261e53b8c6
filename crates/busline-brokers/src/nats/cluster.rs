//! Three NATS servers that replicate.

use std::sync::Arc;

use super::Options;
use super::server::{Place, Server};
use crate::cluster::{self, NODES};
use crate::ground::Ground;
use crate::{Error, ports};

/// Three NATS servers in one cluster.
pub type Cluster = cluster::Cluster<Server>;

impl Cluster {
    /// Starts three servers and waits until all are ready and have chosen a leader.
    ///
    /// # Errors
    /// Those of [`Server::start`].
    pub fn start(options: &Options) -> Result<Self, Error> {
        Self::start_with(|| {
            let ground = Arc::new(Ground::new("nats-cluster")?);
            let routes = (0..NODES).map(|_| ports::free()).collect::<Result<Vec<u16>, Error>>()?;
            let begin = |number: usize| {
                let place = Place::Cluster { number, routes: routes.clone() };
                Server::begin(options, Arc::clone(&ground), &format!("nats-{}", number + 1), place)
            };
            (0..NODES).map(begin).collect()
        })
    }

    /// For clients: the URLs of all servers, with commas between them.
    #[must_use]
    pub fn url(&self) -> String {
        self.nodes().iter().map(Server::url).collect::<Vec<_>>().join(",")
    }
}
