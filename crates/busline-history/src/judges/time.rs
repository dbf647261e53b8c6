//! Whether clocks that jump leave the bus alone.

use crate::entry::Action;
use crate::run::{Course, Ending, Run, nanos};
use crate::violation::{Anomaly, Violation};

/// A26: stored times that go back within a partition; a retry that came before its delay was over.
pub(crate) fn travels(run: &Run<'_>) -> Vec<Violation> {
    let retries = run.courses.all().iter().flat_map(|course| early_retries(run, course));
    times_back(run).into_iter().chain(retries).map(|facts| Violation::fail(Anomaly::TimeTravel, facts)).collect()
}

fn times_back(run: &Run<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (_, rows) in run.stored.partitions() {
        let mut latest: Option<u64> = None;
        for row in rows {
            let Some(time) = row.time_ns else { continue };
            if let Some(latest) = latest.filter(|latest| time < *latest) {
                let back = latest - time;
                found.push(format!("{} was stored {back} ns before a record below it", row.position()));
            }
            latest = latest.max(Some(time));
        }
    }
    found
}

/// The delay counts from the end of the failed run: the decision is written later, perhaps much later.
fn early_retries(run: &Run<'_>, course: &Course<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for pair in course.runs.windows(2) {
        let Some((failed, Ending::Failed)) = pair[0].end else { continue };
        let started = pair[1].started;
        let mut decided = course
            .settled
            .iter()
            .filter(|settled| settled.process == pair[1].process && (failed..=started).contains(&settled.at));
        let delay = decided.find_map(|settled| match settled.settlement.action {
            Action::Retry { delay } => Some(delay),
            _ => None,
        });
        let Some(delay) = delay else { continue };
        if started.saturating_add(nanos(run.plan.timer_tick)) < failed.saturating_add(nanos(delay)) {
            let (failed, started) = (run.moment(failed), run.moment(started));
            let name = course.name();
            found.push(format!("{name} failed at {failed}, was to wait {delay:?} and ran again at {started}"));
        }
    }
    found
}
