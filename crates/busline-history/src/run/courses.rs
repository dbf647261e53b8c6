use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::index::nanos;
use crate::entry::{Action, Deliver, Delivered, Delivery, Entry, Handler, Op, Process, Settle, Settlement};
use crate::history::History;
use crate::position::Position;

/// The way of every record through every group.
#[derive(Debug)]
pub(crate) struct Courses<'a> {
    courses: Vec<Course<'a>>,
    at: HashMap<(&'a str, Position<'a>), usize>,
    finished: HashMap<(&'a str, &'a str), u64>,
}

/// What one group did with one record.
#[derive(Debug)]
pub(crate) struct Course<'a> {
    pub(crate) group: &'a str,
    pub(crate) position: Position<'a>,
    /// `None` for what could not be decoded.
    pub(crate) id: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
    pub(crate) handed: Vec<Handed<'a>>,
    pub(crate) runs: Vec<Running<'a>>,
    pub(crate) settled: Vec<Settled<'a>>,
    terminal: Option<u64>,
}

/// One hand-over.
#[derive(Debug)]
pub(crate) struct Handed<'a> {
    pub(crate) at: u64,
    pub(crate) process: Process,
    pub(crate) delivered: &'a Delivered,
}

/// One run of the handler.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    pub(crate) started: u64,
    pub(crate) process: Process,
    pub(crate) delivery: &'a Delivery,
    pub(crate) end: Option<(u64, Ending)>,
}

/// How a run of a handler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Ok,
    /// Error, panic or timeout: a failed attempt.
    Failed,
    Cancelled,
}

/// One decision.
#[derive(Debug)]
pub(crate) struct Settled<'a> {
    pub(crate) at: u64,
    pub(crate) process: Process,
    pub(crate) settlement: &'a Settlement,
    pub(crate) stage: Stage,
}

/// How far a decision has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Begun,
    Done,
    Unknown,
}

impl<'a> Course<'a> {
    fn new(group: &'a str, position: Position<'a>) -> Self {
        Self {
            group,
            position,
            id: None,
            key: None,
            handed: Vec::new(),
            runs: Vec::new(),
            settled: Vec::new(),
            terminal: None,
        }
    }

    /// The earliest moment at which it may have been finished: handled, parked or skipped.
    pub(crate) fn terminal(&self) -> Option<u64> {
        self.terminal
    }

    pub(crate) fn first_start(&self) -> Option<u64> {
        self.runs.first().map(|run| run.started)
    }

    /// The decisions of one kind that came to their end.
    pub(crate) fn done(&self, action: Action) -> impl Iterator<Item = &Settled<'a>> {
        self.settled.iter().filter(move |settled| settled.stage == Stage::Done && settled.settlement.action == action)
    }

    /// Parkings that were begun by a process that was killed before it could tell their end: perhaps done.
    fn cut_off(&self, killed: &BTreeSet<Process>) -> impl Iterator<Item = &Settled<'a>> {
        let parkings = self.settled.iter().filter(|settled| settled.settlement.action == Action::Park);
        let begun = parkings.filter(|settled| settled.stage == Stage::Begun && killed.contains(&settled.process));
        begun.filter(|begun| {
            let told = |later: &&Settled<'_>| later.process == begun.process && later.stage != Stage::Begun;
            !self.settled.iter().any(|later| told(&later) && later.at >= begun.at)
        })
    }

    /// The runs that handled it.
    pub(crate) fn handled(&self) -> impl Iterator<Item = (u64, &Running<'a>)> {
        self.runs.iter().filter_map(|run| match run.end {
            Some((at, Ending::Ok)) => Some((at, run)),
            _ => None,
        })
    }

    /// The id, or the position where there is none.
    pub(crate) fn name(&self) -> String {
        match self.id {
            Some(id) => format!("{id} at {}", self.position),
            None => format!("record at {}", self.position),
        }
    }
}

impl<'a> Courses<'a> {
    pub(crate) fn gather(history: &'a History, report_lag: Duration, killed: &BTreeSet<Process>) -> Self {
        let mut courses = Self { courses: Vec::new(), at: HashMap::new(), finished: HashMap::new() };
        for entry in history.entries() {
            match &entry.op {
                Op::Deliver(Deliver::Ok(delivered)) => courses.deliver(entry, delivered),
                Op::Handler(step) => courses.handler(entry, step),
                Op::Settle(settle) => courses.settle(entry, settle),
                _ => {}
            }
        }
        courses.finish(nanos(report_lag), killed);
        courses
    }

    pub(crate) fn all(&self) -> &[Course<'a>] {
        &self.courses
    }

    pub(crate) fn of(&self, group: &str, position: Position<'_>) -> Option<&Course<'a>> {
        self.at.get(&(group, position)).map(|at| &self.courses[*at])
    }

    /// When a group finished an id, at whatever position.
    pub(crate) fn finished(&self, group: &str, id: &str) -> Option<u64> {
        self.finished.get(&(group, id)).copied()
    }

    fn course(&mut self, group: &'a str, position: Position<'a>) -> &mut Course<'a> {
        let at = *self.at.entry((group, position)).or_insert_with(|| {
            self.courses.push(Course::new(group, position));
            self.courses.len() - 1
        });
        &mut self.courses[at]
    }

    fn delivered(&mut self, delivery: &'a Delivery) -> &mut Course<'a> {
        let course = self.course(&delivery.group, delivery.position());
        course.id = Some(&delivery.id);
        course.key = Some(&delivery.key);
        course
    }

    fn deliver(&mut self, entry: &Entry, delivered: &'a Delivered) {
        let handed = Handed { at: entry.mono_ns, process: entry.process(), delivered };
        self.delivered(&delivered.delivery).handed.push(handed);
    }

    fn handler(&mut self, entry: &Entry, step: &'a Handler) {
        let (delivery, ending) = match step {
            Handler::Start(delivery) => (delivery, None),
            Handler::Ok(delivery) => (delivery, Some(Ending::Ok)),
            Handler::Err(delivery) | Handler::Panic(delivery) | Handler::Timeout(delivery) => {
                (delivery, Some(Ending::Failed))
            }
            Handler::Cancelled(delivery) => (delivery, Some(Ending::Cancelled)),
        };
        let process = entry.process();
        let course = self.delivered(delivery);
        let Some(ending) = ending else {
            course.runs.push(Running { started: entry.mono_ns, process, delivery, end: None });
            return;
        };
        let is_mine = |run: &&mut Running<'_>| {
            run.end.is_none() && run.process == process && run.delivery.attempt == delivery.attempt
        };
        if let Some(run) = course.runs.iter_mut().rev().find(is_mine) {
            run.end = Some((entry.mono_ns, ending));
        }
    }

    fn settle(&mut self, entry: &Entry, settle: &'a Settle) {
        let (settlement, stage) = match settle {
            Settle::Invoke(settlement) => (settlement, Stage::Begun),
            Settle::Ok(settlement) => (settlement, Stage::Done),
            Settle::Info(settlement) => (settlement, Stage::Unknown),
        };
        let settled = Settled { at: entry.mono_ns, process: entry.process(), settlement, stage };
        let course = self.course(&settlement.group, settlement.position());
        course.id = course.id.or(settlement.id.as_deref());
        course.settled.push(settled);
    }

    fn finish(&mut self, report_lag: u64, killed: &BTreeSet<Process>) {
        for course in &mut self.courses {
            // A decision is seen from outside after it was taken; a handler reports its end itself.
            let handled = course.handled().map(|(at, _)| at);
            let decided = course.done(Action::Park).chain(course.done(Action::Skip)).chain(course.cut_off(killed));
            course.terminal = handled.chain(decided.map(|settled| settled.at.saturating_sub(report_lag))).min();
            if let (Some(id), Some(at)) = (course.id, course.terminal) {
                let finished = self.finished.entry((course.group, id)).or_insert(at);
                *finished = at.min(*finished);
            }
        }
    }
}
