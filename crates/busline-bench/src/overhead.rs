//! What measuring itself costs: the benchmark's own work beside each envelope, measured before the first run.
//!
//! It is in the processor time of every figure, and the native twins have none of it.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::compare::{Figure, Summary};
use crate::consuming::Follower;
use crate::measure::cpu_time;
use crate::publishing::{Start, Watched, observe};
use crate::runtime::runtime;
use crate::workload::{Level, Mode, Shape, TOPICS, Workload, key_of, latency_sample_of};

/// What the benchmark does beside an envelope. Processor time of the whole process; medians of several rounds. Unit:
/// nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// Taking a latency down: the clock, a lock, and two histograms.
    pub latency_record_ns: Figure,
    /// Beside a `publish` whose latency is taken: the clock, the way to who awaits the receipt, taking it down.
    pub publish_ns: Figure,
    /// Beside a delivery: whether it is the one that is due in its aggregate.
    pub delivery_ns: Figure,
    /// Making an envelope; the twins make theirs too.
    pub envelope_ns: Figure,
    /// What that is of each load.
    pub shares: Vec<OverheadShare>,
}

/// What of the processor time of one load is the benchmark's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverheadShare {
    /// The bus.
    pub bus: String,
    /// How much was published.
    pub level: Level,
    /// How.
    pub mode: Mode,
    /// In 100 of `client_cpu_us`.
    pub publish_percent: Option<f64>,
    /// In 100 of `consume_cpu_us`.
    pub consume_percent: Option<f64>,
}

/// Envelopes of a round: enough that the clock's own steps do not matter.
const ENVELOPES: u64 = 20_000;

/// Rounds, of which the middle one counts.
const ROUNDS: usize = 7;

impl Overhead {
    /// Measures it. Takes some tenths of a second.
    pub(crate) fn measure() -> Result<Self> {
        let shape = Shape { payload_bytes: None, window_envelopes: 8_192, senders: None, topics: TOPICS };
        let workload = Workload::of_size(Level::Low, Mode::Async, ENVELOPES, &shape)?;
        Ok(Self {
            latency_record_ns: rounds(|| Ok(latency_records()))?,
            publish_ns: rounds(|| watched_publishes(workload.window_envelopes))?,
            delivery_ns: rounds(|| Ok(deliveries(&workload)))?,
            envelope_ns: rounds(|| Ok(envelopes(&workload)))?,
            shares: Vec::new(),
        })
    }

    /// The same with what it is of these loads.
    pub(crate) fn of(self, summaries: &[Summary]) -> Self {
        Self { shares: summaries.iter().map(|summary| self.share(summary)).collect(), ..self }
    }

    fn share(&self, summary: &Summary) -> OverheadShare {
        let percent = |nanos: f64, cpu: Option<Figure>| cpu.map(|cpu| nanos / (cpu.median * 1e3) * 100.0);
        OverheadShare {
            bus: summary.bus.clone(),
            level: summary.level,
            mode: summary.mode,
            publish_percent: percent(self.beside_publish(summary.level, summary.mode), summary.client_cpu_us),
            consume_percent: percent(self.delivery_ns.median, summary.consume_cpu_us),
        }
    }

    /// Work beside one envelope that is published, on average. Unit: nanoseconds.
    fn beside_publish(&self, level: Level, mode: Mode) -> f64 {
        match mode {
            Mode::Async => self.publish_ns.median / latency_sample_of(level, mode) as f64,
            Mode::Sync | Mode::Blocking => self.latency_record_ns.median,
            // One for a whole batch.
            Mode::Batch => 0.0,
        }
    }

    /// Work beside one envelope of an open load, each of which has both latencies taken. Unit: nanoseconds.
    pub(crate) fn beside_paced_ns(&self) -> f64 {
        self.publish_ns.median + self.delivery_ns.median + self.latency_record_ns.median
    }
}

/// The cost of one of [`ENVELOPES`], over the rounds.
fn rounds(mut round: impl FnMut() -> Result<Duration>) -> Result<Figure> {
    let each = |time: Duration| time.as_secs_f64() * 1e9 / ENVELOPES as f64;
    let costs: Vec<f64> = (0..ROUNDS).map(|_| round().map(each)).collect::<Result<_>>()?;
    Figure::of(costs).context("no round")
}

fn latency_records() -> Duration {
    let start = Start::new(0);
    let (called, cpu) = (start.began(), cpu_time());
    (0..ENVELOPES).for_each(|_| start.acked(called, 1));
    cpu_time() - cpu
}

/// The whole way of a latency beside `publish`, with receipts that are there already.
fn watched_publishes(window_envelopes: usize) -> Result<Duration> {
    let runtime = runtime()?;
    let start = Start::new(0);
    runtime.block_on(async {
        let cpu = cpu_time();
        let (watcher, watched) = mpsc::channel::<Watched<Ready<Result<(), ()>>>>(window_envelopes + 1);
        let mut observers = tokio::task::JoinSet::new();
        observers.spawn(observe(watched, start));
        for _ in 0..ENVELOPES {
            let called = Instant::now();
            watcher.send(Watched { receipt: ready(Ok(())), called }).await.context("the observer ended early")?;
        }
        drop(watcher);
        observers.join_next().await.context("no observer")?.context("the observer panicked")?;
        Ok(cpu_time() - cpu)
    })
}

fn deliveries(workload: &Workload) -> Duration {
    let follower = Arc::new(Follower::new(workload, None));
    let keys: Vec<String> = (0..workload.aggregates).map(key_of).collect();
    let cpu = cpu_time();
    for event in workload.events() {
        follower.note(&keys[event.aggregate], event.version);
    }
    cpu_time() - cpu
}

fn envelopes(workload: &Workload) -> Duration {
    let cpu = cpu_time();
    for event in workload.events() {
        std::hint::black_box(workload.envelope(event));
    }
    cpu_time() - cpu
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::summarize;
    use crate::report::sample;

    #[test]
    fn each_part_costs_something_and_the_whole_way_more_than_its_end() {
        let found = Overhead::measure().expect("it runs");
        for part in [found.latency_record_ns, found.publish_ns, found.delivery_ns, found.envelope_ns] {
            assert!(part.median > 0.0 && part.median < 1e6, "{found:?}");
        }
        assert!(found.publish_ns.median > found.latency_record_ns.median, "{found:?}");
    }

    #[test]
    fn shares_are_of_the_processor_time_and_count_what_is_sampled() {
        let overhead = sample::overhead();
        let mut runs = vec![sample::run(1)];
        let share = |runs: &[crate::result::RunResult]| overhead.clone().of(&summarize(runs)).shares[0].clone();
        let found = share(&runs);
        // 300 ns beside 3 µs, and 60 beside 1.5.
        assert_eq!((found.publish_percent, found.consume_percent), (Some(10.0), Some(4.0)));
        runs[0].level = Level::Surge;
        assert_eq!(share(&runs).publish_percent, Some(10.0 / 16.0), "one in 16 has its latency taken");
        runs[0].mode = Mode::Sync;
        let sync = share(&runs).publish_percent.expect("a figure");
        assert!((sync - 4.0).abs() < 1e-9, "120 ns beside 3 µs");
        runs[0].lost = 1;
        (runs[0].client_cpu_us, runs[0].consume_cpu_us) = (None, None);
        assert_eq!(share(&runs).publish_percent, None);
    }
}
