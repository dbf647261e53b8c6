//! The sentences of a verdict, in their order.

use super::fastest::fastest;
use super::held_back::held_back;
use super::left_out::left_out;
use super::ways::ways;
use crate::compare::buses;
use crate::result::BenchReport;

const LIMITS: &str = "Not shown: other payloads and machines, servers on machines of their own, several publishing \
                      processes, and what a steady rate costs: each figure is of bursts from one process.";

/// The sentences. Of a single bus only what held it back.
pub(crate) fn sentences(report: &BenchReport) -> Vec<String> {
    let summaries = &report.summaries;
    let held_back = held_back(report);
    if buses(summaries).len() < 2 {
        return held_back;
    }
    [left_out(summaries), fastest(report), ways(report), held_back, vec![LIMITS.into()]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn told(ratios: &[f64], change: impl Fn(&mut crate::result::RunResult)) -> Vec<String> {
        let mut results = sample::duel(ratios);
        change(results.iter_mut().find(|run| run.bus == "nats").expect("a run"));
        sentences(&sample::report_of(results))
    }

    #[test]
    fn the_faster_bus_comes_first_and_what_is_not_shown_last() {
        let told = told(&[2.0, 2.2, 1.8, 2.1, 1.9], |_| {});
        assert!(told[0].starts_with("async, acked/s: nats is the fastest at low: 2.00 × sqlite"), "{told:?}");
        assert!(told[1].contains("no difference beyond the noise"), "consuming was the same: {told:?}");
        assert!(told.last().is_some_and(|last| last.starts_with("Not shown: ")), "{told:?}");
    }

    #[test]
    fn what_lost_something_is_compared_with_nothing() {
        let told = told(&[2.0; 5], |run| run.lost = 1);
        assert!(told[0].starts_with("nats lost, doubled") && told[0].contains("runs: 1 of 5"), "{told:?}");
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn what_refused_something_is_compared_with_nothing() {
        let told = told(&[2.0; 5], |run| (run.rejected, run.success_percent) = (450, 10.0));
        assert!(told[0].starts_with("nats stored 10.0 % of low async at worst"), "{told:?}");
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn one_bus_has_nothing_to_be_compared_with() {
        assert!(sentences(&sample::report()).is_empty());
    }
}
