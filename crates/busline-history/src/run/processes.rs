use std::collections::HashMap;
use std::time::Duration;

use crate::entry::{Life, Op, Process, WHOLE_BUS};
use crate::history::History;
use crate::plan::Plan;

/// When each process lived, and what it closed.
#[derive(Debug)]
pub(crate) struct Processes<'a> {
    lives: HashMap<Process, Lifetime<'a>>,
}

#[derive(Debug)]
struct Lifetime<'a> {
    last: u64,
    died: Option<u64>,
    closings: Vec<Closing<'a>>,
}

/// One call of close.
#[derive(Debug)]
pub(crate) struct Closing<'a> {
    pub(crate) subject: &'a str,
    pub(crate) begun: u64,
    pub(crate) deadline: Duration,
    pub(crate) ended: Option<(u64, &'a str)>,
}

impl Closing<'_> {
    pub(crate) fn covers(&self, subject: &str) -> bool {
        self.subject == subject || self.subject == WHOLE_BUS
    }
}

impl<'a> Processes<'a> {
    pub(crate) fn gather(history: &'a History, plan: &Plan) -> Self {
        let mut lives: HashMap<Process, Lifetime<'a>> = HashMap::new();
        for entry in history.entries() {
            let life = lives.entry(entry.process()).or_insert_with(|| Lifetime {
                last: entry.mono_ns,
                died: None,
                closings: Vec::new(),
            });
            life.last = entry.mono_ns;
            if let Op::Life(happened) = &entry.op {
                life.happened(entry.mono_ns, happened);
            }
        }
        for (process, life) in &mut lives {
            // A killed process writes no farewell: it died some time after its last line.
            if plan.killed.contains(process) && life.died.is_none() {
                life.died = Some(life.last);
            }
        }
        Self { lives }
    }

    /// When the process died without having closed, if it did.
    pub(crate) fn died(&self, process: Process) -> Option<u64> {
        self.lives.get(&process)?.died
    }

    /// The closes called in a process, earliest first.
    pub(crate) fn closings(&self, process: Process) -> &[Closing<'a>] {
        self.lives.get(&process).map_or(&[], |life| &life.closings)
    }

    /// The processes in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = Process> {
        self.lives.keys().copied()
    }
}

impl<'a> Lifetime<'a> {
    fn happened(&mut self, at: u64, life: &'a Life) {
        match life {
            Life::CloseBegin { subject, deadline } => {
                self.closings.push(Closing { subject, begun: at, deadline: *deadline, ended: None });
            }
            Life::CloseOk { subject, result } => {
                let open = self.closings.iter_mut().find(|close| close.subject == subject && close.ended.is_none());
                if let Some(close) = open {
                    close.ended = Some((at, result));
                }
            }
            Life::Crash { .. } => self.died = Some(at),
            Life::Open { .. } | Life::DrainBegin | Life::DrainEnd { .. } => {}
        }
    }
}
