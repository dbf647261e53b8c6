//! How each bus compares with the other ways to publish to it, a sentence for each way and mode.

use super::found::Found;
use super::listed::listed;
use crate::compare::buses;
use crate::contender::{bus_of_label, is_way};
use crate::result::BenchReport;
use crate::side_by_side::{Decision, Speed, ratio};
use crate::targets::RUNS_MIN;
use crate::workload::{Level, Mode};

/// The sentences, of the ways that stored everything at some level that their bus was measured at too.
pub(super) fn ways(report: &BenchReport) -> Vec<String> {
    let of = |mode| {
        let ways = buses(&report.summaries).into_iter().filter(|bus| is_way(bus));
        ways.filter_map(move |way| sentence(report, mode, way))
    };
    Mode::ALL.into_iter().flat_map(of).collect()
}

fn sentence(report: &BenchReport, mode: Mode, way: &str) -> Option<String> {
    let bus = bus_of_label(way);
    let (mut ahead, mut behind, mut alike, mut undecided) = <(Found, Found, Found, Found)>::default();
    for level in Level::ALL {
        let compared = |pair| ratio(&report.results, (level, mode), Speed::Acked, pair);
        let Some((over, under)) = compared((bus, way)).zip(compared((way, bus))) else { continue };
        let (found, ratio) = match over.decision() {
            Decision::Faster if over.median > 1.0 => (&mut ahead, over),
            Decision::Faster => (&mut behind, under),
            Decision::WithinNoise => (&mut alike, over),
            Decision::Undecided => (&mut undecided, over),
        };
        found.levels.push(level);
        found.ratios.push(ratio);
    }
    let clauses = [
        clause(&ahead, |levels| format!("{bus} is {} at {levels}", ahead.reach(way))),
        clause(&behind, |levels| format!("{way} is {} at {levels}", behind.reach(bus))),
        clause(&alike, |levels| format!("no difference beyond the noise between {bus} and {way} at {levels}")),
        clause(&undecided, |levels| {
            let runs = undecided.ratios.iter().map(|ratio| ratio.runs).min().unwrap_or(0);
            format!("too few runs to tell {bus} and {way} apart at {levels} ({runs} of {RUNS_MIN})")
        }),
    ];
    let clauses: Vec<String> = clauses.into_iter().flatten().collect();
    (!clauses.is_empty()).then(|| format!("{mode}, {}: {}.", Speed::Acked.name(), clauses.join("; ")))
}

fn clause(found: &Found, told: impl Fn(&str) -> String) -> Option<String> {
    (!found.levels.is_empty()).then(|| told(&listed(&found.levels)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::result::RunResult;

    /// The sentences of a way that is so many times slower than its bus at each of these levels.
    fn told(levels: &[(Level, &[f64])]) -> Vec<String> {
        let mut results = Vec::new();
        for (level, slower) in levels {
            for run in sample::duel(slower).into_iter().filter(|run| run.bus == "nats") {
                let bus = RunResult { level: *level, ..run };
                let way = RunResult { bus: "nats/headers".into(), acked_per_s: Some(200_000.0), ..bus.clone() };
                results.extend([bus, way]);
            }
        }
        ways(&sample::report_of(results))
    }

    #[test]
    fn a_way_is_compared_with_its_bus_at_all_levels_in_one_sentence() {
        let told = told(&[
            (Level::Low, &[1.1, 0.9, 1.0, 1.0, 1.0]),
            (Level::Medium, &[2.0, 2.2, 1.8, 2.1, 1.9]),
            (Level::High, &[3.0; 5]),
            (Level::Extreme, &[0.5; 5]),
            (Level::Surge, &[0.5; 3]),
        ]);
        assert_eq!(
            told,
            ["async, acked/s: nats is 2.00 to 3.00 × nats/headers (single runs 1.80 to 3.00) at medium and high; \
              nats/headers is 2.00 × nats (single runs 2.00 to 2.00) at extreme; no difference beyond the noise \
              between nats and nats/headers at low; too few runs to tell nats and nats/headers apart at surge (3 of 5)."]
        );
    }

    #[test]
    fn what_refused_something_has_no_sentence() {
        assert!(ways(&sample::report_of(sample::strategies())).iter().all(|told| !told.contains("capped-256")));
    }
}
