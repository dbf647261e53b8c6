//! Every limit that `busline doctor` lists, with its default and unit.

use std::time::Duration;

#[cfg(feature = "kafka")]
use busline::KafkaConfig;
#[cfg(feature = "nats")]
use busline::NatsConfig;
#[cfg(feature = "sqlite")]
use busline::SqliteConfig;
use busline::{
    BATCH_ITEMS_MAX, HANDLER_BATCH_MAX, HEADER_BYTES_MAX, HEADERS_MAX, ID_BYTES_MAX, JSON_DEPTH_MAX, KEY_BYTES_MAX,
    NAME_BYTES_MAX, PARTITIONS_MAX, PublisherSettings, ReplayOptions, SubscriptionSettings, TOPIC_AND_GROUP_BYTES_MAX,
    TopicSpec,
};
use serde::Serialize;

use super::{deliver, job, publish, subscribe};
use crate::input;
use crate::output::NOTES_MAX;

/// One limit; `None` means that there is none by default.
#[derive(Serialize)]
pub(super) struct Limit {
    pub(super) of: &'static str,
    pub(super) name: &'static str,
    pub(super) default: Option<u64>,
    pub(super) unit: &'static str,
}

impl Limit {
    fn bytes(of: &'static str, name: &'static str, bytes: usize) -> Self {
        Self { of, name, default: Some(bytes as u64), unit: "bytes" }
    }

    fn count(of: &'static str, name: &'static str, count: usize, unit: &'static str) -> Self {
        Self { of, name, default: Some(count as u64), unit }
    }

    fn time(of: &'static str, name: &'static str, time: Duration) -> Self {
        Self { of, name, default: Some(millis(time)), unit: "ms" }
    }

    fn none(of: &'static str, name: &'static str, default: Option<u64>, unit: &'static str) -> Self {
        Self { of, name, default, unit }
    }
}

/// All of them, in the order they are shown.
pub(super) fn limits() -> Vec<Limit> {
    let mut limits = of_events();
    limits.extend(of_backends());
    limits.extend(of_commands());
    limits.extend(of_groups());
    limits.extend(of_replays());
    limits
}

fn of_events() -> Vec<Limit> {
    let (publisher, topic) = (PublisherSettings::default(), TopicSpec::default());
    let retention = topic.retention;
    vec![
        Limit::bytes("topic", "name_bytes_max", NAME_BYTES_MAX),
        Limit::bytes("topic", "topic_and_group_bytes_max", TOPIC_AND_GROUP_BYTES_MAX),
        Limit::count("topic", "partitions", topic.partitions as usize, "partitions"),
        Limit::count("topic", "partitions_max", PARTITIONS_MAX as usize, "partitions"),
        Limit::none("topic", "retention_age_max", retention.age_max.map(millis), "ms"),
        Limit::none("topic", "retention_bytes_max", retention.bytes_max, "bytes"),
        Limit::none("topic", "retention_records_max", retention.records_max, "records"),
        Limit::bytes("envelope", "key_bytes_max", KEY_BYTES_MAX),
        Limit::bytes("envelope", "id_bytes_max", ID_BYTES_MAX),
        Limit::count("envelope", "headers_max", HEADERS_MAX, "headers"),
        Limit::bytes("envelope", "header_bytes_max", HEADER_BYTES_MAX),
        Limit::count("envelope", "json_depth_max", JSON_DEPTH_MAX as usize, "levels"),
        Limit::bytes("publisher", "record_bytes_max", publisher.record_bytes_max),
        Limit::count("publisher", "window_envelopes_max", publisher.window_envelopes_max, "envelopes"),
        Limit::bytes("publisher", "window_bytes_max", publisher.window_bytes_max),
        Limit::count("publisher", "batch_items_max", BATCH_ITEMS_MAX, "envelopes"),
        Limit::time("publisher", "deadline", publisher.deadline),
    ]
}

fn of_backends() -> Vec<Limit> {
    let backends: &[fn() -> Vec<Limit>] = &[
        #[cfg(feature = "sqlite")]
        of_sqlite,
        #[cfg(feature = "nats")]
        of_nats,
        #[cfg(feature = "kafka")]
        of_kafka,
    ];
    backends.iter().flat_map(|limits| limits()).collect()
}

#[cfg(feature = "sqlite")]
fn of_sqlite() -> Vec<Limit> {
    let sqlite = SqliteConfig::new("");
    vec![
        Limit::time("sqlite", "patience", sqlite.patience),
        Limit::count("sqlite", "batch_records_max", sqlite.batch_records_max, "records"),
        Limit::bytes("sqlite", "batch_bytes_max", sqlite.batch_bytes_max),
        Limit::count("sqlite", "checkpoint_pages", sqlite.checkpoint_pages as usize, "pages of 8 KiB"),
        Limit::none("sqlite", "file_bytes_max", sqlite.file_bytes_max, "bytes"),
        Limit::time("sqlite", "retention_interval", sqlite.retention_interval),
    ]
}

#[cfg(feature = "nats")]
fn of_nats() -> Vec<Limit> {
    let nats = NatsConfig::new("", 0);
    vec![
        Limit::count("nats", "servers_max", NatsConfig::SERVERS_MAX, "servers"),
        Limit::time("nats", "connect_timeout", nats.connect_timeout),
        Limit::time("nats", "patience", nats.patience),
    ]
}

#[cfg(feature = "kafka")]
fn of_kafka() -> Vec<Limit> {
    let kafka = KafkaConfig::new([""; 0]);
    vec![
        Limit::count("kafka", "servers_max", KafkaConfig::SERVERS_MAX, "servers"),
        Limit::time("kafka", "patience", kafka.patience),
    ]
}

fn of_commands() -> Vec<Limit> {
    vec![
        Limit::bytes("pub", "line_bytes_max", input::LINE_BYTES_MAX),
        Limit::count("pub", "lines_waiting_max", publish::LINES_WAITING_MAX, "lines"),
        Limit::count("pub", "notes_max", NOTES_MAX as usize, "lines"),
        Limit::count("sub", "read_records_max", subscribe::READ_RECORDS_MAX, "records"),
        Limit::bytes("sub", "read_bytes_max", subscribe::READ_BYTES_MAX),
        Limit::time("sub", "pause_min", subscribe::PAUSE_MIN),
        Limit::time("sub", "pause_max", subscribe::PAUSE_MAX),
        Limit::time("all commands", "close_max", job::CLOSE_MAX),
    ]
}

fn of_groups() -> Vec<Limit> {
    // Taken apart, so that no field can be left out.
    let SubscriptionSettings {
        concurrency,
        handler_timeout,
        retry,
        in_flight_records_max,
        in_flight_bytes_max,
        ahead_max,
        commit_records,
        commit_interval,
        lease,
        parking: _,
        parked_keys_max,
        start: _,
    } = SubscriptionSettings::default();
    vec![
        Limit::count("group", "concurrency", concurrency, "handlers"),
        Limit::count("group", "attempts_max", retry.attempts_max as usize, "attempts"),
        Limit::count("group", "handler_batch_max", HANDLER_BATCH_MAX, "events"),
        Limit::time("group", "backoff_min", retry.backoff_min),
        Limit::time("group", "backoff_max", retry.backoff_max),
        Limit::time("group", "handler_timeout", handler_timeout),
        Limit::time("group", "lease", lease),
        Limit::time("group", "commit_interval", commit_interval),
        Limit::count("group", "commit_records", commit_records, "records"),
        Limit::count("group", "in_flight_records_max", in_flight_records_max, "records"),
        Limit::bytes("group", "in_flight_bytes_max", in_flight_bytes_max),
        Limit::none("group", "ahead_max", Some(ahead_max), "records of a partition"),
        Limit::count("group", "parked_keys_max", parked_keys_max, "keys of a partition"),
        Limit::time("sub --group", "reader_wait_max", deliver::READER_WAIT_MAX),
        Limit::count("sub --group", "lines_max", deliver::LINES_MAX, "lines of one flush"),
        Limit::time("sub --group", "close_extra", deliver::CLOSE_EXTRA),
    ]
}

fn of_replays() -> Vec<Limit> {
    // Taken apart, so that no field can be left out.
    let ReplayOptions { filter: _, concurrency, rate: _, records_max, retry, handler_timeout, lease } =
        ReplayOptions::default();
    let of = "parked replay";
    vec![
        Limit::count(of, "concurrency", concurrency, "keys"),
        Limit::none(of, "rate", None, "records a second"),
        Limit::none(of, "records_max", records_max, "records"),
        Limit::count(of, "attempts_max", retry.attempts_max as usize, "attempts"),
        Limit::time(of, "handler_timeout", handler_timeout),
        Limit::time(of, "lease", lease),
    ]
}

/// Milliseconds, for JSON.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
