//! Every figure that two benchmarks have in common.

use serde::{Deserialize, Serialize};

use super::change::{Change, Good, Rule, Trend};
use super::earlier::{Earlier, EarlierRun, EarlierTwin};
use crate::measure::Machine;
use crate::result::{RunResult, TwinResult};
use crate::workload::{Level, Mode};

/// An earlier benchmark beside this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineReport {
    /// Change that is no regression, in 100.
    pub tolerance_percent: u32,
    /// Chance of a false alarm in the whole comparison at most, in 100.
    pub false_alarm_percent: f64,
    /// The figures that both have.
    pub changes: Vec<Change>,
    /// What stands against comparing, each with the next step.
    pub doubts: Vec<String>,
}

/// Chance of a false alarm in a whole comparison at most.
const FALSE_ALARM: f64 = 0.01;

impl BaselineReport {
    /// Figures that got worse by more than the tolerance.
    pub fn worse(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.trend == Trend::Worse)
    }
}

/// A figure that is compared: its name, which way is good, and where it stands.
type Compared = (&'static str, Good, fn(&EarlierRun) -> Option<f64>);

/// The twin of SQLite stores in transactions of the sizes that the run had: a lost batching slows both, so the sizes are
/// compared too.
const COMPARED: [Compared; 6] = [
    ("acked/s ÷ the twin's", Good::High, |run| run.twin?.ratio_acked),
    ("processor time ÷ the twin's", Good::Low, |run| run.twin?.ratio_cpu),
    ("p50 from call to ack ÷ the twin's", Good::Low, |run| run.twin?.ratio_p50),
    ("consumed/s ÷ the twin's", Good::High, |run| run.twin?.ratio_consumed),
    ("processor time of consuming ÷ the twin's", Good::Low, |run| run.twin?.ratio_consume_cpu),
    ("envelopes of one transaction", Good::High, |run| Some(run.envelopes as f64 / run.transactions? as f64)),
];

/// Compares all loads that both have.
pub(crate) fn compare(
    earlier: &Earlier,
    machine: &Machine,
    results: &[RunResult],
    tolerance_percent: u32,
) -> BaselineReport {
    let now: Vec<EarlierRun> = results.iter().filter(|run| run.is_sound()).map(as_earlier).collect();
    let mut doubts: Vec<String> = other_machine(&earlier.machine, machine).into_iter().collect();
    let mut pairs: Vec<(String, Vec<f64>, Vec<f64>, Good)> = Vec::new();
    for load in loads(&now) {
        let [before_runs, now_runs] =
            [&earlier.results, &now].map(|runs| runs.iter().filter(|run| load_of(run) == load).collect::<Vec<_>>());
        let name = name_of(load);
        let Some(first) = before_runs.first() else {
            doubts.push(format!("{name} is not in the baseline: measure that again with this load."));
            continue;
        };
        if settings_of(first) != settings_of(now_runs[0]) {
            doubts.push(format!(
                "{name} was measured with other settings ({} before, {} now) and is not compared.",
                settings_of(first),
                settings_of(now_runs[0])
            ));
            continue;
        }
        for (what, good, of) in COMPARED {
            let [before, now] = [&before_runs, &now_runs].map(|runs| values(runs, of));
            if !before.is_empty() && !now.is_empty() {
                pairs.push((format!("{name}: {what}"), before, now, good));
            }
        }
    }
    if pairs.is_empty() {
        doubts.push("Nothing could be compared: both need runs of one load, sound, with a native twin.".into());
    }
    let rule =
        Rule { tolerance: f64::from(tolerance_percent) / 100.0, chance: FALSE_ALARM / pairs.len().max(1) as f64 };
    let judged = pairs.into_iter().filter_map(|(what, before, now, good)| Change::of(what, good, &before, &now, rule));
    BaselineReport { tolerance_percent, false_alarm_percent: FALSE_ALARM * 100.0, changes: judged.collect(), doubts }
}

fn values(runs: &[&EarlierRun], of: fn(&EarlierRun) -> Option<f64>) -> Vec<f64> {
    runs.iter().filter_map(|run| of(run)).collect()
}

/// A ratio cancels the machine's speed, but not its number of processors or its disk.
fn other_machine(before: &Machine, now: &Machine) -> Option<String> {
    let class = |it: &Machine| format!("{} × {}, {}", it.processors, it.processor, it.file_system);
    let (before, now) = (class(before), class(now));
    (before != now).then(|| {
        format!(
            "The baseline is of another class of machine ({before}; this one is {now}): ratios to the twin may differ \
             for that alone, so measure a baseline here."
        )
    })
}

type Load<'r> = (&'r str, &'r str, Level, Mode);

fn load_of(run: &EarlierRun) -> Load<'_> {
    (&run.bus, &run.strategy, run.level, run.mode)
}

fn name_of((bus, _, level, mode): Load<'_>) -> String {
    format!("{bus} {level} {mode}")
}

fn loads(runs: &[EarlierRun]) -> Vec<Load<'_>> {
    let mut loads = Vec::new();
    for load in runs.iter().map(load_of) {
        if !loads.contains(&load) {
            loads.push(load);
        }
    }
    loads
}

fn settings_of(run: &EarlierRun) -> String {
    let EarlierRun { envelopes, payload_bytes, topics, senders, window_envelopes, durability, .. } = run;
    format!(
        "{envelopes} envelopes of {payload_bytes} B, {topics} topics, {senders} senders, window {window_envelopes}, \
         {durability}"
    )
}

fn as_earlier(run: &RunResult) -> EarlierRun {
    let ratios = |twin: &TwinResult| EarlierTwin {
        ratio_acked: twin.ratio_acked,
        ratio_cpu: twin.ratio_cpu,
        ratio_p50: twin.ratio_p50,
        ratio_consumed: twin.ratio_consumed,
        ratio_consume_cpu: twin.ratio_consume_cpu,
    };
    EarlierRun {
        bus: run.bus.clone(),
        strategy: run.strategy.to_string(),
        level: run.level,
        mode: run.mode,
        envelopes: run.envelopes,
        payload_bytes: run.payload_bytes,
        topics: run.topics,
        senders: run.senders,
        window_envelopes: run.window_envelopes,
        durability: run.durability.clone(),
        transactions: run.transactions,
        twin: run.twin.as_ref().map(ratios),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::statistics::noise::Noise;

    /// Runs whose ratios are these, with this noise.
    fn runs(noise: &mut Noise, sigma: f64, slowed: f64) -> Vec<RunResult> {
        let run = |number| {
            let mut run = sample::run(number);
            let twin = run.twin.as_mut().expect("a twin");
            let mut noisy = |value: f64| Some(value * (sigma * noise.normal()).exp());
            twin.ratio_acked = noisy(1.0 / slowed);
            twin.ratio_cpu = noisy(1.2);
            twin.ratio_consumed = noisy(0.8);
            twin.ratio_consume_cpu = noisy(1.9);
            run
        };
        (1..=5).map(run).collect()
    }

    fn earlier(results: &[RunResult]) -> Earlier {
        Earlier { machine: sample::machine(), results: results.iter().map(as_earlier).collect() }
    }

    fn told(before: &[RunResult], now: &[RunResult]) -> BaselineReport {
        compare(&earlier(before), &sample::machine(), now, 10)
    }

    #[test]
    fn twenty_benchmarks_against_themselves_raise_no_alarm() {
        for sigma in [0.02, 0.1, 0.25] {
            let mut noise = Noise::new(20);
            for _ in 0..20 {
                let found = told(&runs(&mut noise, sigma, 1.0), &runs(&mut noise, sigma, 1.0));
                assert_eq!(found.worse().count(), 0, "{found:?}");
                assert_eq!(found.changes.len(), 5);
            }
        }
    }

    #[test]
    fn the_figure_that_got_worse_is_named_and_no_other() {
        let mut noise = Noise::new(1);
        let found = told(&runs(&mut noise, 0.1, 1.0), &runs(&mut noise, 0.1, 2.0));
        let worse: Vec<&str> = found.worse().map(|change| change.what.as_str()).collect();
        assert_eq!(worse, ["sqlite low async: acked/s ÷ the twin's"]);
    }

    #[test]
    fn other_machines_settings_and_loads_are_named() {
        let before = [sample::run(1)];
        let other = Machine { processors: 64, ..sample::machine() };
        let found = compare(&earlier(&before), &other, &before, 10);
        assert!(
            found.doubts[0].contains("another class of machine (2 × A Processor, ext4; this one is 64"),
            "{found:?}"
        );
        let wider = [RunResult { window_envelopes: 9, ..sample::run(1) }];
        let found = told(&before, &wider);
        assert!(found.doubts[0].contains("other settings") && found.changes.is_empty(), "{found:?}");
        assert!(found.doubts[1].starts_with("Nothing could be compared"), "{found:?}");
        let found = told(&before, &[RunResult { level: Level::High, ..sample::run(1) }]);
        assert!(found.doubts[0].starts_with("sqlite high async is not in the baseline"), "{found:?}");
    }

    #[test]
    fn runs_that_lost_something_take_no_part() {
        let mut now = vec![sample::run(1)];
        now[0].lost = 1;
        assert!(told(&[sample::run(1)], &now).changes.is_empty());
    }
}
