//! When the oldest records of a topic are let go.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Limits after which the oldest records of a partition are deleted; `None` means no limit.
///
/// A record goes if any limit says so, and only from the old end: what stands behind a record that stays, stays. Whether
/// a group has read it makes no difference; what was deleted before a group had finished it is counted in
/// [`Lag::deleted`](crate::Lag::deleted), logged, and said by [`Bus::health`](crate::Bus::health).
///
/// # Source
/// Promise T3.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Age from which on a record is deleted, by [`Record::time`](crate::Record::time), when the backend stored it.
    /// Range 1 ms to 100 years.
    pub age_max: Option<Duration>,
    /// Bytes kept per partition: keys, headers and bodies. At least 1; the newest record is kept whatever its size.
    pub bytes_max: Option<u64>,
    /// Records kept per partition. At least 1.
    pub records_max: Option<u64>,
}

/// What a partition holds, and the time of its oldest record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its records.
    pub records: u64,
    /// Their bytes: keys, headers and bodies.
    pub bytes: u64,
    /// When the oldest of them was stored.
    pub oldest: Timestamp,
}

const AGE_MIN: Duration = Duration::from_millis(1);
const AGE_MAX: Duration = Duration::from_secs(36_525 * 86_400);

impl Retention {
    /// Checks every limit.
    ///
    /// # Errors
    /// `Invalid/Range` with the field and its range.
    pub fn validate(&self) -> Result<()> {
        let refused = |what: String, next: &'static str| Err(Error::invalid("Range").cause(what).next(next));
        if let Some(age) = self.age_max.filter(|age| !(AGE_MIN..=AGE_MAX).contains(age)) {
            return refused(format!("retention age_max = {age:?}"), "use 1 ms to 100 years, or no limit");
        }
        if self.bytes_max == Some(0) {
            return refused("retention bytes_max = 0".into(), "use at least 1 byte, or no limit");
        }
        if self.records_max == Some(0) {
            return refused("retention records_max = 0".into(), "use at least 1 record, or no limit");
        }
        Ok(())
    }

    /// Whether any limit is set.
    pub fn is_limited(&self) -> bool {
        *self != Self::default()
    }

    /// Whether the oldest record of a partition that holds this is to go.
    pub fn lets_go(&self, kept: &Kept, now: Timestamp) -> bool {
        let too_many = self.records_max.is_some_and(|max| kept.records > max);
        let too_large = self.bytes_max.is_some_and(|max| kept.bytes > max) && kept.records > 1;
        too_many || too_large || self.age_max.is_some_and(|age| is_older(kept.oldest, age, now))
    }
}

fn is_older(time: Timestamp, age: Duration, now: Timestamp) -> bool {
    now.duration_since(time) > SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX)
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut limits = Vec::new();
        if let Some(age) = self.age_max {
            limits.push(format!("age {age:?}"));
        }
        if let Some(bytes) = self.bytes_max {
            limits.push(format!("{bytes} bytes"));
        }
        if let Some(records) = self.records_max {
            limits.push(format!("{records} records"));
        }
        if limits.is_empty() { f.write_str("none") } else { f.write_str(&limits.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limits: Retention, kept: (u64, u64, i64), expected: bool) {
        let (records, bytes, age) = kept;
        let now = Timestamp::from_second(1_000_000).expect("a time");
        let oldest = now - SignedDuration::from_secs(age);
        assert_eq!(limits.lets_go(&Kept { records, bytes, oldest }, now), expected, "{limits}: {kept:?}");
    }

    #[test]
    fn the_oldest_record_goes_at_any_limit() {
        let age = || Retention { age_max: Some(Duration::from_secs(60)), ..Retention::default() };
        let bytes = || Retention { bytes_max: Some(100), ..Retention::default() };
        let records = || Retention { records_max: Some(10), ..Retention::default() };
        for (limits, kept, expected) in [
            (Retention::default(), (u64::MAX, u64::MAX, 1_000_000), false),
            (age(), (1, 1, 60), false),
            (age(), (1, 1, 61), true),
            // A clock that was set back makes nothing old.
            (age(), (1, 1, -3_600), false),
            (bytes(), (2, 100, 0), false),
            (bytes(), (2, 101, 0), true),
            (bytes(), (1, 101, 0), false),
            (records(), (10, 1, 0), false),
            (records(), (11, 1, 0), true),
            (Retention { bytes_max: Some(100), ..age() }, (2, 101, 0), true),
            (Retention { bytes_max: Some(100), ..age() }, (1, 101, 61), true),
        ] {
            check(limits, kept, expected);
        }
    }

    #[test]
    fn limits_out_of_range_are_refused() {
        let age = |age| Retention { age_max: Some(age), ..Retention::default() };
        let wrong = [
            age(Duration::ZERO),
            age(Duration::from_micros(999)),
            age(Duration::MAX),
            Retention { bytes_max: Some(0), ..Retention::default() },
            Retention { records_max: Some(0), ..Retention::default() },
        ];
        for limits in wrong {
            assert_eq!(limits.validate().expect_err("refused").code(), "Invalid/Range", "{limits}");
        }
        age(AGE_MIN).validate().expect("the least");
        age(AGE_MAX).validate().expect("the most");
        Retention { bytes_max: Some(1), records_max: Some(1), age_max: None }.validate().expect("the least");
    }
}
