//! Fast ingest: one batch of the server's for each stream as long as there is work, acked by its flow, without headers.
//!
//! Holes are impossible inside a batch (gap mode `fail`). A batch confirms its end only by a commit, so it ends when the
//! publisher has no more. Only its first message has an id: alone it could bring a batch to life that was given up.
//!
//! ```text
//!  op 0, wait ─ op 1, op 1, … (never more than 2 flows ahead of the acks) ─ op 2 or 3: committed
//!                   │ break
//!                   └─ op 3 on the old batch ─ read the stream's end ─ next record as op 2 on the old batch ─ go on anew
//! ```
//!
//! # Source
//! NATS ADR-50, and what was seen on real servers of one and three nodes: the recovery's order of steps is what kept
//! old messages from being stored behind new ones.

use std::task::{Context, Poll};

use busline_core::{Error, Partition, Result};
use tokio::time::Instant;

use super::answer::Answer;
use super::course::Wire;
use super::ground::Ground;
use super::line::Line;
use super::rec::Rec;
use super::run::{Asked, Run, Said, Settled};
use super::work::Way;

/// The records of a fast sink: a run for each stream. Answers come to the numbers of their batches.
pub(crate) struct Fast {
    runs: Vec<Run>,
    batches_max: usize,
    settled: Vec<Settled>,
}

impl Fast {
    /// Over streams with these last sequences and numbers of replicas, for a sink that is given this many batches at
    /// once.
    pub(crate) fn new(streams: impl IntoIterator<Item = (u64, u8)>, batches_max: usize) -> Self {
        let runs = streams.into_iter().enumerate();
        let runs = runs.map(|(number, (last, replicas))| Run::new(number, last, replicas)).collect();
        Self { runs, batches_max, settled: Vec::new() }
    }

    /// Notes the outcomes that the runs have found.
    fn settle(&mut self, line: &mut Line) {
        let (mut settled, mut lost) = (std::mem::take(&mut self.settled), Vec::new());
        for one in settled.drain(..) {
            match one {
                Settled::Stored { rec, seq } => line.stored(&rec, seq),
                Settled::Refused { proven, rec, error } => {
                    let error = error.at("publish", &line.ground.topic.name);
                    line.break_key(&rec, &error);
                    line.note(rec.batch, rec.index, Err(error));
                    self.fail_behind(line, proven);
                }
                Settled::Lost { rec } => lost.push(rec),
            }
        }
        self.settled = settled;
        self.lose(line, lost);
    }

    /// Nobody will know what became of these.
    fn lose(&mut self, line: &mut Line, lost: Vec<Rec>) {
        if lost.is_empty() {
            return;
        }
        let error = line.ground.lost();
        for rec in &lost {
            line.break_key(rec, &error);
        }
        // Before their batches are settled, with which their keys are whole again.
        self.fail_behind(line, None);
        for rec in lost {
            line.note(rec.batch, rec.index, Err(error.clone()));
        }
    }

    /// Everything that was taken of a broken key ends with it: what was not sent has failed, the rest is indeterminate.
    /// `proven` is the run whose records on their way are known not to be stored.
    fn fail_behind(&mut self, line: &mut Line, proven: Option<usize>) {
        let (broken, mut ended) = (&line.broken, Vec::new());
        for (number, run) in self.runs.iter_mut().enumerate() {
            if proven == Some(number) {
                for rec in run.log.take_sent(|rec| broken.contains_key(&rec.key)) {
                    ended.push((rec.batch, rec.index, broken[&rec.key].1.clone()));
                }
            }
            let (sent, queue) = run.log.all_mut();
            for rec in sent.filter(|rec| rec.copy.is_none() && broken.contains_key(&rec.key)) {
                ended.push((rec.batch, rec.index, broken[&rec.key].1.clone().indeterminate()));
                rec.adopt(&line.pending);
            }
            queue.retain(|rec| match broken.get(&rec.key) {
                Some((_, error)) => {
                    ended.push((rec.batch, rec.index, error.clone()));
                    false
                }
                None => true,
            });
        }
        for (batch, index, error) in ended {
            line.note(batch, index, Err(error));
        }
    }
}

impl Way for Fast {
    type Said = (usize, Result<Said>);

    fn is_idle(&self) -> bool {
        self.runs.iter().all(Run::is_idle)
    }

    fn is_open(&self) -> bool {
        self.runs.iter().any(Run::is_open)
    }

    fn take(&mut self, ground: &Ground, rec: Rec) {
        self.runs[ground.stream_number(rec.partition)].log.push(rec);
    }

    fn send(&mut self, line: &mut Line, now: Instant) {
        // While the publisher is kept waiting there is more to come; otherwise what is there is the end for now.
        let closing = line.session.door.closing().is_some();
        let more_to_come = !closing && line.pending.len() >= self.batches_max;
        let mut sent = false;
        for run in &mut self.runs {
            if line.session.is_held() {
                break;
            }
            let Some(link) = &mut line.session.link else { break };
            let mut wire = Wire { link, ground: &line.ground, pending: &line.pending, hash: line.hash };
            sent |= run.send(&mut wire, more_to_come, now, &mut self.settled);
        }
        if sent {
            line.session.has_sent();
        }
        self.settle(line);
    }

    fn answered(&mut self, line: &mut Line, number: u64, answer: Answer) {
        let Some(run) = self.runs.iter_mut().find(|run| run.is_about(number)) else { return };
        match run.answered(answer, Instant::now(), &mut self.settled) {
            Asked::Nothing => {}
            Asked::Hold => line.session.hold(),
            Asked::HoldAndCheck => line.session.hold_and_check(),
            Asked::Trouble(error) => {
                line.session.set_trouble(Some(error));
                line.session.hold();
            }
        }
        self.settle(line);
    }

    fn denied(&mut self, line: &mut Line, partition: Partition, error: &Error) {
        let run = &mut self.runs[line.ground.stream_number(partition)];
        run.denied(partition, error, Instant::now(), &mut self.settled);
        self.settle(line);
    }

    /// What may be stored holds its stream.
    fn report(&mut self, line: &mut Line, batch: u64, error: &Error) {
        let mut ended = Vec::new();
        for run in &mut self.runs {
            let (sent, queue) = run.log.all_mut();
            for rec in sent.filter(|rec| rec.batch == batch && rec.copy.is_none()) {
                ended.push((rec.index, rec.key, error.clone().indeterminate()));
                rec.adopt(&line.pending);
            }
            queue.retain(|rec| {
                if rec.batch == batch {
                    ended.push((rec.index, rec.key, error.clone()));
                }
                rec.batch != batch
            });
        }
        // In the order of the batch, so that of each key the first one names the deadline.
        ended.sort_by_key(|(index, ..)| *index);
        let mut outcomes = Vec::with_capacity(ended.len());
        for (index, key, error) in ended {
            let told = line.broken.get(&key).map(|(_, behind)| behind.clone());
            let outcome = match told {
                Some(behind) if error.is_definite() => behind,
                Some(behind) => behind.indeterminate(),
                None => {
                    if let Some(records) = line.pending.batch(batch) {
                        line.broken.insert(key, (batch, records.behind(index as usize, &error)));
                    }
                    error
                }
            };
            outcomes.push((index, outcome));
        }
        self.fail_behind(line, None);
        for (index, error) in outcomes {
            line.note(batch, index, Err(error));
        }
    }

    fn broken(&mut self, now: Instant) {
        self.runs.iter_mut().for_each(|run| run.broken(now));
    }

    fn forget(&mut self) {
        self.runs.iter_mut().for_each(Run::forget);
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.runs.iter().any(|run| run.is_stuck(now))
    }

    fn look_at_clocks(&mut self, line: &Line, now: Instant) {
        self.runs.iter_mut().for_each(|run| run.look_at_clock(now, &line.ground));
    }

    fn poll_question(&mut self, cx: &mut Context<'_>) -> Poll<Self::Said> {
        for (number, run) in self.runs.iter_mut().enumerate() {
            if let Poll::Ready(said) = run.poll_question(cx) {
                return Poll::Ready((number, said));
            }
        }
        Poll::Pending
    }

    fn said(&mut self, line: &mut Line, (run, said): Self::Said) -> Result<()> {
        let said = self.runs[run].said(said, Instant::now(), line.hash, &mut self.settled);
        self.settle(line);
        said
    }
}
