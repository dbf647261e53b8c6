//! `busline doctor`: the backend, what it can do, every limit, and whether the file or the servers are well.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use busline::{Bus, Capabilities, Driver, Error, ErrorKind, Offset, Partition, ReadRequest, Result, TopicInfo};
use serde::Serialize;
use tokio::time::sleep;

use super::Ended;
use super::job::close;
use super::limits::{Limit, limits, millis};
use crate::output::Output;
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
    match target.examine().await {
        Ok(None) => {}
        Err(error) => checks.push(Check::bad("open", &error)),
        Ok(Some(found)) => {
            capabilities = Some(CapabilityView::of(found.bus.driver().capabilities()));
            checks.extend(found.facts.into_iter().map(|(name, fact)| Check::good(name, fact)));
            checks.extend(bus_checks(&found.bus).await);
        }
    }
    Report {
        bus: target.shown(),
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
                match ends(driver, topic).await {
                    Ok(positions) => checks.push(Check::good("topic", format!("{}: {positions} offsets", topic.name))),
                    Err(error) if is_gone(driver, topic, &error).await => {}
                    Err(error) => checks.push(Check::bad("topic", &error)),
                }
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

/// How long a topic on its way out may be shown while its records are not there any more.
const LEAVING_MAX: Duration = Duration::from_secs(2);

/// Time between two looks at it.
const LOOK: Duration = Duration::from_millis(50);

/// Whether a topic that was listed has been deleted while it was looked at, which is nothing unwell.
async fn is_gone(driver: &dyn Driver, topic: &TopicInfo, error: &Error) -> bool {
    if error.kind() != ErrorKind::NotFound {
        return false;
    }
    let until = Instant::now() + LEAVING_MAX;
    loop {
        match driver.topic(&topic.name).await {
            Ok(now) if now.incarnation != topic.incarnation => return true,
            Ok(_) if Instant::now() >= until => return false,
            Ok(_) => sleep(LOOK).await,
            Err(error) => return error.kind() == ErrorKind::NotFound,
        }
    }
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
            let lags = match driver.lag(&group, &topic).await {
                // Deleted since it was listed, with what it has lost.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                lags => lags?,
            };
            let deleted: u64 = lags.iter().filter_map(|lag| lag.deleted).sum();
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
                Some(default) => write!(f, "\n  {of:<13}  {name:<26}  {default:>9} {unit}")?,
                None => write!(f, "\n  {of:<13}  {name:<26}  {:>9} ({unit})", "none")?,
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

#[cfg(test)]
mod tests {
    use busline::{TopicName, TopicSpec};

    use super::*;

    #[tokio::test]
    async fn a_topic_that_is_deleted_while_it_is_looked_at_is_not_unwell() {
        let bus = busline::connect("memory:").await.expect("it opens");
        let (driver, name) = (&**bus.driver(), TopicName::new("orders").expect("legal"));
        let listed = driver.create_topic(&name, &TopicSpec::default()).await.expect("it is new");
        assert_eq!(ends(driver, &listed).await.expect("it is there"), 0);
        let missing = busline::Error::new(ErrorKind::NotFound, "Partition");
        assert!(!is_gone(driver, &listed, &missing).await, "it is there, so the error is its own");
        let (leaves, gone) = tokio::join!(
            async {
                // Behind the other's first look.
                tokio::task::yield_now().await;
                driver.delete_topic(&name).await
            },
            is_gone(driver, &listed, &missing)
        );
        leaves.expect("it is there");
        assert!(gone, "it was shown for a moment more");
        let error = ends(driver, &listed).await.expect_err("it is gone");
        assert!(is_gone(driver, &listed, &error).await, "{error}");
        driver.create_topic(&name, &TopicSpec::default()).await.expect("it is new");
        assert!(is_gone(driver, &listed, &error).await, "another one has its name");
    }
}
