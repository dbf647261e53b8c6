//! Three Kafka brokers that replicate, each a controller too; topics have three copies and `min.insync.replicas` 2 unless
//! they say otherwise.

use std::sync::Arc;

use super::Options;
use super::server::{Peers, Server};
use crate::Error;
use crate::cluster::{self, NODES};
use crate::ground::Ground;

/// Three Kafka brokers in one cluster.
pub type Cluster = cluster::Cluster<Server>;

impl Cluster {
    /// Starts three brokers, numbered from 1, and waits until each knows all of them.
    ///
    /// # Errors
    /// Those of [`Server::start`].
    pub fn start(options: &Options) -> Result<Self, Error> {
        Self::start_with(|| {
            let ground = Arc::new(Ground::new("kafka-cluster")?);
            let peers = Peers::new(NODES, options)?;
            let begin = |number| Server::begin(options, Arc::clone(&ground), number, peers.clone());
            (0..NODES).map(begin).collect()
        })
    }

    /// For clients: `kafka://HOST:PORT,HOST:PORT,HOST:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("kafka://{}", self.bootstrap())
    }

    /// For clients that want hosts and ports: `HOST:PORT,HOST:PORT,HOST:PORT`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.nodes().iter().map(Server::bootstrap).collect::<Vec<_>>().join(",")
    }
}
