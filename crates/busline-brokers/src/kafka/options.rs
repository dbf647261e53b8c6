//! What a test may choose about a broker.

/// Settings of a broker or of all brokers of a cluster.
///
/// ```
/// let synced = busline_brokers::kafka::Options {
///     properties: "log.flush.interval.messages=1".into(),
///     ..Default::default()
/// };
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Largest heap of each broker, in MiB. `None`: 768 for one broker, 320 for each of three.
    pub heap_mib: Option<u32>,
    /// Lines of `server.properties`; they win over those that are written anyway. Default none.
    pub properties: String,
    /// Further listeners for clients beside the plain one, each a security protocol: `SASL_PLAINTEXT`, `SSL` or
    /// `SASL_SSL`. `properties` says what they need. Default none.
    pub listeners: Vec<String>,
}
