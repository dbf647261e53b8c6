//! The server, and what every part is given.

use std::error::Error;
use std::time::Duration;

use busline_brokers::nats::Server;
use busline_core::{Envelope, Wire};
use bytes::Bytes;

pub(crate) type Failed = Box<dyn Error + Send + Sync>;

/// Keys that take turns.
const KEYS: u64 = 1_000;

/// What a publisher of the topic `own` writes into each body.
const SOURCE: &str = "/busline/own";

pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) records: u64,
    /// A text; its length is what a payload is said to have.
    pub(crate) payload: String,
    /// Twins send one body that was made beforehand, instead of encoding an envelope for each.
    pub(crate) premade: bool,
}

impl Stage {
    pub(crate) fn envelope(&self, number: u64) -> Result<Envelope, Failed> {
        Ok(Envelope::new(format!("key-{}", number % KEYS), "Happened", number + 1).json(&self.payload)?)
    }

    /// The bytes that the bus publishes of this envelope.
    pub(crate) fn body(&self, number: u64) -> Result<Bytes, Failed> {
        let mut body = Vec::with_capacity(self.payload.len() + 512);
        Wire::default().encode(&self.envelope(number)?, SOURCE, &mut body);
        Ok(body.into())
    }
}

/// The time below which `part` in 100 lie, in microseconds.
pub(crate) fn percentile(took: &mut [Duration], part: usize) -> f64 {
    took.sort();
    took.get(took.len() * part / 100).map_or(0.0, |found| found.as_secs_f64() * 1e6)
}
