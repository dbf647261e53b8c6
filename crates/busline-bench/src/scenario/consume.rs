//! A store read again and again by a fresh group each time, beside the twin on the same file.

use anyhow::{Context, Result, ensure};

use super::outcome::{Outcome, ScenarioRequest};
use super::stage::Filled;
use super::steps::Steps;
use crate::consuming::{concurrency_of, drain};
use crate::place::Place;
use crate::targets::{Bound, Target};

const ENVELOPES: u64 = 300_000;
const KEYS: usize = 1_000;

pub(super) fn measure(place: &Place, request: &ScenarioRequest, steps: &mut Steps<'_>) -> Result<Outcome> {
    let filled = Filled::new(place, ENVELOPES, KEYS, request.payload_bytes)?;
    let file = filled.stage.file().context("a store without a file")?;
    let (mut runs, mut outcome) = (Vec::new(), Outcome::default());
    for run in 0..=request.runs {
        if !steps.next() {
            break;
        }
        let twin_first = run % 2 == 0;
        let early = twin_first.then(|| crate::twin::read_file(&file, &filled.stage.topics)).transpose()?;
        let group = format!("bench-{run}");
        let drained = filled.runtime.block_on(drain(&filled.bus, &filled.stage.topics, &group, &filled.workload, 0))?;
        let twin = match early {
            Some(twin) => twin,
            None => crate::twin::read_file(&file, &filled.stage.topics)?,
        };
        ensure!(twin.records == ENVELOPES, "the twin found {} records", twin.records);
        if !drained.is_perfect(&filled.workload, 0) {
            outcome.wrong.push(format!("run {run}: {:?}, {} handled", drained.arrived, drained.handled));
        }
        // The first one warms up.
        if run > 0 {
            runs.push((drained, twin));
        }
    }
    filled.end()?;
    outcome.settings = format!(
        "{ENVELOPES} envelopes of {} B and {KEYS} keys, 1 topic of 4 partitions, concurrency {}, in flight 1,024",
        request.payload_bytes,
        concurrency_of(1)
    );
    let envelopes = ENVELOPES as f64;
    outcome.measure("consumed/s", runs.iter().map(|(own, _)| envelopes / own.consumed_in.as_secs_f64()));
    outcome.measure("the twin's", runs.iter().map(|(_, twin)| envelopes / twin.read_in.as_secs_f64()));
    let ratio = |(own, twin): &(crate::consuming::Consumed, crate::twin::TwinRead)| {
        twin.read_in.as_secs_f64() / own.consumed_in.as_secs_f64()
    };
    let ratio = outcome.measure("consumed/s ÷ the twin's", runs.iter().map(ratio));
    outcome.measure("processor time, µs", runs.iter().map(|(own, _)| own.cpu.as_secs_f64() * 1e6 / envelopes));
    outcome.measure("the twin's, µs", runs.iter().map(|(_, twin)| twin.cpu.as_secs_f64() * 1e6 / envelopes));
    let cost = runs.iter().map(|(own, twin)| own.cpu.as_secs_f64() / twin.cpu.as_secs_f64());
    let cost = outcome.measure("processor time ÷ the twin's", cost);
    outcome.measure("joining, ms", runs.iter().map(|(own, _)| own.joined_in.as_secs_f64() * 1e3));
    for (what, bound, figure) in [
        ("consumed/s ÷ the twin's", Bound::AtLeast(0.9), ratio),
        ("processor time ÷ the twin's", Bound::AtMost(2.0), cost),
    ] {
        let target = |it: crate::compare::Figure| Target::new(what.into(), bound, it.median, Some(it.spread_percent));
        outcome.targets.extend(figure.map(target));
    }
    Ok(outcome)
}
