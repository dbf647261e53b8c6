//! What is there, or comes, more often than it may.

use crate::entry::Process;
use crate::plan::{Deduplication, Effects};
use crate::run::{Run, State, nanos, redeliveries};
use crate::violation::{Anomaly, Violation};

/// A6: more records of an id than its publishes explain. Those that the application made itself are counted.
pub(crate) fn log_duplicates(run: &Run<'_>) -> Vec<Violation> {
    let repeated = run.stored.ids().filter(|(id, rows)| rows.len() > 1 && run.publishes.is_attempted(id));
    let duplicates = repeated.map(|(id, rows)| {
        let allowed = records_allowed(run, id);
        let places: Vec<String> = rows.iter().map(|row| row.position().to_string()).collect();
        let facts = format!("{id} is stored at {}; its publishes allow {allowed}", places.join(", "));
        if rows.len() > allowed {
            Violation::fatal(Anomaly::LogDuplicate, facts)
        } else {
            Violation::counted(Anomaly::LogDuplicate, facts)
        }
    });
    duplicates.collect()
}

/// Records that the publishes of an id may have made. A resend is no publish: it makes none of its own.
fn records_allowed(run: &Run<'_>, id: &str) -> usize {
    let calls = run.publishes.of(id).filter(|call| call.state(&run.processes) != State::Failed);
    let mut times: Vec<u64> = calls.map(|call| call.invoked).collect();
    times.sort_unstable();
    match run.plan.deduplication {
        Deduplication::None => times.len(),
        Deduplication::Within(window) => {
            let apart = times.windows(2).filter(|pair| pair[1] - pair[0] > nanos(window));
            usize::from(!times.is_empty()) + apart.count()
        }
    }
}

/// A7: handed over again without a permitted cause.
pub(crate) fn excess_deliveries(run: &Run<'_>) -> Vec<Violation> {
    let excess = redeliveries(run).filter(|again| again.cause.is_none()).map(|redelivery| {
        let (before, again) = (redelivery.before, redelivery.again);
        let facts = format!(
            "group {} got {} at {} from {} and again at {} from {}, and nothing between permits it",
            redelivery.course.group,
            redelivery.course.name(),
            run.moment(before.at),
            member(before.process, &before.delivered.delivery.member),
            run.moment(again.at),
            member(again.process, &again.delivered.delivery.member),
        );
        Violation::fatal(Anomaly::ExcessDelivery, facts)
    });
    excess.collect()
}

/// A8: handled twice where effects are promised once.
pub(crate) fn double_effects(run: &Run<'_>) -> Vec<Violation> {
    if run.plan.effects == Effects::AtLeastOnce {
        return Vec::new();
    }
    // An effect belongs to the id: a second record of it must not act again either.
    let mut handled = std::collections::HashMap::new();
    for course in run.courses.all() {
        for (at, running) in course.handled() {
            handled.entry((course.group, running.delivery.id.as_str())).or_insert_with(Vec::new).push(at);
        }
    }
    let twice = handled.into_iter().filter(|(_, times)| times.len() > 1).map(|((group, id), times)| {
        let times: Vec<String> = times.into_iter().map(|at| run.moment(at)).collect();
        Violation::fatal(Anomaly::DoubleEffect, format!("group {group} handled {id} at {}", times.join(", ")))
    });
    twice.collect()
}

fn member(process: Process, member: &str) -> String {
    format!("{member} (process {}.{})", process.pid, process.epoch)
}
