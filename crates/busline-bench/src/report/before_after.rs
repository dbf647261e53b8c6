//! Before and after: the ways to publish to one bus beside each other.

use super::burst_plots::{latencies_to_ack, over_levels};
use super::figure::{Figure, section};
use super::series::Series;
use crate::contender::bus_of_label;
use crate::result::{BenchReport, RunResult};
use crate::workload::{Level, Mode};

/// Strategies as they followed each other; others come behind them.
const ORDER: [&str; 4] = ["task-per-message", "capped-256", "pipelined", "fast"];

/// A section for each bus that was published to in several ways; nothing of none.
///
/// `setting` says what runs were made with.
pub(super) fn before_and_after(report: &BenchReport, setting: impl Fn(&[&RunResult]) -> String) -> String {
    let mut families: Vec<&str> = Vec::new();
    for family in report.results.iter().map(family) {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    let of = |family: &&str| {
        let runs = runs_of(&report.results, family);
        let several = runs.iter().any(|run| run.bus != runs[0].bus);
        let figures = several.then(|| figures(family, &by_way(&runs)))?;
        Some(section(&format!("{family}: before and after"), &figures, &setting(&runs)))
    };
    families.iter().filter_map(of).collect()
}

/// The bus whose ways are compared: its label without what differs from the default.
fn family(run: &RunResult) -> &str {
    bus_of_label(&run.bus)
}

/// The runs of a bus, the oldest way to publish first.
fn runs_of<'r>(results: &'r [RunResult], wanted: &str) -> Vec<&'r RunResult> {
    let mut runs: Vec<&RunResult> = results.iter().filter(|run| family(run) == wanted).collect();
    runs.sort_by_key(|run| place(&name(run)));
    runs
}

fn by_way<'r>(runs: &[&'r RunResult]) -> Series<'r> {
    let label = |run: &RunResult| run.bus.split_once('/').map_or_else(|| name(run), |(_, rest)| rest.into());
    Series::of(runs.iter().copied(), label)
}

fn name(run: &RunResult) -> String {
    run.strategy.to_string()
}

fn place(strategy: &str) -> usize {
    ORDER.iter().position(|known| *known == strategy).unwrap_or(ORDER.len())
}

/// A value of one run.
type Value = fn(&RunResult) -> Option<f64>;

const COMPARED: [(&str, &str, Value); 6] = [
    ("success", "stored of planned envelopes, %", |run| Some(run.success_percent)),
    ("acked", "envelopes in a second", |run| run.acked_per_s.filter(|_| run.is_sound())),
    ("p99 from call to ack", "ms", |run| Some(run.call_to_ack_ms?.p99)),
    ("most tasks", "at once", |run| Some(run.peak_tasks as f64).filter(|tasks| *tasks > 0.0)),
    ("peak memory", "MiB", |run| Some(run.memory_peak_delta_bytes.max(0) as f64 / f64::from(1 << 20))),
    ("publishing an envelope", "processor time, µs", |run| run.client_cpu_us),
];

fn figures(family: &str, series: &Series<'_>) -> Vec<Figure> {
    let note = "Median of the runs; the line spans the lowest and the highest one.";
    let figure = |mode: Mode, (what, unit, of): (&str, &str, Value)| {
        over_levels(&format!("{family} {mode}: {what}"), unit, note, series, &series.groups(mode, of))
    };
    let modes = Mode::ALL.into_iter().filter(|mode| Level::ALL.iter().any(|level| series.is_shared((*level, *mode))));
    let bars = modes.flat_map(|mode| COMPARED.map(|compared| figure(mode, compared))).flatten();
    bars.chain(latencies_to_ack(family, series)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page::tests::{parsed, titles};
    use crate::report::sample;

    #[test]
    fn ways_to_publish_stand_beside_each_other_the_oldest_first() {
        let mut results = sample::duel(&[2.0; 3]);
        let mut before: Vec<RunResult> = results.iter().filter(|run| run.bus == "nats").cloned().collect();
        for run in &mut before {
            run.bus = "nats/task-per-message".into();
            run.strategy = "task-per-message".parse().expect("a strategy");
            run.success_percent = 97.5;
        }
        results.extend(before);
        let in_one_way = results.iter().filter(|run| run.bus == "nats").cloned();
        let in_one_way: Vec<_> = in_one_way.map(|run| RunResult { mode: Mode::Sync, ..run }).collect();
        results.extend(in_one_way);
        let section = before_and_after(&sample::report_of(results), |_| "the setting".into());
        assert_eq!(titles(&section)[0], "nats async: success");
        assert_eq!(titles(&section).len(), COMPARED.len() + 1, "of nats, and not of sqlite: {section}");
        assert_eq!(titles(&section).last(), Some(&"nats low async: latency of 500 envelopes"));
        let (oldest, newest) = (section.find(">task-per-message<"), section.find(">fast<"));
        assert!(oldest.expect("named") < newest.expect("named"), "{section}");
        assert_eq!(parsed(&format!("</style>{section}"))["figure"], COMPARED.len() + 1);
    }

    #[test]
    fn one_way_has_nothing_before_it() {
        assert_eq!(before_and_after(&sample::report(), |_| String::new()), "");
    }
}
