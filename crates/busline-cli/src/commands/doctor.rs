//! `busline doctor`: the backend, what it can do, every limit, and whether the file is well.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use busline::{
    BATCH_ITEMS_MAX, Bus, Capabilities, Driver, Error, HANDLER_BATCH_MAX, HEADER_BYTES_MAX, HEADERS_MAX, ID_BYTES_MAX,
    JSON_DEPTH_MAX, KEY_BYTES_MAX, NAME_BYTES_MAX, Offset, PARTITIONS_MAX, Partition, PublisherSettings, ReadRequest,
    Result, SqliteConfig, SubscriptionSettings, TOPIC_AND_GROUP_BYTES_MAX, TopicInfo, TopicSpec,
};
use serde::Serialize;

use super::job::close;
use super::{Ended, deliver, publish, subscribe};
use crate::input;
use crate::output::{NOTES_MAX, Output};
use crate::target::Target;

pub(crate) struct Request {
    pub(crate) bus: Target,
}

pub(crate) async fn run(request: Request, output: &mut Output) -> Result<Ended> {
    let report = examine(&request.bus).await;
    output.data(&report)?;
    Ok(if report.is_healthy { Ended::Done } else { Ended::SomeFailed })
}

async fn examine(target: &Target) -> Report {
    let mut checks = target.file().map(file_checks).unwrap_or_default();
    let mut capabilities = None;
    match target.connect_existing().await {
        Ok(None) => {}
        Err(error) => checks.push(Check::bad("open", &error)),
        Ok(Some(bus)) => {
            capabilities = Some(CapabilityView::of(bus.driver().capabilities()));
            checks.extend(bus_checks(&bus).await);
        }
    }
    Report {
        bus: target.shown().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        is_healthy: checks.iter().all(|check| check.ok),
        checks,
        capabilities,
        limits: limits(),
    }
}

/// What can be seen of the file from outside.
fn file_checks(file: &Path) -> Vec<Check> {
    let bytes = |suffix: &str| {
        let mut path = file.as_os_str().to_owned();
        path.push(suffix);
        std::fs::symlink_metadata(path).ok().map(|found| found.len())
    };
    let mut checks = Vec::new();
    match bytes("") {
        Some(length) => checks.push(Check::good("file", format!("{length} bytes"))),
        None => checks.push(Check::good("file", "not there yet; the first publish makes it".into())),
    }
    if let Some(length) = bytes("-wal") {
        checks.push(Check::good("write-ahead log", format!("{length} bytes")));
    }
    checks
}

async fn bus_checks(bus: &Bus) -> Vec<Check> {
    let driver = &**bus.driver();
    let asked = Instant::now();
    let mut checks = vec![match driver.probe().await {
        Ok(()) => Check::good("answer", format!("in {:.1} ms", asked.elapsed().as_secs_f64() * 1e3)),
        Err(error) => Check::bad("answer", &error),
    }];
    match driver.topics().await {
        Err(error) => checks.push(Check::bad("topics", &error)),
        Ok(topics) => {
            checks.push(Check::good("topics", topics.len().to_string()));
            for topic in &topics {
                checks.push(match ends(driver, topic).await {
                    Ok(positions) => Check::good("topic", format!("{}: {positions} offsets", topic.name)),
                    Err(error) => Check::bad("topic", &error),
                });
            }
        }
    }
    match deleted_unread(driver).await {
        Ok(losses) => checks.extend(losses.into_iter().map(|loss| Check::good("deleted unread", loss))),
        Err(error) => checks.push(Check::bad("groups", &error)),
    }
    if let Err(error) = close(bus, Ok(())).await {
        checks.push(Check::bad("close", &error));
    }
    checks
}

/// Reads the first and the last record of each partition, which checks their checksums; gives the offsets in all.
async fn ends(driver: &dyn Driver, topic: &TopicInfo) -> Result<u64> {
    let mut positions = 0;
    for partition in (0..topic.spec.partitions).map(Partition) {
        let bounds = driver.bounds(&topic.name, partition).await?;
        let last = Offset(bounds.end.0.saturating_sub(1).max(bounds.start.0));
        for from in [bounds.start, last] {
            let request = ReadRequest { partition, from, to: bounds.end, records_max: 1, bytes_max: 1 };
            driver.read(&topic.name, request).await?;
        }
        positions += bounds.end.0 - bounds.start.0;
    }
    Ok(positions)
}

/// What each group has lost by limits of retention and trims. It is past, so it does not make the bus unwell.
async fn deleted_unread(driver: &dyn Driver) -> Result<Vec<String>> {
    let mut losses = Vec::new();
    if driver.capabilities().groups {
        for (group, topic) in driver.groups().await? {
            let deleted: u64 = driver.lag(&group, &topic).await?.iter().map(|lag| lag.deleted).sum();
            if deleted > 0 {
                losses.push(format!(
                    "group {group} on {topic}: {deleted} records were deleted before it had finished them"
                ));
            }
        }
    }
    Ok(losses)
}

#[derive(Serialize)]
struct Report {
    bus: String,
    version: &'static str,
    #[serde(rename = "healthy")]
    is_healthy: bool,
    checks: Vec<Check>,
    /// `None` if the bus could not be opened or is not there yet.
    capabilities: Option<CapabilityView>,
    limits: Vec<Limit>,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    message: String,
}

impl Check {
    fn good(name: &'static str, message: String) -> Self {
        Self { name, ok: true, error: None, message }
    }

    fn bad(name: &'static str, error: &Error) -> Self {
        Self { name, ok: false, error: Some(error.code()), message: error.to_string() }
    }
}

#[derive(Serialize)]
struct CapabilityView {
    backend: &'static str,
    ack_positions: String,
    gaps: String,
    integrity: String,
    deduplicate_max_ms: Option<u64>,
    atomic_batch_max: usize,
    groups: bool,
    persistent: bool,
    record_bytes_max: usize,
}

impl CapabilityView {
    fn of(is: &Capabilities) -> Self {
        Self {
            backend: is.backend,
            ack_positions: format!("{:?}", is.ack_positions).to_lowercase(),
            gaps: format!("{:?}", is.gaps).to_lowercase(),
            integrity: format!("{:?}", is.integrity).to_lowercase(),
            deduplicate_max_ms: is.deduplicate_max.map(millis),
            atomic_batch_max: is.atomic_batch_max,
            groups: is.groups,
            persistent: is.persistent,
            record_bytes_max: is.record_bytes_max,
        }
    }
}

/// One limit; `None` means that there is none by default.
#[derive(Serialize)]
struct Limit {
    of: &'static str,
    name: &'static str,
    default: Option<u64>,
    unit: &'static str,
}

fn limits() -> Vec<Limit> {
    let (publisher, sqlite, topic) = (PublisherSettings::default(), SqliteConfig::new(""), TopicSpec::default());
    let group = SubscriptionSettings::default();
    let bytes = |of, name, bytes: usize| Limit { of, name, default: Some(bytes as u64), unit: "bytes" };
    let count = |of, name, count: usize, unit| Limit { of, name, default: Some(count as u64), unit };
    let time = |of, name, time| Limit { of, name, default: Some(millis(time)), unit: "ms" };
    let none = |of, name, default, unit| Limit { of, name, default, unit };
    let retention = topic.retention;
    vec![
        bytes("topic", "name_bytes_max", NAME_BYTES_MAX),
        bytes("topic", "topic_and_group_bytes_max", TOPIC_AND_GROUP_BYTES_MAX),
        count("topic", "partitions", topic.partitions as usize, "partitions"),
        count("topic", "partitions_max", PARTITIONS_MAX as usize, "partitions"),
        none("topic", "retention_age_max", retention.age_max.map(millis), "ms"),
        none("topic", "retention_bytes_max", retention.bytes_max, "bytes"),
        none("topic", "retention_records_max", retention.records_max, "records"),
        bytes("envelope", "key_bytes_max", KEY_BYTES_MAX),
        bytes("envelope", "id_bytes_max", ID_BYTES_MAX),
        count("envelope", "headers_max", HEADERS_MAX, "headers"),
        bytes("envelope", "header_bytes_max", HEADER_BYTES_MAX),
        count("envelope", "json_depth_max", JSON_DEPTH_MAX as usize, "levels"),
        bytes("publisher", "record_bytes_max", publisher.record_bytes_max),
        count("publisher", "window_envelopes_max", publisher.window_envelopes_max, "envelopes"),
        bytes("publisher", "window_bytes_max", publisher.window_bytes_max),
        count("publisher", "batch_items_max", BATCH_ITEMS_MAX, "envelopes"),
        time("publisher", "deadline", publisher.deadline),
        time("sqlite", "patience", sqlite.patience),
        count("sqlite", "batch_records_max", sqlite.batch_records_max, "records"),
        bytes("sqlite", "batch_bytes_max", sqlite.batch_bytes_max),
        count("sqlite", "checkpoint_pages", sqlite.checkpoint_pages as usize, "pages of 8 KiB"),
        none("sqlite", "file_bytes_max", sqlite.file_bytes_max, "bytes"),
        time("sqlite", "retention_interval", sqlite.retention_interval),
        bytes("pub", "line_bytes_max", input::LINE_BYTES_MAX),
        count("pub", "lines_waiting_max", publish::LINES_WAITING_MAX, "lines"),
        count("pub", "notes_max", NOTES_MAX as usize, "lines"),
        count("sub", "read_records_max", subscribe::READ_RECORDS_MAX, "records"),
        bytes("sub", "read_bytes_max", subscribe::READ_BYTES_MAX),
        time("sub", "pause_min", subscribe::PAUSE_MIN),
        time("sub", "pause_max", subscribe::PAUSE_MAX),
        count("group", "concurrency", group.concurrency, "handlers"),
        count("group", "attempts_max", group.retry.attempts_max as usize, "attempts"),
        count("group", "handler_batch_max", HANDLER_BATCH_MAX, "events"),
        time("group", "backoff_min", group.retry.backoff_min),
        time("group", "backoff_max", group.retry.backoff_max),
        time("group", "handler_timeout", group.handler_timeout),
        time("group", "lease", group.lease),
        time("group", "commit_interval", group.commit_interval),
        count("group", "commit_records", group.commit_records, "records"),
        count("group", "in_flight_records_max", group.in_flight_records_max, "records"),
        bytes("group", "in_flight_bytes_max", group.in_flight_bytes_max),
        none("group", "ahead_max", Some(group.ahead_max), "records of a partition"),
        time("sub --group", "reader_wait_max", deliver::READER_WAIT_MAX),
        count("sub --group", "lines_max", deliver::LINES_MAX, "lines of one flush"),
        time("sub --group", "close_extra", deliver::CLOSE_EXTRA),
    ]
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  busline {}  {}", self.bus, self.version, if self.is_healthy { "well" } else { "not well" })?;
        writeln!(f, "\nChecks")?;
        for Check { name, ok, message, .. } in &self.checks {
            writeln!(f, "  {:<4}  {name:<15}  {message}", if *ok { "ok" } else { "FAIL" })?;
        }
        if let Some(capabilities) = &self.capabilities {
            write!(f, "\nCapabilities\n{capabilities}")?;
        }
        write!(f, "\nLimits")?;
        for Limit { of, name, default, unit } in &self.limits {
            match default {
                Some(default) => write!(f, "\n  {of:<11}  {name:<26}  {default:>9} {unit}")?,
                None => write!(f, "\n  {of:<11}  {name:<26}  {:>9} ({unit})", "none")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for CapabilityView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none_or = |number: usize, unit: &str| match number {
            0 => "none".into(),
            _ => format!("{number} {unit}"),
        };
        let mut row = |name: &str, value: &str| writeln!(f, "  {name:<16}  {value}");
        row("backend", self.backend)?;
        row("ack positions", &self.ack_positions)?;
        row("gaps seen", &self.gaps)?;
        row("integrity", &self.integrity)?;
        row("deduplicate", &self.deduplicate_max_ms.map_or("none".into(), |time| format!("up to {time} ms")))?;
        row("atomic batch", &none_or(self.atomic_batch_max, "records"))?;
        row("groups", if self.groups { "yes" } else { "no" })?;
        row("persistent", if self.persistent { "yes" } else { "no" })?;
        row("largest record", &none_or(self.record_bytes_max, "bytes"))
    }
}
