//! What an open load came to, as it is written.

use serde::{Deserialize, Serialize};

use super::series::{Point, Rises};
use crate::buckets::Buckets;
use crate::extent::Extent;
use crate::header::Header;
use crate::latency::Percentiles;
use crate::measure::Leaked;
use crate::overhead::Overhead;

/// All rates of an open load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenReport {
    /// How and on what it was measured.
    #[serde(flatten)]
    pub header: Header,
    /// How much of what was asked for was made.
    #[serde(flatten)]
    pub extent: Extent,
    /// Topics, each with a publisher and a group of its own.
    #[serde(default)]
    pub topics: usize,
    /// Window of each publisher. Unit: envelopes.
    #[serde(default)]
    pub window_envelopes: usize,
    /// How long each rate was held. Unit: seconds.
    pub duration_s: f64,
    /// What p99 to the handler must stay below. Unit: milliseconds.
    pub slo_ms: f64,
    /// Whether slopes are judged.
    pub soak: bool,
    /// One for each bus and rate, in their order.
    pub results: Vec<RateResult>,
    /// The highest rate of each bus that held.
    pub best: Vec<BestRate>,
    /// Sentences with a next step.
    pub warnings: Vec<String>,
    /// What measuring itself costs; `None` in files of before it was measured.
    #[serde(default)]
    pub overhead: Option<Overhead>,
}

/// The highest rate at which a bus held the service level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestRate {
    /// The bus.
    pub bus: String,
    /// The rate; `None` if none held. Unit: envelopes a second.
    pub per_s: Option<f64>,
}

/// One rate on one bus. Latencies and speeds are `None` unless all was stored and delivered once and in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateResult {
    /// The backend, numbered where several have the same.
    pub bus: String,
    /// What each ack attested.
    pub durability: String,
    /// Envelopes a second that were due.
    pub offered_per_s: f64,
    /// Envelopes that were due.
    pub envelopes: u64,
    /// Size of each payload. Unit: bytes.
    pub payload_bytes: usize,
    /// Envelopes a second that came to handlers, from the first due time to the last one.
    pub delivered_per_s: Option<f64>,
    /// Whether it was sound, kept up with what was due, and p99 to the handler stayed below the service level.
    pub held: bool,
    /// From the due time to the call of `publish`: how late the benchmark itself was, or the window made it.
    pub due_to_call_ms: Option<Percentiles>,
    /// From the due time to the ack.
    pub due_to_ack_ms: Option<Percentiles>,
    /// From the due time to the handler.
    pub due_to_handler_ms: Option<Percentiles>,
    /// The last one in full. Unit: nanoseconds.
    pub due_to_handler_ns: Buckets,
    /// Processor time of the whole process for one envelope, published and consumed. Unit: microseconds.
    pub cpu_us: Option<f64>,
    /// Acked and not found stored, found again, out of order, changed.
    pub stored_wrong: [u64; 4],
    /// Acked and not at a handler, there again, out of order.
    pub delivered_wrong: [u64; 3],
    /// Reported as failed or indeterminate.
    pub not_acked: u64,
    /// Looks at it over time.
    pub series: Vec<Point>,
    /// How it changed over time.
    pub rises: Rises,
    /// The longest time that the whole process stood still, as far as the looks tell. Unit: seconds.
    #[serde(default)]
    pub stalled_s: f64,
    /// What was left after close.
    pub leaked: Leaked,
}

impl RateResult {
    /// Whether all was acked, stored and delivered once, whole and in order.
    pub fn is_sound(&self) -> bool {
        let wrong: u64 = self.stored_wrong.iter().chain(&self.delivered_wrong).sum();
        wrong + self.not_acked == 0
    }
}

impl OpenReport {
    /// Whether every rate was sound. If not, the program fails.
    pub fn is_sound(&self) -> bool {
        self.results.iter().all(RateResult::is_sound)
    }

    /// Whether all rates that were asked for were tried. If not, the program fails.
    pub fn is_whole(&self) -> bool {
        self.extent.is_whole(self.results.len())
    }

    /// What of the rates that were asked for is missing, in words; `None` of a whole open load.
    pub fn missing(&self) -> Option<String> {
        self.extent.missing(self.results.len(), "rates")
    }
}
