//! NATS servers with JetStream.

mod cluster;
mod installed;
mod monitor;
mod options;
mod server;

pub use cluster::Cluster;
pub use installed::{CURRENT, OLDER};
pub use options::Options;
pub use server::{Nats, Server};
