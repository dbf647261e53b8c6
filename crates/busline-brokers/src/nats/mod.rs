//! NATS servers with JetStream.

mod cluster;
mod installed;
mod monitor;
mod options;
mod server;

pub use installed::{CURRENT, OLDER};
pub use options::Options;
pub use server::Server;

/// Three NATS servers in one cluster.
pub type Cluster = crate::Cluster<Server>;
