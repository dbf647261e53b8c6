//! From runs to figures: medians, their spread, and ratios within each run.

use serde::{Deserialize, Serialize};

use crate::measure::Leaked;
use crate::result::RunResult;
use crate::strategy::Strategy;
use crate::workload::{Level, Mode};

/// A figure of several runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The middle one; of an even number the mean of the two in the middle.
    pub median: f64,
    /// Half the distance of the largest from the smallest, in 100 of the median.
    pub spread_percent: f64,
}

impl Figure {
    /// The figure of these values; none of nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        let spread_percent = if median == 0.0 { 0.0 } else { (last - first) / 2.0 / median.abs() * 100.0 };
        Some(Self { median, spread_percent })
    }
}

/// The runs of one bus, level and mode.
///
/// A ratio is taken within each run, whose twin ran directly behind it, and only then its median: so its spread is that
/// of the comparison, not that of the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The backend.
    pub bus: String,
    /// How much was published.
    pub level: Level,
    /// How.
    pub mode: Mode,
    /// The publishing path.
    #[serde(default)]
    pub strategy: Strategy,
    /// Whether each message had headers.
    #[serde(default)]
    pub headers: bool,
    /// Streams that each topic was spread over; 0 in files of before they were counted.
    #[serde(default)]
    pub streams: u32,
    /// Runs it is of.
    pub runs: usize,
    /// Envelopes of each run.
    pub envelopes: u64,
    /// Size of each payload. Unit: bytes.
    pub payload_bytes: usize,
    /// Tasks that published.
    pub senders: usize,
    /// Window of each publisher. Unit: envelopes.
    pub window_envelopes: usize,
    /// Runs that lost, doubled, changed, reordered or did not ack anything. Their speeds are left out.
    pub unsound_runs: usize,
    /// Envelopes accepted in a second.
    pub accepted_per_s: Option<Figure>,
    /// Envelopes acked in a second.
    pub acked_per_s: Option<Figure>,
    /// The same ÷ the twin's that encodes.
    pub ratio_acked: Option<Figure>,
    /// The same ÷ the twin's whose bodies were made beforehand.
    pub ratio_premade: Option<Figure>,
    /// Median latency from call to ack ÷ the twin's, in mode `sync`.
    pub ratio_p50: Option<Figure>,
    /// Processor time for one envelope. Unit: microseconds.
    pub client_cpu_us: Option<Figure>,
    /// The same ÷ the twin's.
    pub ratio_cpu: Option<Figure>,
    /// Allocations of one publish.
    pub allocations_per_publish: Option<Figure>,
    /// From the burst's start to the ack, p50, p99, p99.9 and max, each the median of the runs. Unit: milliseconds.
    pub publish_to_ack_ms: Option<[f64; 4]>,
    /// From the call to the ack, likewise.
    pub call_to_ack_ms: Option<[f64; 4]>,
    /// Handlers that ran at once on each topic.
    pub handler_concurrency: usize,
    /// Topics, each with a group.
    pub topics: usize,
    /// Envelopes consumed in a second by a group that found them stored.
    pub consumed_per_s: Option<Figure>,
    /// The same ÷ the reading twin's.
    pub ratio_consumed: Option<Figure>,
    /// Processor time for one consumed envelope. Unit: microseconds.
    pub consume_cpu_us: Option<Figure>,
    /// The same ÷ the reading twin's.
    pub ratio_consume_cpu: Option<Figure>,
    /// Longest time from `subscribe` to the first envelope at a handler. Unit: milliseconds.
    pub joined_in_ms: f64,
    /// Envelopes published and consumed in a second, both at once.
    pub followed_per_s: Option<Figure>,
    /// From the second burst's start to the handler, p50, p99, p99.9 and max, each the median of the runs. Unit:
    /// milliseconds.
    pub publish_to_handler_ms: Option<[f64; 4]>,
    /// Records of one transaction on average.
    pub transaction_records: Option<f64>,
    /// Highest rise of memory in any run. Unit: bytes.
    pub memory_peak_delta_bytes: i64,
    /// Memory held after close, the median of the runs. Unit: bytes.
    pub memory_retained_bytes: i64,
    /// The most that any run left, each by itself.
    pub leaked: Leaked,
    /// Share of all processors that other processes used, the median of the runs, in 100.
    pub others_cpu_percent: f64,
    /// The lowest success of any run, in 100.
    pub success_percent: f64,
    /// The most envelopes that a strategy refused in any run, of both bursts.
    #[serde(default)]
    pub rejected: u64,
    /// The most tasks that were alive at once in any run.
    #[serde(default)]
    pub peak_tasks: u64,
}

impl Summary {
    /// Whether every run accepted everything and kept what it promised: its speeds can be compared with others.
    pub(crate) fn is_comparable(&self) -> bool {
        self.unsound_runs == 0 && self.rejected == 0
    }
}

/// One summary for each bus, level and mode, in the order of their first runs.
pub(crate) fn summarize(results: &[RunResult]) -> Vec<Summary> {
    let mut loads: Vec<(&str, Level, Mode)> = Vec::new();
    for result in results {
        let load = (result.bus.as_str(), result.level, result.mode);
        if !loads.contains(&load) {
            loads.push(load);
        }
    }
    let of = |load| results.iter().filter(move |it| (it.bus.as_str(), it.level, it.mode) == load);
    loads.into_iter().filter_map(|load| summary(&of(load).collect::<Vec<_>>())).collect()
}

/// The buses, in the order of their first summaries.
pub(crate) fn buses(summaries: &[Summary]) -> Vec<&str> {
    let mut buses = Vec::new();
    for summary in summaries {
        if !buses.contains(&summary.bus.as_str()) {
            buses.push(&summary.bus);
        }
    }
    buses
}

fn summary(runs: &[&RunResult]) -> Option<Summary> {
    let first = runs.first()?;
    let figure = |of: &dyn Fn(&RunResult) -> Option<f64>| Figure::of(runs.iter().filter_map(|run| of(run)));
    let twin = |of: &dyn Fn(&crate::result::TwinResult) -> Option<f64>| {
        figure(&|run: &RunResult| run.twin.as_ref().and_then(of).filter(|_| run.is_sound()))
    };
    let worst = |of: &dyn Fn(&Leaked) -> i64| runs.iter().map(|run| of(&run.leaked)).max().unwrap_or(0);
    let sound: Vec<&&RunResult> = runs.iter().filter(|run| run.is_sound()).collect();
    Some(Summary {
        bus: first.bus.clone(),
        level: first.level,
        mode: first.mode,
        strategy: first.strategy,
        headers: first.headers,
        streams: first.streams,
        runs: runs.len(),
        envelopes: first.envelopes,
        payload_bytes: first.payload_bytes,
        senders: first.senders,
        window_envelopes: first.window_envelopes,
        unsound_runs: runs.len() - sound.len(),
        accepted_per_s: figure(&|run| run.accepted_per_s),
        acked_per_s: figure(&|run| run.acked_per_s),
        ratio_acked: twin(&|twin| twin.ratio_acked),
        ratio_premade: twin(&|twin| twin.premade.as_ref()?.ratio_acked),
        ratio_p50: twin(&|twin| twin.ratio_p50),
        client_cpu_us: figure(&|run| run.client_cpu_us),
        ratio_cpu: twin(&|twin| twin.ratio_cpu),
        allocations_per_publish: figure(&|run| run.allocations_per_publish),
        publish_to_ack_ms: percentiles(&sound, |run| run.publish_to_ack_ms),
        call_to_ack_ms: percentiles(&sound, |run| run.call_to_ack_ms),
        handler_concurrency: first.handler_concurrency,
        topics: first.topics,
        consumed_per_s: figure(&|run| run.consumed_per_s),
        ratio_consumed: twin(&|twin| twin.ratio_consumed),
        consume_cpu_us: figure(&|run| run.consume_cpu_us),
        ratio_consume_cpu: twin(&|twin| twin.ratio_consume_cpu),
        joined_in_ms: runs.iter().map(|run| run.joined_in_ms).fold(0.0, f64::max),
        followed_per_s: figure(&|run| run.followed_per_s),
        publish_to_handler_ms: percentiles(&sound, |run| run.publish_to_handler_ms),
        transaction_records: figure(&|run| Some(run.envelopes as f64 / run.transactions? as f64)).map(|it| it.median),
        memory_peak_delta_bytes: runs.iter().map(|run| run.memory_peak_delta_bytes).max().unwrap_or(0),
        memory_retained_bytes: figure(&|run| Some(run.memory_retained_bytes as f64)).map_or(0, |it| it.median as i64),
        leaked: Leaked {
            tasks: worst(&|leaked| leaked.tasks),
            threads: worst(&|leaked| leaked.threads),
            descriptors: worst(&|leaked| leaked.descriptors),
        },
        others_cpu_percent: figure(&|run| Some(run.others_cpu_percent)).map_or(0.0, |it| it.median),
        success_percent: runs.iter().map(|run| run.success_percent).fold(100.0, f64::min),
        rejected: runs.iter().map(|run| run.rejected + run.followed_rejected).max().unwrap_or(0),
        peak_tasks: runs.iter().map(|run| run.peak_tasks).max().unwrap_or(0),
    })
}

fn percentiles(
    runs: &[&&RunResult],
    of: impl Fn(&RunResult) -> Option<crate::latency::Percentiles>,
) -> Option<[f64; 4]> {
    let found: Vec<_> = runs.iter().filter_map(|run| of(run)).collect();
    let median = |part: fn(&crate::latency::Percentiles) -> f64| Figure::of(found.iter().map(part)).map(|it| it.median);
    Some([median(|it| it.p50)?, median(|it| it.p99)?, median(|it| it.p999)?, median(|it| it.max)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], median: f64, spread_percent: f64) {
        let found = Figure::of(values.iter().copied()).expect("some");
        assert!((found.median - median).abs() < 1e-9, "{found:?}");
        assert!((found.spread_percent - spread_percent).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn medians_do_not_depend_on_order_and_spread_is_half_the_range() {
        check(&[5.0], 5.0, 0.0);
        check(&[4.0, 2.0], 3.0, 100.0 / 3.0);
        check(&[9.0, 10.0, 12.0, 8.0, 100.0], 10.0, 460.0);
        check(&[0.0, 0.0], 0.0, 0.0);
        assert_eq!(Figure::of([]), None);
    }

    #[test]
    fn ratios_are_taken_within_runs_and_unsound_runs_give_none() {
        let mut runs: Vec<RunResult> = (1..=3).map(crate::report::sample::run).collect();
        for (run, ratio) in runs.iter_mut().zip([1.0, 3.0, 2.0]) {
            run.twin.as_mut().expect("a twin").ratio_acked = Some(ratio);
        }
        let found = summarize(&runs);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].ratio_acked, Some(Figure { median: 2.0, spread_percent: 50.0 }));
        runs[1].lost = 1;
        let found = &summarize(&runs)[0];
        assert_eq!(found.unsound_runs, 1);
        assert_eq!(found.ratio_acked.expect("two runs").median, 1.5);
    }
}
