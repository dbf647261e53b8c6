//! Figures that were promised, and whether this benchmark met them.
//!
//! Source: docs/decisions, "Measuring": speeds hold for surge and flood; smaller levels report only.

use serde::Serialize;

use crate::compare::Summary;
use crate::workload::{Level, Mode};

/// One promised figure, measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    /// What is compared.
    pub what: String,
    /// The bound, which may be reached.
    pub bound: Bound,
    /// What was measured: the median of the runs.
    pub measured: f64,
    /// Half the distance of the largest from the smallest run, in 100 of the median, where there is one.
    pub spread_percent: Option<f64>,
    /// Whether the bound holds.
    pub met: bool,
}

/// A bound of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

impl Target {
    pub(crate) fn new(what: String, bound: Bound, measured: f64, spread_percent: Option<f64>) -> Self {
        let met = match bound {
            Bound::AtLeast(bound) => measured >= bound,
            Bound::AtMost(bound) => measured <= bound,
        };
        Self { what, bound, measured, spread_percent, met }
    }
}

const MIB: f64 = (1 << 20) as f64;

/// The targets that these runs measured.
pub(crate) fn judge(summaries: &[Summary]) -> Vec<Target> {
    let mut targets = Vec::new();
    for summary in summaries {
        let name = format!("{} {}", summary.level, summary.mode);
        let mut figure = |what: &str, bound, figure: Option<crate::compare::Figure>| {
            let target = |it: crate::compare::Figure| {
                Target::new(format!("{name}: {what}"), bound, it.median, Some(it.spread_percent))
            };
            targets.extend(figure.map(target));
        };
        if summary.level >= Level::Surge && summary.mode == Mode::Async {
            figure("acked/s ÷ the twin that encodes", Bound::AtLeast(1.0), summary.ratio_acked);
            figure("acked/s ÷ the twin with bodies made beforehand", Bound::AtLeast(0.95), summary.ratio_premade);
            figure("processor time ÷ the twin's", Bound::AtMost(1.4), summary.ratio_cpu);
        }
        if summary.mode == Mode::Sync && summary.senders == 1 {
            figure("one caller's p50 ÷ a raw insert and commit", Bound::AtMost(1.2), summary.ratio_p50);
        }
        if summary.level == Level::Extreme && summary.mode == Mode::Async {
            let mib = |bytes: i64| bytes as f64 / MIB;
            let left = summary.leaked;
            let left = (left.tasks.abs() + left.threads.abs() + left.descriptors.abs()) as f64;
            for (what, bound, is) in [
                ("peak memory, MiB", 16.0, mib(summary.memory_peak_delta_bytes)),
                ("memory held after close, MiB", 1.0, mib(summary.memory_retained_bytes)),
                ("tasks, threads and descriptors left", 0.0, left),
            ] {
                targets.push(Target::new(format!("{name}: {what}"), Bound::AtMost(bound), is, None));
            }
        }
    }
    targets.extend(flood_against_surge(summaries));
    targets
}

/// A million must not cost more for each envelope than a hundred thousand.
fn flood_against_surge(summaries: &[Summary]) -> Option<Target> {
    let speed = |level| {
        let found = summaries.iter().find(|it| it.level == level && it.mode == Mode::Async)?;
        Some(found.acked_per_s?.median)
    };
    let cost = speed(Level::Surge)? / speed(Level::Flood)?;
    Some(Target::new("async: flood's time for an envelope ÷ surge's".into(), Bound::AtMost(1.15), cost, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::summarize;
    use crate::report::sample;

    #[test]
    fn bounds_may_be_reached() {
        for (bound, measured, met) in [
            (Bound::AtLeast(1.0), 1.0, true),
            (Bound::AtLeast(1.0), 0.999, false),
            (Bound::AtMost(1.2), 1.2, true),
            (Bound::AtMost(1.2), 1.21, false),
        ] {
            assert_eq!(Target::new(String::new(), bound, measured, None).met, met);
        }
    }

    #[test]
    fn only_levels_that_targets_are_stated_for_are_judged() {
        let mut run = sample::run(1);
        assert!(judge(&summarize(&[run.clone()])).is_empty());
        run.level = Level::Surge;
        let mut flood = run.clone();
        flood.level = Level::Flood;
        flood.acked_per_s = Some(run.acked_per_s.expect("a speed") / 2.0);
        let targets = judge(&summarize(&[run, flood]));
        assert_eq!(targets.len(), 7);
        let last = targets.last().expect("some");
        assert!(!last.met && (last.measured - 2.0).abs() < 1e-9, "{last:?}");
    }
}
