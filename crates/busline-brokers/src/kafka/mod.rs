//! Kafka brokers in KRaft mode.

mod cluster;
mod installed;
mod options;
mod server;
mod wire;

pub use installed::{CURRENT, java};
pub use options::Options;
pub use server::Server;

/// Three Kafka brokers in one cluster.
pub type Cluster = crate::Cluster<Server>;
