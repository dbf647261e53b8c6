//! What a benchmark of several buses says, in sentences that are computed from its runs alone.

use crate::compare::{Summary, buses};
use crate::limit::long_enough;
use crate::result::BenchReport;
use crate::side_by_side::{Decision, Ratio, Speed, ratio};
use crate::targets::RUNS_MIN;
use crate::workload::{Level, Mode};

/// The sentences. Of a single bus only what held it back.
pub(crate) fn sentences(report: &BenchReport) -> Vec<String> {
    let summaries = &report.summaries;
    let held_back = held_back(report);
    if buses(summaries).len() < 2 {
        return held_back;
    }
    [left_out(summaries), comparisons(report), held_back, vec![LIMITS.into()]].concat()
}

/// Which bus was faster, a sentence for each load and speed by which buses or ways to publish can be compared.
pub(crate) fn comparisons(report: &BenchReport) -> Vec<String> {
    let mut sentences = Vec::new();
    for mode in Mode::ALL {
        for speed in Speed::ALL {
            sentences.extend(Level::ALL.into_iter().filter_map(|level| sentence(report, (level, mode), speed)));
        }
    }
    sentences
}

const LIMITS: &str = "Not shown: other payloads and machines, servers on machines of their own, several publishing \
                      processes, and what a steady rate costs: each figure is of bursts from one process.";

/// What takes no part in what its speed would decide: a sentence for each bus that was not sound somewhere, and one for
/// each that refused something.
fn left_out(summaries: &[Summary]) -> Vec<String> {
    let all = buses(summaries).into_iter().flat_map(|bus| {
        let own: Vec<&Summary> = summaries.iter().filter(|it| it.bus == bus).collect();
        [unsound(bus, &own), refused(bus, &own)]
    });
    all.flatten().collect()
}

fn unsound(bus: &str, own: &[&Summary]) -> Option<String> {
    let told = |it: &&Summary| format!("{} {} (runs: {} of {})", it.level, it.mode, it.unsound_runs, it.runs);
    let loads: Vec<String> = own.iter().filter(|it| it.unsound_runs > 0).map(told).collect();
    (!loads.is_empty()).then(|| {
        let loads = loads.join(", ");
        format!(
            "{bus} lost, doubled, reordered or did not ack something at {loads}: it is compared with nothing there."
        )
    })
}

fn refused(bus: &str, own: &[&Summary]) -> Option<String> {
    let told = |it: &&Summary| format!("{:.1} % of {} {}", it.success_percent, it.level, it.mode);
    let loads: Vec<String> = own.iter().filter(|it| it.unsound_runs == 0 && !it.is_comparable()).map(told).collect();
    (!loads.is_empty()).then(|| {
        let loads = loads.join(", ");
        format!(
            "{bus} stored {loads} at worst and refused the rest, as its strategy does: it is compared with nothing there."
        )
    })
}

/// One load by one speed: the fastest bus against each other one, and each against the other ways to publish to it.
fn sentence(report: &BenchReport, load: (Level, Mode), speed: Speed) -> Option<String> {
    let ranked = ranked(&report.summaries, load, speed);
    let (ways, plain): (Vec<&str>, Vec<&str>) = ranked.iter().partition(|bus| bus.contains('/'));
    let buses = plain.iter().skip(1).map(|other| (plain[0], *other));
    let ways = ways.iter().filter(|_| speed == Speed::Acked).filter_map(|way| with_its_bus(&ranked, way));
    let told = |(faster, other)| Some(clause(faster, other, &ratio(&report.results, load, speed, (faster, other))?));
    let clauses: Vec<String> = buses.chain(ways).filter_map(told).collect();
    let (level, mode) = load;
    (!clauses.is_empty()).then(|| format!("{level} {mode}, {}: {}.", speed.name(), clauses.join("; ")))
}

/// What held publishing back, a sentence for each load whose bursts were long enough to tell.
fn held_back(report: &BenchReport) -> Vec<String> {
    let mut loads: Vec<(Level, Mode, Vec<String>)> = Vec::new();
    for (summary, used) in long_enough(report) {
        let limit = used.limit(report.header.machine.processors, summary.mode);
        let told = format!("{} by {limit} (client {:.2}, others {:.2})", summary.bus, used.client, used.others);
        match loads.iter_mut().find(|(level, mode, _)| (*level, *mode) == (summary.level, summary.mode)) {
            Some((.., buses)) => buses.push(told),
            None => loads.push((summary.level, summary.mode, vec![told])),
        }
    }
    let sentence = |(level, mode, buses): (Level, Mode, Vec<String>)| {
        format!("{level} {mode}, publishing was held back, in processors: {}.", buses.join("; "))
    };
    loads.into_iter().map(sentence).collect()
}

/// The buses that can be compared under one load, the fastest first.
pub(crate) fn ranked(summaries: &[Summary], load: (Level, Mode), speed: Speed) -> Vec<&str> {
    let comparable = summaries.iter().filter(|it| (it.level, it.mode) == load && it.is_comparable());
    let mut buses: Vec<(&str, f64)> = comparable.filter_map(|it| Some((it.bus.as_str(), median(it, speed)?))).collect();
    buses.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    buses.into_iter().map(|(bus, _)| bus).collect()
}

/// A way to publish and the bus it is of, the faster one in front.
fn with_its_bus<'b>(ranked: &[&'b str], way: &str) -> Option<(&'b str, &'b str)> {
    let own = way.split('/').next()?;
    let mut both = ranked.iter().copied().filter(|bus| *bus == own || *bus == way);
    both.next().zip(both.next())
}

fn median(summary: &Summary, speed: Speed) -> Option<f64> {
    let figure = match speed {
        Speed::Acked => summary.acked_per_s,
        Speed::Consumed => summary.consumed_per_s,
        Speed::Followed => summary.followed_per_s,
    };
    figure.map(|figure| figure.median)
}

fn clause(fastest: &str, other: &str, ratio: &Ratio) -> String {
    let Ratio { smallest, median, largest, runs } = ratio;
    let range = format!("{smallest:.2} to {largest:.2}");
    match ratio.decision() {
        Decision::Faster => format!("{fastest} is {median:.2} × {other} ({range})"),
        Decision::WithinNoise => format!("no difference beyond the noise between {fastest} and {other} ({range})"),
        Decision::Undecided => {
            format!("{fastest} was {median:.2} × {other} ({range}), undecided with {runs} of {RUNS_MIN} runs")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::result::RunResult;

    fn told(ratios: &[f64]) -> Vec<String> {
        sentences(&sample::report_of(sample::duel(ratios)))
    }

    #[test]
    fn the_faster_bus_is_named_with_its_range() {
        let told = told(&[2.0, 2.2, 1.8, 2.1, 1.9]);
        assert_eq!(told[0], "low async, acked/s: nats is 2.00 × sqlite (1.80 to 2.20).");
        assert!(told[1].contains("no difference beyond the noise"), "consuming was the same: {told:?}");
        assert!(told.last().is_some_and(|last| last.starts_with("Not shown: ")), "{told:?}");
    }

    #[test]
    fn noise_and_few_runs_decide_nothing() {
        assert!(told(&[1.2, 0.9, 1.1, 1.0, 1.1])[0].contains("no difference beyond the noise"));
        assert!(told(&[2.0])[0].contains("undecided with 1 of 5 runs"));
    }

    #[test]
    fn what_lost_something_is_compared_with_nothing() {
        let mut results = sample::duel(&[2.0; 5]);
        results.iter_mut().find(|it| it.bus == "nats").expect("a run").lost = 1;
        let told = sentences(&sample::report_of(results));
        assert!(told[0].starts_with("nats lost, doubled") && told[0].contains("runs: 1 of 5"), "{told:?}");
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn what_refused_something_is_compared_with_nothing() {
        let mut results = sample::duel(&[2.0; 5]);
        let run = results.iter_mut().find(|it| it.bus == "nats").expect("a run");
        (run.rejected, run.success_percent) = (450, 10.0);
        let told = sentences(&sample::report_of(results));
        assert!(told[0].starts_with("nats stored 10.0 % of low async at worst"), "{told:?}");
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn a_bus_that_is_left_out_at_several_levels_is_told_once_with_all_of_them() {
        let mut results = sample::duel(&[2.0; 5]);
        let of = |level, change: fn(&mut RunResult)| {
            let mut run = RunResult { level, ..results[1].clone() };
            change(&mut run);
            run
        };
        let refuse = |run: &mut RunResult| (run.rejected, run.success_percent) = (450, 10.0);
        let more = [of(Level::Medium, refuse), of(Level::High, refuse), of(Level::Extreme, |run| run.lost = 2)];
        results.extend(more);
        let told = sentences(&sample::report_of(results));
        let [lost, refused] = [&told[0], &told[1]];
        assert!(lost.contains("something at extreme async (runs: 1 of 1): it is"), "{told:?}");
        assert!(refused.contains("stored 10.0 % of medium async, 10.0 % of high async at worst"), "{told:?}");
        assert_eq!(told.iter().filter(|sentence| sentence.contains("compared with nothing")).count(), 2, "{told:?}");
    }

    #[test]
    fn ways_to_publish_are_compared_with_their_own_bus_and_by_what_is_acked_alone() {
        let mut results = sample::duel(&[2.0; 5]);
        let way = |run: &RunResult| RunResult {
            bus: "sqlite/headers".into(),
            acked_per_s: run.acked_per_s.map(|speed| speed * 4.0),
            ..run.clone()
        };
        let ways: Vec<_> = results.iter().filter(|run| run.bus == "sqlite").map(way).collect();
        results.extend(ways);
        let told = sentences(&sample::report_of(results));
        let wanted =
            "low async, acked/s: nats is 2.00 × sqlite (2.00 to 2.00); sqlite/headers is 4.00 × sqlite (4.00 to 4.00).";
        assert_eq!(told[0], wanted);
        assert!(told[1..].iter().all(|sentence| !sentence.contains("headers")), "{told:?}");
    }

    #[test]
    fn what_held_each_bus_back_is_told_if_the_bursts_were_long_enough() {
        let mut results = sample::duel(&[2.0]);
        results[0].publish_usage = Some(sample::usage(1.0));
        results[1].publish_usage = Some(sample::usage(0.01));
        let told = sentences(&sample::report_of(results));
        let held: Vec<&String> = told.iter().filter(|sentence| sentence.contains("held back")).collect();
        assert_eq!(
            held,
            [
                "low async, publishing was held back, in processors: sqlite by the client's thread committer (client 1.25, others 0.12)."
            ]
        );
    }

    #[test]
    fn one_bus_has_nothing_to_be_compared_with() {
        assert!(sentences(&sample::report()).is_empty());
    }
}
