//! Which server.

use std::fmt;

use anyhow::Result;
use busline_brokers::{Left, kafka, nats};

/// A server or a cluster that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With its version.
    Nats(String),
    NatsCluster,
    Kafka,
    KafkaCluster,
}

/// A server that was started and left running.
pub(crate) struct Running {
    /// For clients; several with commas between them.
    pub(crate) url: String,
    /// The server's own pages, one address for each node; Kafka has none.
    pub(crate) pages: Vec<String>,
    pub(crate) left: Vec<Left>,
}

impl Kind {
    /// The kind of a word as `nats@2.12.8`.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "nats" => Some(Self::Nats(nats::CURRENT.into())),
            "nats-cluster" => Some(Self::NatsCluster),
            "kafka" => Some(Self::Kafka),
            "kafka-cluster" => Some(Self::KafkaCluster),
            other => {
                let version = other.strip_prefix("nats@").filter(|version| is_version(version))?;
                Some(Self::Nats(version.into()))
            }
        }
    }

    /// Starts it, waits until it is ready and leaves it running.
    pub(crate) fn start(&self) -> Result<Running> {
        Ok(match self {
            Self::Nats(version) => {
                let options = nats::Options { version: version.clone(), ..nats::Options::default() };
                let server = nats::Server::start(&options)?;
                Running { url: server.url(), pages: vec![server.monitor_url()], left: vec![server.leave()?] }
            }
            Self::NatsCluster => {
                let cluster = nats::Cluster::start(&nats::Options::default())?;
                let pages = cluster.nodes().iter().map(nats::Server::monitor_url).collect();
                Running { url: cluster.url(), pages, left: cluster.leave()? }
            }
            Self::Kafka => {
                let server = kafka::Server::start(&kafka::Options::default())?;
                Running { url: server.url(), pages: Vec::new(), left: vec![server.leave()?] }
            }
            Self::KafkaCluster => {
                let cluster = kafka::Cluster::start(&kafka::Options::default())?;
                Running { url: cluster.url(), pages: Vec::new(), left: cluster.leave()? }
            }
        })
    }
}

/// Digits and dots only: the version becomes the name of a folder.
fn is_version(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_digit()) && word.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nats(version) if version == nats::CURRENT => f.pad("nats"),
            Self::Nats(version) => f.pad(&format!("nats@{version}")),
            Self::NatsCluster => f.pad("nats-cluster"),
            Self::Kafka => f.pad("kafka"),
            Self::KafkaCluster => f.pad("kafka-cluster"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_as_it_is_shown() {
        for word in ["nats", "nats@2.12.8", "nats-cluster", "kafka", "kafka-cluster"] {
            assert_eq!(Kind::parse(word).expect("it is a kind").to_string(), word);
        }
        assert!(Kind::parse("nats@../x").is_none());
        assert!(Kind::parse("rabbit").is_none());
    }
}
