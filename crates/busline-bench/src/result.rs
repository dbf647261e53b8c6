//! What is measured, as it is written to files: `{"schema":1, …}`.

use serde::{Deserialize, Serialize};

use crate::baseline::BaselineReport;
use crate::buckets::Buckets;
use crate::compare::Summary;
use crate::extent::Extent;
use crate::header::Header;
use crate::latency::Percentiles;
use crate::measure::Leaked;
use crate::memory_watch::MemorySeries;
use crate::overhead::Overhead;
use crate::strategy::Strategy;
use crate::targets::Target;
use crate::usage::Usage;
use crate::workload::{Level, Mode};

/// All results of one benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// How and on what it was measured.
    #[serde(flatten)]
    pub header: Header,
    /// How much of what was asked for was made.
    #[serde(flatten)]
    pub extent: Extent,
    /// One for each measured run, in their order.
    pub results: Vec<RunResult>,
    /// One for each bus, level and mode: medians of the runs.
    pub summaries: Vec<Summary>,
    /// Promised figures that this benchmark measured.
    pub targets: Vec<Target>,
    /// What the reader should know, each with the next step.
    pub warnings: Vec<String>,
    /// What measuring itself costs; `None` in files of before it was measured.
    #[serde(default)]
    pub overhead: Option<Overhead>,
    /// An earlier benchmark beside this one, if one was named.
    pub baseline: Option<BaselineReport>,
}

impl BenchReport {
    /// Whether every run stored and delivered everything once and in order. If not, the program fails.
    pub fn is_sound(&self) -> bool {
        self.results.iter().all(RunResult::is_sound)
    }

    /// Whether all runs that were asked for were made. If not, the program fails.
    pub fn is_whole(&self) -> bool {
        self.extent.is_whole(self.results.len())
    }

    /// What of the runs that were asked for is missing, in words; `None` of a whole benchmark.
    pub fn missing(&self) -> Option<String> {
        self.extent.missing(self.results.len(), "runs")
    }

    /// Whether nothing got worse than the named baseline. If something did, the program fails.
    pub fn is_as_good(&self) -> bool {
        self.baseline.as_ref().is_none_or(|baseline| baseline.worse().next().is_none())
    }
}

/// One run. Speeds and latencies are `None` unless the dump showed all of it stored, and handlers got it, once and in
/// order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The backend, with a number where several buses of a benchmark have the same; behind it, each after a `/`, the
    /// strategy, the headers and the streams that differ from the default: `nats/task-per-message`, `kafka/headers`.
    pub bus: String,
    /// How much was published.
    pub level: Level,
    /// How.
    pub mode: Mode,
    /// The publishing path.
    pub strategy: Strategy,
    /// Whether each message had headers, beside its body.
    #[serde(default)]
    pub headers: bool,
    /// Streams that each topic was spread over.
    #[serde(default = "one_stream")]
    pub streams: u32,
    /// Number of the run, from 1.
    pub run: u32,
    /// Envelopes planned.
    pub envelopes: u64,
    /// Size of each payload. Unit: bytes.
    pub payload_bytes: usize,
    /// Topics, each with a publisher of its own.
    pub topics: usize,
    /// Aggregates, dealt out to the topics.
    pub aggregates: usize,
    /// Tasks that published.
    pub senders: usize,
    /// Window of each publisher. Unit: envelopes.
    pub window_envelopes: usize,
    /// What each ack attested.
    pub durability: String,
    /// Envelopes accepted in a second; none in the modes that wait for acks.
    pub accepted_per_s: Option<f64>,
    /// Envelopes acked in a second, from the burst's start to the last ack.
    pub acked_per_s: Option<f64>,
    /// From the intended send time to the ack; a burst intends to send all at its start.
    pub publish_to_ack_ms: Option<Percentiles>,
    /// From the call of `publish` to the ack.
    pub call_to_ack_ms: Option<Percentiles>,
    /// Handlers that ran at once on each topic.
    pub handler_concurrency: usize,
    /// Envelopes consumed in a second by groups that found all of them stored, from the first at a handler to the last,
    /// without times in which no topic's were coming because its group was still joining.
    pub consumed_per_s: Option<f64>,
    /// From the call of `subscribe` to the first envelope at a handler of that group. Unit: milliseconds.
    pub joined_in_ms: f64,
    /// Processor time of the whole process for one envelope that this group consumed. Unit: microseconds.
    pub consume_cpu_us: Option<f64>,
    /// Envelopes published and consumed in a second by a second burst, from its start to the last one at a handler.
    pub followed_per_s: Option<f64>,
    /// From the intended send time to the handler, in the second burst; a burst intends to send all at its start.
    pub publish_to_handler_ms: Option<Percentiles>,
    /// Different envelopes that came to handlers, of the two groups in that which got fewer.
    pub delivered: u64,
    /// Deliveries of an envelope that had come before, or of one that nobody planned; both groups together.
    pub redelivered: u64,
    /// Deliveries behind a later one of their aggregate; both groups together.
    pub handler_order_violations: u64,
    /// Planned envelopes that were found stored, in 100.
    pub success_percent: f64,
    /// Acked and not found.
    pub lost: u64,
    /// Found more than once.
    pub duplicates: u64,
    /// Found behind a later one of their aggregate.
    pub order_violations: u64,
    /// Rows that are none of the planned envelopes, or changed ones.
    pub damaged: u64,
    /// Reported as failed or indeterminate.
    pub not_acked: u64,
    /// Refused by a strategy that bounds what is in flight: not acked, not stored, and no fault of the bus.
    #[serde(default)]
    pub rejected: u64,
    /// The same of the second burst.
    #[serde(default)]
    pub followed_rejected: u64,
    /// Accepted and not delivered, in the group that lacked more.
    #[serde(default)]
    pub undelivered: u64,
    /// Tasks of the runtime that were alive at once in the first burst, looked at behind every call of publish; the
    /// senders of the benchmark are among them.
    #[serde(default)]
    pub peak_tasks: u64,
    /// Highest rise of resident memory during the run. Unit: bytes.
    pub memory_peak_delta_bytes: i64,
    /// Resident memory held after close. Unit: bytes.
    pub memory_retained_bytes: i64,
    /// What was left after close.
    pub leaked: Leaked,
    /// Processor time of the whole process for one envelope, making it included. Unit: microseconds.
    pub client_cpu_us: Option<f64>,
    /// Allocations of the whole process for one publish, making the envelope excluded; `None` in programs that do not
    /// count.
    pub allocations_per_publish: Option<f64>,
    /// What the first burst used of the machine.
    #[serde(default)]
    pub publish_usage: Option<Usage>,
    /// Share of all processors that other processes used during the run and its twins, in 100.
    pub others_cpu_percent: f64,
    /// Transactions that the store made of it.
    pub transactions: Option<u64>,
    /// Resident memory over the time of the run, from before the bus is opened to after it is closed.
    #[serde(default)]
    pub memory_series: MemorySeries,
    /// The longest time that the whole process stood still during the run, or was starved. Unit: seconds.
    #[serde(default)]
    pub stalled_s: f64,
    /// The latencies in full.
    #[serde(default)]
    pub histograms: Histograms,
    /// The native client beside it, if there is one.
    pub twin: Option<TwinResult>,
}

impl RunResult {
    /// Whether everything that was accepted was acked, stored and delivered once, whole and in order.
    pub fn is_sound(&self) -> bool {
        let wrong = self.lost + self.duplicates + self.order_violations + self.damaged + self.not_acked;
        let delivered = self.not_delivered() == 0 && self.redelivered + self.handler_order_violations == 0;
        wrong == 0 && self.stored() == self.envelopes.saturating_sub(self.rejected) && delivered
    }

    /// Planned envelopes that were found stored.
    fn stored(&self) -> u64 {
        // What was read from a file may be off by the last bit of the share.
        (self.success_percent / 100.0 * self.envelopes as f64).round() as u64
    }

    /// Whether everything was accepted. Only then a speed can be compared with that of others.
    pub fn is_whole(&self) -> bool {
        self.rejected + self.followed_rejected == 0
    }

    /// Envelopes that were accepted and did not come to a handler.
    pub(crate) fn not_delivered(&self) -> u64 {
        if self.is_whole() { self.envelopes - self.delivered.min(self.envelopes) } else { self.undelivered }
    }
}

/// So many of all, in 100.
pub(crate) fn percent_of(some: u64, all: u64) -> f64 {
    some as f64 / all as f64 * 100.0
}

fn one_stream() -> u32 {
    1
}

/// The latencies of one run in full; empty unless it was sound. Unit: nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histograms {
    /// Those of `publish_to_ack_ms`.
    pub publish_to_ack_ns: Buckets,
    /// Those of `call_to_ack_ms`.
    pub call_to_ack_ns: Buckets,
    /// Those of `publish_to_handler_ms`.
    pub publish_to_handler_ns: Buckets,
}

/// The native twin of one run, one raw loop. SQLite: the same rows in transactions of the same sizes; in mode `sync` one
/// transaction for each envelope. NATS: a message and an ack for each envelope, in the same window; in mode `sync` one
/// after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TwinResult {
    /// Envelopes it stored: all, or the first of a long run in mode `sync`.
    pub envelopes: u64,
    /// Envelopes stored in a second, making and encoding each in the loop.
    pub acked_per_s: f64,
    /// The run's `acked_per_s` ÷ this one's.
    pub ratio_acked: Option<f64>,
    /// Processor time for one envelope. Unit: microseconds.
    pub client_cpu_us: f64,
    /// The run's `client_cpu_us` ÷ this one's.
    pub ratio_cpu: Option<f64>,
    /// SQLite: from before a transaction's first envelope to the end of its commit. NATS: from the call to the ack.
    pub transaction_ms: Option<Percentiles>,
    /// In mode `sync`: the run's median from call to ack ÷ the twin's.
    pub ratio_p50: Option<f64>,
    /// The second twin, whose bodies were made beforehand; it has no part in mode `sync`.
    pub premade: Option<PremadeResult>,
    /// Envelopes that one loop selected, checked and decoded in a second.
    pub consumed_per_s: Option<f64>,
    /// The run's `consumed_per_s` ÷ this one's.
    pub ratio_consumed: Option<f64>,
    /// Processor time for one of them. Unit: microseconds.
    pub consume_cpu_us: Option<f64>,
    /// The run's `consume_cpu_us` ÷ this one's.
    pub ratio_consume_cpu: Option<f64>,
}

/// The twin whose bodies were made beforehand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PremadeResult {
    /// Envelopes stored in a second.
    pub acked_per_s: f64,
    /// The run's `acked_per_s` ÷ this one's.
    pub ratio_acked: Option<f64>,
    /// Processor time for one envelope. Unit: microseconds.
    pub client_cpu_us: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_run_is_as_sound_once_it_was_written_and_read() {
        for rejected in 0..5_000 {
            let run = RunResult {
                envelopes: 100_000,
                rejected: 20 * rejected,
                success_percent: percent_of(100_000 - 20 * rejected, 100_000),
                ..sample::run(1)
            };
            let text = serde_json::to_string(&run).expect("json");
            let read: RunResult = serde_json::from_str(&text).expect("read");
            assert_eq!(run.stored(), 100_000 - run.rejected);
            assert_eq!(read.stored(), run.stored(), "{}", run.success_percent);
        }
        let short = RunResult { success_percent: percent_of(499, 500), ..sample::run(1) };
        assert!(sample::run(1).is_sound() && !short.is_sound());
    }
}
