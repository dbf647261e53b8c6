use super::courses::{Course, Ending, Handed};
use super::index::{Run, nanos};
use super::movements::{CommitEnd, Share, ShiftKind};
use crate::entry::Action;

/// A record that came to a group again.
#[derive(Debug)]
pub(crate) struct Redelivery<'r, 'a> {
    pub(crate) course: &'r Course<'a>,
    pub(crate) before: &'r Handed<'a>,
    pub(crate) again: &'r Handed<'a>,
    /// What permits it; `None` if nothing does.
    pub(crate) cause: Option<Cause>,
}

/// What permits a record to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Cause {
    Retry,
    Death,
    Close,
    LostCommit,
    Reassignment,
    FailOver,
    Seek,
    Replay,
}

impl Cause {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Death => "death",
            Self::Close => "close",
            Self::LostCommit => "lost commit",
            Self::Reassignment => "reassignment",
            Self::FailOver => "fail-over",
            Self::Seek => "seek",
            Self::Replay => "replay",
        }
    }
}

/// All hand-overs after the first, each with its cause.
pub(crate) fn redeliveries<'r, 'a>(run: &'r Run<'a>) -> impl Iterator<Item = Redelivery<'r, 'a>> {
    run.courses.all().iter().flat_map(move |course| {
        course.handed.windows(2).map(move |pair| {
            let (before, again) = (&pair[0], &pair[1]);
            Redelivery { course, before, again, cause: cause(run, course, before, again) }
        })
    })
}

fn cause(run: &Run<'_>, course: &Course<'_>, before: &Handed<'_>, again: &Handed<'_>) -> Option<Cause> {
    let share = run.movements.of(course.group, course.position.partition);
    let (from, to) = (before.at, again.at);
    if course.done(Action::Replay).any(|settled| (from..=to).contains(&settled.at)) {
        return Some(Cause::Replay);
    }
    if share.sought_between(from, to) {
        return Some(Cause::Seek);
    }
    // Progress that is certain ends all other excuses. A fence sees to it that no late commit of an old owner counts.
    let known = to.saturating_sub(nanos(run.plan.report_lag));
    if share.committed_before(known).is_some_and(|committed| committed > course.position.offset) {
        return None;
    }
    if is_retry(course, before, again) {
        return Some(Cause::Retry);
    }
    if run.processes.died(before.process).is_some_and(|died| (from..=to).contains(&died)) {
        return Some(Cause::Death);
    }
    let member = before.delivered.delivery.member.as_str();
    let closings = run.processes.closings(before.process);
    if closings.iter().any(|close| close.covers(member) && (from..=to).contains(&close.begun)) {
        return Some(Cause::Close);
    }
    if lost_hold(share, before, to) {
        return Some(Cause::Reassignment);
    }
    if lost_commit(share, from, to) {
        return Some(Cause::LostCommit);
    }
    run.faults.broker_failed(from, to).then_some(Cause::FailOver)
}

fn is_retry(course: &Course<'_>, before: &Handed<'_>, again: &Handed<'_>) -> bool {
    let failed = course.runs.iter().any(|run| {
        run.process == before.process
            && matches!(run.end, Some((at, Ending::Failed)) if (before.at..=again.at).contains(&at))
    });
    failed && before.process == again.process
}

/// The partition was taken from the member, or given away, or given to it anew.
fn lost_hold(share: &Share<'_>, before: &Handed<'_>, to: u64) -> bool {
    let member = before.delivered.delivery.member.as_str();
    let from = share.shifts.partition_point(|shift| shift.at < before.at);
    share.shifts[from..].iter().take_while(|shift| shift.at <= to).any(|shift| {
        let mine = shift.process == before.process && shift.member == member;
        mine || shift.kind == ShiftKind::Assigned
    })
}

/// A commit whose end is unknown was under way.
fn lost_commit(share: &Share<'_>, from: u64, to: u64) -> bool {
    let until = share.commits.partition_point(|call| call.invoked <= to);
    share.commits[..until]
        .iter()
        .rev()
        .take_while(|call| call.invoked >= from)
        .any(|call| !matches!(call.end, Some((_, CommitEnd::Ok | CommitEnd::Refused))))
}
