//! Kafka brokers in KRaft mode.

mod cluster;
mod installed;
mod options;
mod server;
mod wire;

pub use cluster::Cluster;
pub use installed::{CURRENT, java};
pub use options::Options;
pub use server::{Kafka, Server};
