use std::collections::HashMap;

use crate::entry::{Assign, Assignment, Commit, Entry, Op, Process, Progress, Revoke, Seek};
use crate::history::History;
use crate::position::Partition;

/// What moved the groups: commits, assignments and seeks.
#[derive(Debug, Default)]
pub(crate) struct Movements<'a> {
    shares: Vec<Share<'a>>,
    at: HashMap<(&'a str, Partition<'a>), usize>,
}

/// One group in one partition; each list is in order of time.
#[derive(Debug, Default)]
pub(crate) struct Share<'a> {
    pub(crate) commits: Vec<CommitCall<'a>>,
    pub(crate) shifts: Vec<Shift<'a>>,
    /// When, and to which offset.
    pub(crate) seeks: Vec<(u64, u64)>,
}

/// One commit.
#[derive(Debug)]
pub(crate) struct CommitCall<'a> {
    pub(crate) invoked: u64,
    pub(crate) process: Process,
    pub(crate) progress: &'a Progress,
    pub(crate) end: Option<(u64, CommitEnd)>,
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitEnd {
    Ok,
    Refused,
    Unknown,
}

/// A partition was given or taken.
#[derive(Debug)]
pub(crate) struct Shift<'a> {
    pub(crate) at: u64,
    pub(crate) process: Process,
    pub(crate) member: &'a str,
    pub(crate) generation: u64,
    pub(crate) kind: ShiftKind,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShiftKind {
    Assigned,
    Revoked,
}

static NOTHING: Share<'static> = Share { commits: Vec::new(), shifts: Vec::new(), seeks: Vec::new() };

impl<'a> Movements<'a> {
    pub(crate) fn gather(history: &'a History) -> Self {
        let mut movements = Self::default();
        for entry in history.entries() {
            match &entry.op {
                Op::Commit(commit) => movements.commit(entry, commit),
                Op::Assign(Assign::Ok(assignment)) => movements.shift(entry, assignment, ShiftKind::Assigned),
                Op::Revoke(Revoke::Ok(assignment)) => movements.shift(entry, assignment, ShiftKind::Revoked),
                Op::Seek(Seek::Ok(to)) => {
                    let partition = Partition { topic: &to.topic, number: to.partition };
                    movements.share(&to.group, partition).seeks.push((entry.mono_ns, to.offset));
                }
                _ => {}
            }
        }
        movements
    }

    pub(crate) fn of(&self, group: &str, partition: Partition<'_>) -> &Share<'a> {
        self.at.get(&(group, partition)).map_or(&NOTHING, |at| &self.shares[*at])
    }

    /// Every group and partition with its movements, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'a str, Partition<'a>, &Share<'a>)> {
        self.at.iter().map(|((group, partition), at)| (*group, *partition, &self.shares[*at]))
    }

    fn share(&mut self, group: &'a str, partition: Partition<'a>) -> &mut Share<'a> {
        let at = *self.at.entry((group, partition)).or_insert_with(|| {
            self.shares.push(Share::default());
            self.shares.len() - 1
        });
        &mut self.shares[at]
    }

    fn commit(&mut self, entry: &Entry, commit: &'a Commit) {
        let (progress, end) = match commit {
            Commit::Invoke(progress) => (progress, None),
            Commit::Ok(progress) => (progress, Some(CommitEnd::Ok)),
            Commit::Fail(progress) => (progress, Some(CommitEnd::Refused)),
            Commit::Info(progress) => (progress, Some(CommitEnd::Unknown)),
        };
        let (at, process) = (entry.mono_ns, entry.process());
        let partition = Partition { topic: &progress.topic, number: progress.partition };
        let commits = &mut self.share(&progress.group, partition).commits;
        // One commit of a member and partition is in flight, so its open one is among the last few.
        let open = commits
            .iter_mut()
            .rev()
            .take(OPEN_COMMITS_MAX)
            .find(|call| call.end.is_none() && call.process == process && call.progress == progress);
        match (end, open) {
            (Some(end), Some(call)) => call.end = Some((at, end)),
            // An end without its beginning is a commit that was only observed.
            (end, _) => {
                commits.push(CommitCall { invoked: at, process, progress, end: end.map(|end| (at, end)) });
            }
        }
    }

    fn shift(&mut self, entry: &Entry, assignment: &'a Assignment, kind: ShiftKind) {
        for number in &assignment.partitions {
            let partition = Partition { topic: &assignment.topic, number: *number };
            self.share(&assignment.group, partition).shifts.push(Shift {
                at: entry.mono_ns,
                process: entry.process(),
                member: &assignment.member,
                generation: assignment.generation,
                kind,
            });
        }
    }
}

/// Members of one group whose commits of one partition may be open at once, dead ones included.
const OPEN_COMMITS_MAX: usize = 64;

impl Share<'_> {
    /// Highest offset whose commit was reported before `at`.
    pub(crate) fn committed_before(&self, at: u64) -> Option<u64> {
        let ok = |call: &CommitCall<'_>| matches!(call.end, Some((ended, CommitEnd::Ok)) if ended < at);
        let began_before = self.commits.partition_point(|call| call.invoked < at);
        self.commits[..began_before].iter().rev().find(|call| ok(call)).map(|call| call.progress.offset)
    }

    /// When a seek first passed over an offset, if one did.
    pub(crate) fn sought_past(&self, offset: u64) -> Option<u64> {
        self.seeks.iter().find(|(_, to)| *to > offset).map(|(at, _)| *at)
    }

    /// Whether the group was moved between the two times.
    pub(crate) fn sought_between(&self, from: u64, to: u64) -> bool {
        self.seeks.iter().any(|(at, _)| (from..=to).contains(at))
    }

    /// Number of changes of a member's hold on the partition before `at`: what it does between two changes belongs to
    /// one tenure.
    pub(crate) fn tenure(&self, process: Process, member: &str, at: u64) -> usize {
        let until = self.shifts.partition_point(|shift| shift.at < at);
        let mine = self.shifts[..until].iter().filter(|shift| shift.process == process && shift.member == member);
        mine.count() + self.seeks.iter().filter(|(sought, _)| *sought < at).count()
    }

    /// Generation in which a member holds the partition at `at`; `None` if no assignment was recorded.
    pub(crate) fn generation(&self, process: Process, member: &str, at: u64) -> Option<u64> {
        let until = self.shifts.partition_point(|shift| shift.at <= at);
        let last = self.shifts[..until].iter().rev().find(|shift| shift.process == process && shift.member == member);
        last.map(|shift| shift.generation)
    }
}
