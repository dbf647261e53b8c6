//! Before and after: the strategies of one bus beside each other.

use super::burst_plots::over_levels;
use super::figure::{Figure, section};
use super::numbers::{grouped, hundredths, mebibytes, median, millis};
use super::page::table;
use super::series::Series;
use super::tables::Table;
use crate::compare::Figure as Median;
use crate::result::{BenchReport, RunResult};
use crate::workload::{Level, Mode};

/// Strategies as they followed each other; others come behind them.
const ORDER: [&str; 4] = ["task-per-message", "capped-256", "pipelined", "fast"];

/// A section for each bus that was run with several strategies; nothing of none.
pub(super) fn before_and_after(report: &BenchReport, setting: &str) -> String {
    let mut families: Vec<&str> = Vec::new();
    for family in report.results.iter().map(family) {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    let of = |family: &&str| {
        let series = strategies(&report.results, family)?;
        let plots = section(&format!("{family}: before and after"), &figures(family, &series), setting);
        Some(plots + &table(&rows(&series)))
    };
    families.iter().filter_map(of).collect()
}

/// The bus whose strategies are compared: its label without what differs from the default.
fn family(run: &RunResult) -> &str {
    run.bus.split_once('/').map_or(run.bus.as_str(), |(family, _)| family)
}

/// The runs of a bus by strategy; none if it has but one.
fn strategies<'r>(results: &'r [RunResult], wanted: &str) -> Option<Series<'r>> {
    let mut runs: Vec<&RunResult> = results.iter().filter(|run| family(run) == wanted).collect();
    runs.sort_by_key(|run| place(&name(run)));
    let first = name(runs.first()?);
    let label = |run: &RunResult| run.bus.split_once('/').map_or_else(|| name(run), |(_, rest)| rest.into());
    let several = runs.iter().any(|run| name(run) != first);
    several.then(|| Series::of(runs, label))
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
    Mode::ALL.into_iter().flat_map(|mode| COMPARED.map(|compared| figure(mode, compared))).flatten().collect()
}

fn rows(series: &Series<'_>) -> Table {
    let loads = Level::ALL.into_iter().flat_map(|level| Mode::ALL.map(|mode| (level, mode)));
    let row = |load: (Level, Mode), at: usize| {
        let of = |value: Value| Median::of(series.runs(at, load).filter_map(value));
        let success = of(|run| Some(run.success_percent))?;
        Some(vec![
            format!("{} {}", load.0, load.1),
            series.label(at).to_string(),
            format!("{:.1} %", success.median),
            median(of(|run| run.acked_per_s.filter(|_| run.is_sound())), grouped),
            median(of(|run| Some(run.call_to_ack_ms?.p50)), millis),
            median(of(|run| Some(run.call_to_ack_ms?.p99)), millis),
            median(of(|run| Some(run.memory_peak_delta_bytes as f64)), |bytes| mebibytes(bytes as i64)),
            median(of(|run| run.client_cpu_us), hundredths),
        ])
    };
    Table {
        title: "The same in figures",
        heads: vec!["load", "strategy", "success", "acked/s", "p50 ms", "p99 ms", "peak MiB", "CPU µs"],
        rows: loads.flat_map(|load| (0..series.len()).filter_map(move |at| row(load, at))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page::tests::{parsed, titles};
    use crate::report::sample;

    #[test]
    fn strategies_of_a_bus_stand_beside_each_other_the_oldest_first() {
        let mut results = sample::duel(&[2.0; 3]);
        let mut before: Vec<RunResult> = results.iter().filter(|run| run.bus == "nats").cloned().collect();
        for run in &mut before {
            run.bus = "nats/task-per-message".into();
            run.strategy = "task-per-message".parse().expect("a strategy");
            run.success_percent = 97.5;
        }
        results.extend(before);
        let section = before_and_after(&sample::report_of(results), "the setting");
        assert_eq!(titles(&section)[0], "nats async: success");
        assert_eq!(titles(&section).len(), COMPARED.len(), "of nats, and not of sqlite: {section}");
        let (oldest, newest) = (section.find(">task-per-message<"), section.find(">fast<"));
        assert!(oldest.expect("named") < newest.expect("named"), "{section}");
        assert!(section.contains(r#"<td data-head="success">97.5 %</td>"#), "{section}");
        assert_eq!(parsed(&format!("</style>{section}"))["figure"], COMPARED.len());
    }

    #[test]
    fn one_strategy_has_nothing_before_it() {
        assert_eq!(before_and_after(&sample::report(), ""), "");
    }
}
