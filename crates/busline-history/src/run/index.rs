use std::time::Duration;

use super::courses::{Course, Courses};
use super::faults::Faults;
use super::movements::Movements;
use super::processes::Processes;
use super::publishes::Publishes;
use super::stored::Stored;
use crate::dump::Dump;
use crate::entry::{Life, Op, Reached};
use crate::history::History;
use crate::plan::Plan;
use crate::position::Position;

/// A run, ready to be judged: its history, the dump taken after it, and its plan.
///
/// Building it reads the history once; memory grows with the history.
#[derive(Debug)]
pub struct Run<'a> {
    pub(crate) history: &'a History,
    pub(crate) dump: &'a Dump,
    pub(crate) plan: &'a Plan,
    pub(crate) processes: Processes<'a>,
    pub(crate) publishes: Publishes<'a>,
    pub(crate) stored: Stored<'a>,
    pub(crate) courses: Courses<'a>,
    pub(crate) movements: Movements<'a>,
    pub(crate) faults: Faults<'a>,
    pub(crate) drain: Drain,
    began: u64,
}

/// The last drain of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Drain {
    pub(crate) begun: Option<u64>,
    pub(crate) ended: Option<(u64, Reached)>,
}

impl<'a> Run<'a> {
    /// Gathers what the judges look up.
    pub fn new(history: &'a History, dump: &'a Dump, plan: &'a Plan) -> Self {
        let processes = Processes::gather(history, plan);
        let courses = Courses::gather(history, plan.report_lag, &plan.killed);
        Self {
            publishes: Publishes::gather(history),
            stored: Stored::gather(dump),
            movements: Movements::gather(history),
            faults: Faults::gather(history),
            drain: Drain::gather(history),
            began: history.entries().first().map_or(0, |entry| entry.mono_ns),
            history,
            dump,
            plan,
            processes,
            courses,
        }
    }

    /// A moment in words: seconds since the run began.
    pub(crate) fn moment(&self, at: u64) -> String {
        let since = Duration::from_nanos(at.saturating_sub(self.began));
        format!("{:.3} s", since.as_secs_f64())
    }

    /// The time of the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.history.entries().last().map_or(0, |entry| entry.mono_ns)
    }

    /// When a record no longer holds back what is behind it in a group: its end, or a seek past it.
    pub(crate) fn released(&self, group: &str, position: Position<'_>) -> Option<u64> {
        let ended = self.courses.of(group, position).and_then(Course::terminal);
        let sought = self.movements.of(group, position.partition).sought_past(position.offset);
        ended.into_iter().chain(sought).min()
    }

    /// Whether the groups were seen to reach the end of their topics.
    pub(crate) fn is_drained(&self) -> bool {
        matches!(self.drain.ended, Some((_, Reached::End)))
    }
}

impl Drain {
    fn gather(history: &History) -> Self {
        let mut drain = Self::default();
        for entry in history.entries() {
            match entry.op {
                Op::Life(Life::DrainBegin) => drain = Self { begun: Some(entry.mono_ns), ended: None },
                Op::Life(Life::DrainEnd { reached }) => drain.ended = Some((entry.mono_ns, reached)),
                _ => {}
            }
        }
        drain
    }
}

/// `Duration` in the unit of the histories.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
