//! What a reader of the figures should know, in sentences with the next step.

use crate::compare::Summary;
use crate::measure::Machine;
use crate::result::RunResult;
use crate::targets::{OTHERS_MAX_PERCENT, RUNS_MIN};
use crate::workload::Level;

/// Spread above which a median says little. Unit: percent.
const SPREAD_MAX: f64 = 25.0;

/// All warnings about these figures. `others` is the share of all processors that other processes used meanwhile.
pub(crate) fn of(machine: &Machine, summaries: &[Summary], others: f64) -> Vec<String> {
    let mut warnings = Vec::new();
    if machine.debug_build {
        warnings.push("This is a debug build: build with --release before you believe a speed.".into());
    }
    if machine.is_in_memory() {
        warnings.push(format!(
            "The file lies on {}, where a sync costs nothing: set TMPDIR to a folder on a disk.",
            machine.file_system
        ));
    }
    if others * 100.0 > OTHERS_MAX_PERCENT {
        warnings.push(format!(
            "Other processes used {:.0} % of the processors meanwhile, which flatters every ratio to a twin of one \
             thread: end them and measure again.",
            others * 100.0
        ));
    }
    if summaries.iter().any(|summary| summary.runs < RUNS_MIN) {
        warnings.push(format!("Medians of fewer than {RUNS_MIN} runs: use --runs {RUNS_MIN} or more for a claim."));
    }
    let wide: Vec<String> = summaries.iter().filter_map(wide_spread).collect();
    if !wide.is_empty() {
        warnings.push(format!(
            "Ratios spread by more than ± {SPREAD_MAX} % at {}: use more runs, or a quieter machine.",
            wide.join(", ")
        ));
    }
    if summaries
        .iter()
        .any(|summary| summary.mode.waits_for_each() && summary.senders > 1 && summary.ratio_p50.is_some())
    {
        warnings.push(
            "Many senders share commits in mode sync, and the twin commits each envelope by itself: compare a single \
             call's latency with --senders 1."
                .into(),
        );
    }
    warnings
}

/// A standstill that a reader of the figures should know of. Unit: seconds.
pub(crate) const STANDSTILL_MAX: f64 = 1.0;

/// What a standstill may have done.
pub(crate) const STANDSTILL: &str = "what was late, and what came again because its reader was taken for dead, may be of \
                                     that. Measure where nothing stops or starves it.";

/// A warning of the longest time that a run stood still, if that was long.
pub(crate) fn of_standstills(results: &[RunResult]) -> Option<String> {
    let longest = results.iter().max_by(|one, other| one.stalled_s.total_cmp(&other.stalled_s))?;
    let RunResult { bus, level, mode, run, stalled_s, .. } = longest;
    (*stalled_s > STANDSTILL_MAX)
        .then(|| format!("{bus} {level} {mode} run {run}: this process stood still for {stalled_s:.1} s; {STANDSTILL}"))
}

/// A warning if the acks of the buses attest different things.
pub(crate) fn of_durability(results: &[RunResult]) -> Option<String> {
    let mut attested: Vec<(&str, &str)> = Vec::new();
    for result in results {
        let pair = (result.bus.as_str(), result.durability.as_str());
        if !attested.contains(&pair) {
            attested.push(pair);
        }
    }
    let differ = attested.iter().any(|(_, durability)| *durability != attested[0].1);
    let named: Vec<String> = attested.iter().map(|(bus, durability)| format!("{bus} {durability}")).collect();
    differ.then(|| {
        format!(
            "Acks attest different durability ({}): the weaker one is faster for that reason too. Compare buses that \
             attest the same before you choose by speed.",
            named.join(", ")
        )
    })
}

/// Bursts of some milliseconds spread for reasons of their own; targets are stated for longer ones.
fn wide_spread(summary: &Summary) -> Option<String> {
    let spread = summary.ratio_acked?.spread_percent;
    let wide = spread > SPREAD_MAX && summary.level >= Level::Surge;
    wide.then(|| format!("{} {} {} (± {spread:.0} %)", summary.bus, summary.level, summary.mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::summarize;
    use crate::report::sample;

    #[test]
    fn a_quiet_machine_and_enough_runs_give_no_warning() {
        let summaries = summarize(&(1..=5).map(sample::run).collect::<Vec<_>>());
        assert_eq!(of(&sample::machine(), &summaries, 0.02), Vec::<String>::new());
    }

    #[test]
    fn each_doubt_is_named_with_a_next_step() {
        let summaries = summarize(&[sample::run(1)]);
        let machine = Machine { debug_build: true, file_system: "tmpfs".into(), ..sample::machine() };
        let found = of(&machine, &summaries, 0.5);
        assert_eq!(found.len(), 4, "{found:?}");
        for part in ["--release", "TMPDIR", "50 %", "--runs 5"] {
            assert!(found.iter().any(|warning| warning.contains(part)), "{part} in {found:?}");
        }
    }

    #[test]
    fn the_longest_standstill_is_told() {
        let run = |number, stalled_s| RunResult { stalled_s, ..sample::run(number) };
        assert_eq!(of_standstills(&[run(1, 0.3)]), None);
        let found = of_standstills(&[run(1, 1.5), run(2, 12.0), run(3, 0.1)]).expect("a warning");
        assert!(
            found.starts_with("sqlite low async run 2: this process stood still for 12.0 s; what was late"),
            "{found}"
        );
    }

    #[test]
    fn different_durability_is_named_bus_by_bus_and_the_same_is_not() {
        let bus = |bus: &str, durability: &str| RunResult {
            bus: bus.into(),
            durability: durability.into(),
            ..sample::run(1)
        };
        let alike = [bus("sqlite", "written × 1"), bus("nats", "written × 1")];
        assert_eq!(of_durability(&alike), None);
        let found = of_durability(&[bus("sqlite", "synced × 1"), bus("nats", "written × 1")]).expect("a warning");
        assert!(found.contains("sqlite synced × 1, nats written × 1"), "{found}");
    }
}
