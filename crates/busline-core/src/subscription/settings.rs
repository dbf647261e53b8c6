//! What a subscription can be told.

use std::time::Duration;

use super::retry::Retry;
use crate::driver::Start;
use crate::error::{Error, Result};

/// The settings of a subscription.
#[derive(Debug, Clone, PartialEq)]
pub struct SubscriptionSettings {
    /// Handlers that run at once, each for another key. Range 1 to 4,096, default 16.
    pub concurrency: usize,
    /// Longest run of a handler; then its attempt has failed. Range 1 ms to 1 h, default 30 s.
    pub handler_timeout: Duration,
    /// How failed attempts are made again.
    pub retry: Retry,
    /// Records handed over and unfinished. Range 1 to 65,536, default 1,024.
    pub in_flight_records_max: usize,
    /// Bytes of those records. Range 1 MiB to 1 GiB, default 16 MiB.
    pub in_flight_bytes_max: usize,
    /// Delivered records between the committed offset and the newest one, per partition; then the partition pauses.
    /// Range 1 to 1,048,576, default 65,536. After a crash at most these come again.
    pub ahead_max: u64,
    /// Finished records after which progress is committed. Range 1 to 65,536, default 4,096.
    pub commit_records: usize,
    /// Time after which progress is committed. Range 1 ms to 1 min, default 100 ms.
    pub commit_interval: Duration,
    /// Time without a sign of life after which others take this member's partitions. Range 1 s to 5 min, default 5 s.
    pub lease: Duration,
    /// What becomes of a record that has used its attempts up or cannot be decoded. Default: it is parked with its key.
    pub parking: ParkingPolicy,
    /// Keys parked at once in a partition, and records parked alone with them; then the partition waits. Range 1 to
    /// 1,000,000, default 100,000. A parked key costs less than 200 bytes.
    pub parked_keys_max: usize,
    /// Where the group begins if it has no committed offset. Default: the earliest record.
    pub start: Start,
}

/// What becomes of a record that has used its attempts up.
///
/// # Source
/// Promises C7 and C10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ParkingPolicy {
    /// It is parked with its key: later records of the key queue behind it, and run when it has been replayed.
    #[default]
    Key,
    /// It is parked alone: later records of its key run on.
    Record,
    /// Nothing is parked: the record holds its key, and one that cannot be decoded its partition.
    Off,
}

impl Default for SubscriptionSettings {
    fn default() -> Self {
        Self {
            concurrency: 16,
            handler_timeout: Duration::from_secs(30),
            retry: Retry::default(),
            in_flight_records_max: 1_024,
            in_flight_bytes_max: 16 * 1024 * 1024,
            ahead_max: 65_536,
            commit_records: 4_096,
            commit_interval: Duration::from_millis(100),
            lease: Duration::from_secs(5),
            parking: ParkingPolicy::Key,
            parked_keys_max: 100_000,
            start: Start::Earliest,
        }
    }
}

impl SubscriptionSettings {
    /// Checks every field.
    ///
    /// # Errors
    /// `Invalid/Range` with every field that is wrong; what [`Retry::validate`] refuses.
    pub fn validate(&self) -> Result<()> {
        let mut wrong = Vec::new();
        let mut check = |right: bool, field: &str, range: &str| {
            if !right {
                wrong.push(format!("{field} ({range})"));
            }
        };
        let between = |value: Duration, min_ms: u64, max_s: u64| {
            (Duration::from_millis(min_ms)..=Duration::from_secs(max_s)).contains(&value)
        };
        check((1..=4_096).contains(&self.concurrency), "concurrency", "1 to 4,096");
        check(between(self.handler_timeout, 1, 3_600), "handler_timeout", "1 ms to 1 h");
        check((1..=65_536).contains(&self.in_flight_records_max), "in_flight_records_max", "1 to 65,536");
        check((1 << 20..=1 << 30).contains(&self.in_flight_bytes_max), "in_flight_bytes_max", "1 MiB to 1 GiB");
        check((1..=1_048_576).contains(&self.ahead_max), "ahead_max", "1 to 1,048,576");
        check((1..=65_536).contains(&self.commit_records), "commit_records", "1 to 65,536");
        check(between(self.commit_interval, 1, 60), "commit_interval", "1 ms to 1 min");
        check(between(self.lease, 1_000, 300), "lease", "1 s to 5 min");
        check((1..=1_000_000).contains(&self.parked_keys_max), "parked_keys_max", "1 to 1,000,000");
        self.retry.validate()?;
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::invalid("Range").cause(wrong.join(", ")).next("use values in the ranges given"))
    }
}
