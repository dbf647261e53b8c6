//! The runs of a page, by what has a look of its own: a bus, or each strategy of one.

use super::figure::{Key, Sign};
use super::plot::{Bar, Group};
use crate::compare::Figure;
use crate::result::RunResult;
use crate::workload::{Level, Mode};

/// Runs with the series they belong to, in the order of their first runs.
pub(super) struct Series<'r> {
    runs: Vec<&'r RunResult>,
    series: Vec<(Identity<'r>, String)>,
}

/// What tells one series from another: the bus, and its strategy.
type Identity<'r> = (&'r str, String);

fn identity(run: &RunResult) -> Identity<'_> {
    (&run.bus, run.strategy.to_string())
}

impl<'r> Series<'r> {
    /// All of these runs. A series is named after its bus, and after its strategy too where a bus has several.
    pub(super) fn by_bus(runs: impl IntoIterator<Item = &'r RunResult>) -> Self {
        let mut all = Self::of(runs, |_| String::new());
        let buses: Vec<&str> = all.series.iter().map(|((bus, _), _)| *bus).collect();
        for ((bus, strategy), label) in &mut all.series {
            let several = buses.iter().filter(|other| *other == bus).count() > 1;
            *label = if several { format!("{bus} {strategy}") } else { (*bus).to_string() };
        }
        all
    }

    /// All of these runs, with a name for each series made from its first run.
    pub(super) fn of(runs: impl IntoIterator<Item = &'r RunResult>, label: impl Fn(&RunResult) -> String) -> Self {
        let runs: Vec<&RunResult> = runs.into_iter().collect();
        let mut series: Vec<(Identity<'_>, String)> = Vec::new();
        for run in &runs {
            if !series.iter().any(|(known, _)| *known == identity(run)) {
                series.push((identity(run), label(run)));
            }
        }
        Self { runs, series }
    }

    /// Number of series.
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// The name of a series.
    pub(super) fn label(&self, series: usize) -> &str {
        &self.series[series].1
    }

    /// What the looks stand for, of bars or of curves.
    pub(super) fn keys(&self, sign: fn(usize) -> Sign) -> Vec<Key> {
        let key =
            |(series, (_, label)): (usize, &(Identity<'_>, String))| Key { label: label.clone(), sign: sign(series) };
        self.series.iter().enumerate().map(key).collect()
    }

    /// The runs of one series under one load.
    pub(super) fn runs(&self, series: usize, load: (Level, Mode)) -> impl Iterator<Item = &'r RunResult> {
        let wanted = &self.series[series].0;
        self.runs.iter().copied().filter(move |run| (run.level, run.mode) == load && identity(run) == *wanted)
    }

    /// Whether several series have runs under this load.
    pub(super) fn is_shared(&self, load: (Level, Mode)) -> bool {
        (0..self.len()).filter(|series| self.runs(*series, load).next().is_some()).count() > 1
    }

    /// A group of bars for each level that has a value, a bar for each series: the median with the range of the runs.
    pub(super) fn groups(&self, mode: Mode, of: impl Fn(&RunResult) -> Option<f64>) -> Vec<Group> {
        let group = |level: Level| {
            let bars: Vec<Bar> = (0..self.len()).filter_map(|series| self.bar(series, (level, mode), &of)).collect();
            (!bars.is_empty()).then(|| Group { label: level.to_string(), bars })
        };
        Level::ALL.into_iter().filter_map(group).collect()
    }

    fn bar(&self, series: usize, load: (Level, Mode), of: impl Fn(&RunResult) -> Option<f64>) -> Option<Bar> {
        let values: Vec<f64> = self.runs(series, load).filter_map(of).collect();
        Some(Bar {
            series,
            name: self.label(series).to_string(),
            value: Figure::of(values.iter().copied())?.median,
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_series_is_a_bus_and_of_several_strategies_each_is_one() {
        let mut runs = sample::duel(&[2.0, 3.0]);
        let names = |runs: &[RunResult]| {
            let series = Series::by_bus(runs);
            (0..series.len()).map(|at| series.label(at).to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(&runs), ["sqlite", "nats"]);
        runs[3].strategy = "pipelined".parse().expect("a strategy");
        assert_eq!(names(&runs), ["sqlite", "nats fast", "nats pipelined"]);
    }

    #[test]
    fn a_bar_is_the_median_with_the_range_of_the_runs() {
        let runs = sample::duel(&[2.0, 4.0, 3.0]);
        let groups = Series::by_bus(&runs).groups(Mode::Async, |run| run.acked_per_s);
        assert_eq!(groups.len(), 1, "one level was run");
        let bar = &groups[0].bars[1];
        assert_eq!((bar.series, bar.value, bar.low, bar.high), (1, 600_000.0, 400_000.0, 800_000.0));
        assert!(Series::by_bus(&runs).groups(Mode::Sync, |run| run.acked_per_s).is_empty());
    }
}
