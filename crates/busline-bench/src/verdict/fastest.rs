//! Which bus is the fastest at which levels, a sentence for each mode and speed.

use super::found::Found;
use super::grouped::Grouped;
use super::listed::listed;
use super::pairs::ranked_buses;
use crate::compare::buses;
use crate::result::BenchReport;
use crate::side_by_side::{Decision, Ratio, Speed, ratio};
use crate::targets::RUNS_MIN;
use crate::workload::{Level, Mode};

/// What the runs of one load say of its buses.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing<'r> {
    /// One is faster than each other one.
    Fastest(&'r str),
    /// None of these is slower than the fastest beyond the noise.
    Alike(Vec<&'r str>),
    /// There are too few runs to tell these apart, which are so many.
    Undecided(Vec<&'r str>, usize),
}

/// The sentences, of those modes and speeds that two buses can be compared by.
pub(super) fn fastest(report: &BenchReport) -> Vec<String> {
    let each = Mode::ALL.into_iter().flat_map(|mode| Speed::ALL.map(|speed| (mode, speed)));
    each.filter_map(|(mode, speed)| sentence(report, mode, speed)).collect()
}

fn sentence(report: &BenchReport, mode: Mode, speed: Speed) -> Option<String> {
    let mut standings: Grouped<Standing<'_>, (Found, Vec<&str>)> = Grouped::default();
    for level in Level::ALL {
        let Some((standing, next, ratio)) = standing(report, (level, mode), speed) else { continue };
        let (found, nexts) = standings.entry(standing);
        found.levels.push(level);
        found.ratios.push(ratio);
        nexts.push(next);
    }
    let clauses: Vec<String> =
        standings.iter().map(|(standing, (found, nexts))| clause(standing, found, nexts)).collect();
    (!clauses.is_empty()).then(|| format!("{mode}, {}: {}.", speed.name(), clauses.join("; ")))
}

/// How the buses stand under one load, with the one behind the fastest and the ratio of the two.
fn standing<'r>(report: &'r BenchReport, load: (Level, Mode), speed: Speed) -> Option<(Standing<'r>, &'r str, Ratio)> {
    let ranked = ranked_buses(&report.summaries, load, speed);
    let (first, others) = ranked.split_first()?;
    let against = |other: &&'r str| Some((*other, ratio(&report.results, load, speed, (*first, *other))?));
    let ratios: Vec<(&str, Ratio)> = others.iter().filter_map(against).collect();
    let (next, nearest) = *ratios.first()?;
    let unbeaten = |(_, ratio): &&(&str, Ratio)| ratio.decision() != Decision::Faster;
    let is_with_first = |bus: &&str| bus == first || ratios.iter().filter(unbeaten).any(|(other, _)| other == bus);
    // In the order of the report, so that levels with the same ones are told together.
    let with_first: Vec<&str> = buses(&report.summaries).into_iter().filter(is_with_first).collect();
    let undecided = ratios.iter().find(|(_, ratio)| ratio.decision() == Decision::Undecided);
    let standing = match undecided {
        _ if with_first.len() == 1 => Standing::Fastest(first),
        Some((_, ratio)) => Standing::Undecided(with_first, ratio.runs),
        None => Standing::Alike(with_first),
    };
    Some((standing, next, nearest))
}

fn clause(standing: &Standing<'_>, found: &Found, nexts: &[&str]) -> String {
    let levels = listed(&found.levels);
    match standing {
        Standing::Fastest(bus) => {
            let is_one = nexts.iter().all(|next| *next == nexts[0]);
            let next = if is_one { nexts[0] } else { "the next one" };
            format!("{bus} is the fastest at {levels}: {}", found.reach(next))
        }
        Standing::Alike(buses) => format!("no difference beyond the noise between {} at {levels}", listed(buses)),
        Standing::Undecided(buses, runs) => {
            format!("too few runs to tell {} apart at {levels} ({runs} of {RUNS_MIN})", listed(buses))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::result::RunResult;

    fn acked(results: Vec<RunResult>) -> String {
        fastest(&sample::report_of(results)).remove(0)
    }

    /// Runs of a third bus, each so much slower than that of nats.
    fn third(results: &[RunResult], ratios: [f64; 5]) -> Vec<RunResult> {
        let nats = results.iter().filter(|run| run.bus == "nats");
        let kafka = |(run, ratio): (&RunResult, f64)| RunResult {
            bus: "kafka".into(),
            acked_per_s: run.acked_per_s.map(|speed| speed / ratio),
            ..run.clone()
        };
        nats.zip(ratios).map(kafka).collect()
    }

    #[test]
    fn the_fastest_is_named_with_its_levels_and_the_reach_of_the_ratios() {
        let mut results = sample::duel(&[2.0, 2.2, 1.8, 2.1, 1.9]);
        let others = [(Level::Medium, [3.0, 3.3, 3.2, 3.0, 2.9]), (Level::High, [0.9, 1.0, 1.0, 1.2, 1.1])];
        for (level, ratios) in others {
            results.extend(sample::duel(&ratios).into_iter().map(|run| RunResult { level, ..run }));
        }
        assert_eq!(
            acked(results),
            "async, acked/s: nats is the fastest at low and medium: 2.00 to 3.00 × sqlite (single runs 1.80 to 3.30); \
             no difference beyond the noise between sqlite and nats at high."
        );
    }

    #[test]
    fn all_that_are_not_slower_beyond_the_noise_are_named() {
        let mut results = sample::duel(&[2.0; 5]);
        results.extend(third(&results, [1.1, 1.2, 0.9, 1.1, 1.1]));
        assert_eq!(acked(results), "async, acked/s: no difference beyond the noise between nats and kafka at low.");
        let mut results = sample::duel(&[2.0; 5]);
        results.extend(third(&results, [1.5; 5]));
        assert!(acked(results).contains("nats is the fastest at low: 1.50 × kafka ("));
    }

    #[test]
    fn noise_and_few_runs_decide_nothing() {
        let noise = acked(sample::duel(&[1.2, 0.9, 1.1, 1.0, 1.1]));
        assert!(noise.contains("no difference beyond the noise between sqlite and nats at low"), "{noise}");
        let few = acked(sample::duel(&[2.0]));
        assert!(few.contains("too few runs to tell sqlite and nats apart at low (1 of 5)"), "{few}");
    }
}
