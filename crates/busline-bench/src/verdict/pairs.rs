//! What is compared with what.

use crate::compare::Summary;
use crate::contender::{bus_of_label, is_way};
use crate::result::BenchReport;
use crate::side_by_side::{Ratio, Speed, ratio};
use crate::workload::{Level, Mode};

/// Two under one load beside each other, the one with the faster median in front.
#[derive(Debug)]
pub(crate) struct Pair<'r> {
    pub(crate) load: (Level, Mode),
    pub(crate) speed: Speed,
    pub(crate) faster: &'r str,
    pub(crate) slower: &'r str,
    /// The speed of the faster one ÷ that of the slower one.
    pub(crate) ratio: Ratio,
}

/// Each load and speed by which buses or ways to publish can be compared: the fastest bus against each other one, and each
/// against the other ways to publish to it, by what is acked alone.
pub(crate) fn pairs(report: &BenchReport) -> Vec<Pair<'_>> {
    let mut pairs = Vec::new();
    for mode in Mode::ALL {
        for speed in Speed::ALL {
            Level::ALL.into_iter().for_each(|level| pairs.extend(of_load(report, (level, mode), speed)));
        }
    }
    pairs
}

fn of_load(report: &BenchReport, load: (Level, Mode), speed: Speed) -> Vec<Pair<'_>> {
    let ranked = ranked(&report.summaries, load, speed);
    let (ways, plain): (Vec<&str>, Vec<&str>) = ranked.iter().copied().partition(|bus| is_way(bus));
    let buses = plain.iter().skip(1).map(|other| (plain[0], *other));
    let ways = ways.iter().filter(|_| speed == Speed::Acked).filter_map(|way| with_its_bus(&ranked, way));
    let pair = |(faster, slower)| {
        let ratio = ratio(&report.results, load, speed, (faster, slower))?;
        Some(Pair { load, speed, faster, slower, ratio })
    };
    buses.chain(ways).filter_map(pair).collect()
}

/// The buses that can be compared under one load, the fastest first.
pub(crate) fn ranked_buses(summaries: &[Summary], load: (Level, Mode), speed: Speed) -> Vec<&str> {
    ranked(summaries, load, speed).into_iter().filter(|bus| !is_way(bus)).collect()
}

/// The same with their ways to publish.
fn ranked(summaries: &[Summary], load: (Level, Mode), speed: Speed) -> Vec<&str> {
    let comparable = summaries.iter().filter(|it| (it.level, it.mode) == load && it.is_comparable());
    let mut buses: Vec<(&str, f64)> = comparable.filter_map(|it| Some((it.bus.as_str(), median(it, speed)?))).collect();
    buses.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    buses.into_iter().map(|(bus, _)| bus).collect()
}

/// A way to publish and the bus it is of, the faster one in front.
fn with_its_bus<'b>(ranked: &[&'b str], way: &str) -> Option<(&'b str, &'b str)> {
    let own = bus_of_label(way);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::result::RunResult;

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
        let report = sample::report_of(results);
        let found: Vec<_> = pairs(&report).into_iter().map(|it| (it.speed, it.faster, it.slower)).collect();
        assert_eq!(
            found,
            [
                (Speed::Acked, "nats", "sqlite"),
                (Speed::Acked, "sqlite/headers", "sqlite"),
                (Speed::Consumed, "sqlite", "nats"),
                (Speed::Followed, "sqlite", "nats"),
            ]
        );
    }
}
