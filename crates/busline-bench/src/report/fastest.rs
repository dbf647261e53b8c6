//! Which bus for which load, in a table: the verdict's sentences at a glance.

use super::numbers::hundredths;
use super::tables::Table;
use crate::result::BenchReport;
use crate::side_by_side::{Decision, Speed, ratio};
use crate::verdict::ranked_buses;
use crate::workload::{Level, Mode};

/// A row for each load that two buses were measured under; none of a single bus. Ways to publish are left to the sentences.
pub(super) fn fastest(report: &BenchReport) -> Option<Table> {
    let mut rows = Vec::new();
    for (mode, level) in Mode::ALL.into_iter().flat_map(|mode| Level::ALL.map(|level| (mode, level))) {
        let cells = Speed::ALL.map(|speed| cell(report, (level, mode), speed));
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".into()));
            rows.push([format!("{level} {mode}")].into_iter().chain(cells).collect());
        }
    }
    let heads = ["load"].into_iter().chain(Speed::ALL.map(Speed::name)).collect();
    (!rows.is_empty()).then_some(Table { title: "Which bus for which load", heads, rows })
}

/// The buses from the fastest to the slowest, each beside the next one.
fn cell(report: &BenchReport, load: (Level, Mode), speed: Speed) -> Option<String> {
    let ranked = ranked_buses(&report.summaries, load, speed);
    let beside = |pair: &[&str]| {
        let (faster, next) = (pair[0], pair[1]);
        let found = ratio(&report.results, load, speed, (faster, next))?;
        Some(match found.decision() {
            Decision::Faster => format!("{faster} is {} × {next}", hundredths(found.median)),
            Decision::WithinNoise => format!("{faster} ≈ {next}"),
            Decision::Undecided => format!("{faster} or {next} is undecided"),
        })
    };
    let pairs: Vec<String> = ranked.windows(2).filter_map(beside).collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::result::RunResult;

    fn cells(ratios: &[f64]) -> Vec<String> {
        fastest(&sample::report_of(sample::duel(ratios))).expect("two buses").rows.remove(0)
    }

    #[test]
    fn each_bus_stands_beside_the_next_slower_one() {
        assert_eq!(cells(&[2.0, 2.2, 1.8, 2.1, 1.9])[..2], ["low async", "nats is 2.00 × sqlite"]);
        assert_eq!(cells(&[0.5, 0.5, 0.5, 0.4, 0.4])[1], "sqlite is 2.00 × nats");
        assert_eq!(cells(&[1.3, 0.8, 1.1, 1.1, 1.1])[1], "nats ≈ sqlite");
        assert_eq!(cells(&[9.0; 4])[1], "nats or sqlite is undecided");
        let mut results = sample::duel(&[2.0, 2.2, 1.8, 2.1, 1.9]);
        let third = |run: &RunResult| RunResult { bus: "kafka".into(), acked_per_s: Some(90_000.0), ..run.clone() };
        let kafka: Vec<RunResult> = results.iter().filter(|run| run.bus == "nats").map(third).collect();
        results.extend(kafka);
        let found = fastest(&sample::report_of(results)).expect("three buses");
        assert_eq!(
            found.rows[0][1..3],
            ["nats is 2.00 × sqlite; sqlite is 2.22 × kafka", "sqlite ≈ nats; nats ≈ kafka"]
        );
        assert_eq!(found.heads, ["load", "acked/s", "consumed/s", "both/s"]);
    }

    #[test]
    fn a_single_bus_and_its_ways_have_no_table() {
        let alone: Vec<RunResult> = (1..=5).map(sample::run).collect();
        assert!(fastest(&sample::report_of(alone)).is_none());
        assert!(fastest(&sample::report_of(sample::strategies())).is_none());
    }
}
