//! Whether anything grew past its bound.

use std::collections::HashMap;

use crate::entry::{Op, Sample};
use crate::run::Run;
use crate::violation::{Anomaly, Violation};

/// A24: a gauge or an attempt above the bound that the plan gives. A gauge is told once, at its highest.
pub(crate) fn growth(run: &Run<'_>) -> Vec<Violation> {
    let gauges = gauges_over(run);
    gauges
        .into_iter()
        .chain(attempts_over(run))
        .map(|facts| Violation::fatal(Anomaly::UnboundedGrowth, facts))
        .collect()
}

fn gauges_over(run: &Run<'_>) -> Vec<String> {
    let mut highest: HashMap<&str, (u64, u64)> = HashMap::new();
    for entry in run.history.entries() {
        if let Op::Sample(Sample::Ok(sampled)) = &entry.op {
            let seen = highest.entry(&sampled.gauge).or_insert((sampled.value, entry.mono_ns));
            *seen = (*seen).max((sampled.value, entry.mono_ns));
        }
    }
    let over = run.plan.gauge_bounds.iter().filter_map(|(gauge, bound)| {
        let (value, at) = highest.get(gauge.as_str()).filter(|(value, _)| value > bound)?;
        Some(format!("{gauge} was {value} at {}; its bound is {bound}", run.moment(*at)))
    });
    over.collect()
}

fn attempts_over<'r>(run: &'r Run<'_>) -> impl Iterator<Item = String> + 'r {
    let runs = run.courses.all().iter().flat_map(|course| course.runs.iter().map(move |running| (course, running)));
    runs.filter_map(|(course, running)| {
        let (attempt, bound) = (running.delivery.attempt, run.plan.attempts_max?);
        let facts = || {
            let at = run.moment(running.started);
            format!("attempt {attempt} of {} in group {} at {at}; the bound is {bound}", course.name(), course.group)
        };
        (attempt > bound).then(facts)
    })
}
