//! What the server can and how far its acks can be trusted, found out once at open.

use busline_core::{Error, ErrorKind, Medium, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::admin::Admin;
use crate::config::{NatsConfig, Strategy};
use crate::monitoring;
use crate::sink;
use crate::topics::{StreamConfig, StreamFeatures};

/// The server's level of the JetStream API that first has a feature.
const LEVEL_ATOMIC: u32 = 2;
const LEVEL_FAST: u32 = 4;

/// What was found out about the servers.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    version: String,
    /// The cluster's name; none of a server that stands alone.
    cluster: Option<String>,
    /// The server's level of the JetStream API.
    level: u32,
    pub(crate) features: StreamFeatures,
    pub(crate) payload_bytes_max: usize,
    /// Every server said that it syncs before it acks.
    pub(crate) syncs: bool,
}

#[derive(Deserialize)]
struct AccountInfo {
    #[serde(default)]
    api: ApiLevel,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ApiLevel {
    level: u32,
}

impl Server {
    /// # Errors
    /// `Unsupported/ServerVersion`, `Unsupported/JetStream`, `Unavailable/Server`.
    pub(crate) async fn find_out(admin: &Admin, config: &NatsConfig) -> Result<Self> {
        let info = admin.client().server_info();
        check_version(&info.version)?;
        let account: AccountInfo = admin.demand("INFO", &Value::Null).await?;
        let level = account.api.level;
        let features = StreamFeatures { atomic: level >= LEVEL_ATOMIC, fast: level >= LEVEL_FAST };
        let syncs = monitoring::all_sync(&config.monitors, config.connect_timeout).await?;
        let (version, cluster) = (info.version, info.cluster);
        Ok(Self { version, cluster, level, features, payload_bytes_max: info.max_payload, syncs })
    }

    /// What was found out, for people: a name and a text each.
    pub(crate) fn facts(&self, strategy: Strategy) -> Vec<(&'static str, String)> {
        let place = self.cluster.as_ref().map_or("alone".into(), |cluster| format!("in cluster {cluster}"));
        let publishing = match (strategy, self.features.fast) {
            (Strategy::Pipelined, _) => "pipelined, as strategy=pipelined asks",
            (_, true) => "fast ingest; pipelined where positions are required",
            (_, false) => "pipelined: fast ingest needs API level 4",
        };
        let atomic = match self.features.atomic {
            true => format!("up to {} records", sink::ATOMIC_RECORDS_MAX),
            false => format!("none: they need API level {LEVEL_ATOMIC}"),
        };
        let durability = match self.syncs {
            true => "synced: each server says that it syncs before it acks",
            false => {
                "written: no server says that it syncs before it acks; for synced set sync_interval: always there and \
                 monitor=HOST:PORT in the URL"
            }
        };
        vec![
            ("server", format!("nats-server {}, {place}", self.version)),
            ("JetStream API", format!("level {}", self.level)),
            ("publishing", publishing.into()),
            ("atomic batches", atomic),
            ("durability", durability.into()),
        ]
    }

    /// What an ack of this stream is worth.
    pub(crate) fn medium(&self, stream: &StreamConfig) -> Medium {
        if stream.storage != "file" {
            return Medium::Memory;
        }
        let asynchronous = stream.persist_mode.as_deref() == Some("async");
        match (self.syncs, asynchronous) {
            (true, false) => Medium::Synced,
            (false, false) => Medium::Written,
            // Queued in the server: a kill takes it.
            (_, true) => Medium::Memory,
        }
    }
}

/// Servers before 2.12.7 have known holes that any client can reach.
fn check_version(version: &str) -> Result<()> {
    let mut numbers = version.split(['.', '-', '+']).map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor, patch) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if (major, minor) < (2, 11) {
        return Err(Error::new(ErrorKind::Unsupported, "ServerVersion")
            .cause(format!("the server is {version}"))
            .next("use nats-server 2.12.7 or later; 2.14 or later for fast ingest"));
    }
    if (major, minor, patch) < (2, 12, 7) {
        tracing::warn!("nats-server {version} has known security holes; use 2.12.7 or later, or 2.14 or later");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(features: StreamFeatures, syncs: bool) -> Server {
        Server { version: "2.15.1".into(), cluster: None, level: 4, features, payload_bytes_max: 1 << 20, syncs }
    }

    #[test]
    fn facts_name_what_is_used_and_why_nothing_better_is() {
        let text = |fast, atomic, syncs, strategy| {
            format!("{:?}", server(StreamFeatures { fast, atomic }, syncs).facts(strategy))
        };
        let best = text(true, true, true, Strategy::Best);
        for part in ["2.15.1, alone", "level 4", "fast ingest;", "up to ", "synced: each"] {
            assert!(best.contains(part), "{part}: {best}");
        }
        let old = text(false, false, false, Strategy::Best);
        for part in ["needs API level 4", "need API level 2", "written: no server says"] {
            assert!(old.contains(part), "{part}: {old}");
        }
        assert!(text(true, true, false, Strategy::Pipelined).contains("as strategy=pipelined asks"));
    }

    #[test]
    fn old_servers_are_refused_by_name() {
        assert_eq!(check_version("2.9.10").expect_err("old").code(), "Unsupported/ServerVersion");
        assert_eq!(check_version("1.4.1").expect_err("old").code(), "Unsupported/ServerVersion");
        for version in ["2.11.0", "2.12.8", "2.15.1", "2.16.0-RC.1", "3.0.0"] {
            check_version(version).expect(version);
        }
    }

    #[test]
    fn an_ack_is_worth_what_the_stream_and_the_servers_attest() {
        let stream = |storage: &str, mode: Option<&str>| StreamConfig {
            storage: storage.into(),
            persist_mode: mode.map(Into::into),
            ..StreamConfig::default()
        };
        let features = StreamFeatures { atomic: true, fast: true };
        let server = |syncs| server(features, syncs);
        assert_eq!(server(false).medium(&stream("file", None)), Medium::Written);
        assert_eq!(server(true).medium(&stream("file", None)), Medium::Synced);
        assert_eq!(server(true).medium(&stream("file", Some("async"))), Medium::Memory);
        assert_eq!(server(true).medium(&stream("memory", None)), Medium::Memory);
    }
}
