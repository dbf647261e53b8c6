//! What a publisher can be told.

use std::time::Duration;

use crate::ack::Durability;
use crate::driver::Positions;
use crate::error::{Error, Result};
use crate::record::RECORD_BYTES_MAX;
use crate::wire::Wire;

/// The settings of a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherSettings {
    /// Most envelopes in flight. Unit: envelopes. Range 1 to 1,000,000, default 8,192. A full window makes `publish`
    /// wait and fails nothing; a smaller one gives smaller batches and earlier acks.
    pub window_envelopes_max: usize,
    /// Most bytes in flight, of keys, headers and bodies. Unit: bytes. From the largest record up to 1 GiB, default
    /// 8 MiB.
    pub window_bytes_max: usize,
    /// Time from acceptance after which an envelope without an outcome is reported as indeterminate, or as failed if
    /// it was never handed to the backend. Waiting for room does not count. Range 100 ms to 1 h, default 30 s.
    pub deadline: Duration,
    /// Largest record: key, headers and body. Unit: bytes. Range 1,024 to 983,040 (the default).
    pub record_bytes_max: usize,
    /// The form in which envelopes are stored. Default CloudEvents.
    pub wire: Wire,
    /// The `source` of envelopes that name none. Default `/busline/<topic>`.
    pub source: Option<String>,
    /// Durability that each ack must have; opening fails where the backend cannot give it. Default: none.
    pub require: Option<Durability>,
    /// Whether each ack must carry an offset. Default: no.
    pub positions: Positions,
    /// Window in which a second publish of one id is answered as a duplicate. Default: none.
    pub deduplicate: Option<Duration>,
}

/// Least value of `record_bytes_max`, so also of a window that is to hold such a record.
const RECORD_BYTES_MIN: usize = 1_024;

impl Default for PublisherSettings {
    fn default() -> Self {
        Self {
            window_envelopes_max: 8_192,
            window_bytes_max: 8 * 1024 * 1024,
            deadline: Duration::from_secs(30),
            record_bytes_max: RECORD_BYTES_MAX,
            wire: Wire::CloudEvents,
            source: None,
            require: None,
            positions: Positions::Any,
            deduplicate: None,
        }
    }
}

impl PublisherSettings {
    /// Checks every field.
    ///
    /// # Errors
    /// `Invalid/Range` with every field that is wrong.
    pub fn validate(&self) -> Result<()> {
        let mut wrong = Vec::new();
        if !(1..=1_000_000).contains(&self.window_envelopes_max) {
            wrong.push(format!("window_envelopes_max = {} (1 to 1,000,000)", self.window_envelopes_max));
        }
        if !(RECORD_BYTES_MIN..=RECORD_BYTES_MAX).contains(&self.record_bytes_max) {
            wrong.push(format!("record_bytes_max = {} (1,024 to {RECORD_BYTES_MAX})", self.record_bytes_max));
        }
        if !(self.record_bytes_max.max(RECORD_BYTES_MIN)..=1 << 30).contains(&self.window_bytes_max) {
            wrong.push(format!(
                "window_bytes_max = {} (record_bytes_max = {} to 1 GiB)",
                self.window_bytes_max, self.record_bytes_max
            ));
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(3_600)).contains(&self.deadline) {
            wrong.push(format!("deadline = {:?} (100 ms to 1 h)", self.deadline));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::invalid("Range").cause(wrong.join(", ")).next("use values in the ranges given"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_out_of_range_are_named_at_once() {
        let settings = PublisherSettings {
            window_envelopes_max: 0,
            window_bytes_max: 10,
            deadline: Duration::ZERO,
            record_bytes_max: 1,
            ..PublisherSettings::default()
        };
        let text = settings.validate().expect_err("refused").to_string();
        for field in ["window_envelopes_max", "window_bytes_max", "deadline", "record_bytes_max"] {
            assert!(text.contains(field), "{text}");
        }
        PublisherSettings::default().validate().expect("defaults are legal");
    }
}
