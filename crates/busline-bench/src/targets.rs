//! Figures that were promised, and whether this benchmark met them.
//!
//! Source: docs/decisions, "Measuring": speeds hold for surge and flood; smaller levels report only.

use serde::{Deserialize, Serialize};

use crate::compare::{Summary, buses};
use crate::strategy::Strategy;
use crate::workload::{Level, Mode};

/// One promised figure, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    pub verdict: Verdict,
}

/// Whether a bound holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It does.
    Met,
    /// It does not.
    Missed,
    /// These runs cannot say: too few, or other processes kept the processors busy. A bus of two threads then gets more
    /// of the processors than a twin of one, so the ratio would flatter.
    Undecided,
}

/// A bound of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

impl Target {
    pub(crate) fn new(what: String, bound: Bound, measured: f64, spread_percent: Option<f64>) -> Self {
        let holds = match bound {
            Bound::AtLeast(bound) => measured >= bound,
            Bound::AtMost(bound) => measured <= bound,
        };
        let verdict = if holds { Verdict::Met } else { Verdict::Missed };
        Self { what, bound, measured, spread_percent, verdict }
    }

    /// The same, undecided unless the runs it comes from are enough and had the processors to themselves.
    pub(crate) fn of_runs(self, runs: usize, others_cpu_percent: f64) -> Self {
        let decided = runs >= RUNS_MIN && others_cpu_percent <= OTHERS_MAX_PERCENT;
        if decided { self } else { Self { verdict: Verdict::Undecided, ..self } }
    }
}

/// Runs below which a median is one of few.
pub(crate) const RUNS_MIN: usize = 5;

/// Share of all processors that others may use before speeds are in doubt. Unit: percent.
pub(crate) const OTHERS_MAX_PERCENT: f64 = 10.0;

const MIB: f64 = (1 << 20) as f64;

/// The targets that these runs measured.
pub(crate) fn judge(summaries: &[Summary]) -> Vec<Target> {
    let buses = buses(summaries);
    let mut targets = Vec::new();
    // The ways of before are there to be worse.
    for summary in summaries.iter().filter(|it| it.strategy == Strategy::Fast) {
        let bus = if buses.len() > 1 { format!("{} ", summary.bus) } else { String::new() };
        let name = format!("{bus}{} {}", summary.level, summary.mode);
        let mut figure = |what: &str, bound, figure: Option<crate::compare::Figure>| {
            let target = |it: crate::compare::Figure| {
                Target::new(format!("{name}: {what}"), bound, it.median, Some(it.spread_percent))
                    .of_runs(summary.runs, summary.others_cpu_percent)
            };
            targets.extend(figure.map(target));
        };
        // Speeds are promised of the embedded bus; twins of others report only.
        let embedded = summary.bus.starts_with("sqlite");
        if embedded && summary.level >= Level::Surge && summary.mode == Mode::Async {
            figure("acked/s ÷ the twin that encodes", Bound::AtLeast(1.0), summary.ratio_acked);
            figure("acked/s ÷ the twin with bodies made beforehand", Bound::AtLeast(0.95), summary.ratio_premade);
            figure("processor time ÷ the twin's", Bound::AtMost(1.4), summary.ratio_cpu);
        }
        if embedded && summary.level >= Level::Surge && summary.mode == Mode::Async && summary.topics == 1 {
            figure("consumed/s ÷ the twin that reads and decodes", Bound::AtLeast(0.9), summary.ratio_consumed);
            figure("processor time of consuming ÷ the twin's", Bound::AtMost(2.0), summary.ratio_consume_cpu);
        }
        if embedded && summary.mode.waits_for_each() && summary.senders == 1 {
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
    for bus in &buses {
        targets.extend(flood_against_surge(summaries, bus, buses.len() > 1));
    }
    targets
}

/// A million must not cost more for each envelope than a hundred thousand.
fn flood_against_surge(summaries: &[Summary], bus: &str, of_several: bool) -> Option<Target> {
    let of = |level| summaries.iter().find(|it| it.bus == bus && it.level == level && it.mode == Mode::Async);
    let (surge, flood) = (of(Level::Surge)?, of(Level::Flood)?);
    let cost = surge.acked_per_s?.median / flood.acked_per_s?.median;
    let bus = if of_several { format!("{bus} ") } else { String::new() };
    let what = format!("{bus}async: flood's time for an envelope ÷ surge's");
    let target = Target::new(what, Bound::AtMost(1.15), cost, None);
    let others = surge.others_cpu_percent.max(flood.others_cpu_percent);
    Some(target.of_runs(surge.runs.min(flood.runs), others))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::summarize;
    use crate::report::sample;

    #[test]
    fn bounds_may_be_reached() {
        for (bound, measured, verdict) in [
            (Bound::AtLeast(1.0), 1.0, Verdict::Met),
            (Bound::AtLeast(1.0), 0.999, Verdict::Missed),
            (Bound::AtMost(1.2), 1.2, Verdict::Met),
            (Bound::AtMost(1.2), 1.21, Verdict::Missed),
        ] {
            assert_eq!(Target::new(String::new(), bound, measured, None).verdict, verdict);
        }
    }

    #[test]
    fn few_runs_and_a_busy_machine_decide_nothing() {
        let target = || Target::new(String::new(), Bound::AtLeast(1.0), 2.0, None);
        for (runs, others, verdict) in
            [(5, 10.0, Verdict::Met), (4, 0.0, Verdict::Undecided), (5, 10.1, Verdict::Undecided)]
        {
            assert_eq!(target().of_runs(runs, others).verdict, verdict, "{runs} runs, {others} %");
        }
    }

    #[test]
    fn only_levels_that_targets_are_stated_for_are_judged() {
        let mut runs: Vec<_> = (1..=5).map(sample::run).collect();
        assert!(judge(&summarize(&runs)).is_empty());
        runs.iter_mut().for_each(|run| run.level = Level::Surge);
        for mut flood in runs.clone() {
            flood.level = Level::Flood;
            flood.acked_per_s = flood.acked_per_s.map(|speed| speed / 2.0);
            runs.push(flood);
        }
        let targets = judge(&summarize(&runs));
        assert_eq!(targets.len(), 7);
        let last = targets.last().expect("some");
        assert!(last.verdict == Verdict::Missed && (last.measured - 2.0).abs() < 1e-9, "{last:?}");
    }
}
