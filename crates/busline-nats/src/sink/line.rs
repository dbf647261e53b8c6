//! What every sink's task has: the batches that it was given, their outcomes, and the way to the server.

use std::sync::Arc;

use busline_core::{Ack, Batch, Error, Result};
use tokio::time::Instant;

use super::answer::Answer;
use super::atomic::{Atomic, NUMBERS, Progress};
use super::backlog::Backlog;
use super::door::Door;
use super::ground::Ground;
use super::key_hash::{ByKey, KeyHash};
use super::pending::Pending;
use super::rec::Rec;
use super::session::{Session, is_long};
use crate::link::Link;

/// Where the numbers of atomic batches begin: no record, and no batch of another kind, ever has such a number.
const ATOMIC: u64 = 1 << 62;

/// The batches of a sink on their way.
pub(crate) struct Line {
    pub(crate) ground: Arc<Ground>,
    pub(crate) session: Session,
    pub(crate) pending: Pending,
    pub(crate) hash: KeyHash,
    /// Keys that failed in a batch that is not settled, with that batch and what those behind are told.
    pub(crate) broken: ByKey<(u64, Error)>,
    backlog: Backlog,
    atomic: Option<Atomic>,
    /// The next number for the answers of an atomic batch.
    atomic_number: u64,
    gone: Option<Error>,
}

impl Line {
    pub(crate) fn new(ground: Arc<Ground>, door: Arc<Door>, link: Link) -> Self {
        Self {
            session: Session::new(Arc::clone(&ground), door, link),
            ground,
            pending: Pending::default(),
            hash: KeyHash::new(),
            broken: ByKey::default(),
            backlog: Backlog::default(),
            atomic: None,
            atomic_number: ATOMIC,
            gone: None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.backlog.is_empty() && self.atomic.is_none()
    }

    /// Whether everything was reported.
    pub(crate) fn is_settled(&self) -> bool {
        let atomic = self.atomic.as_ref().is_none_or(|atomic| atomic.batch().is_none());
        atomic && self.pending.is_empty() && self.backlog.is_empty()
    }

    // ---- batches in

    /// Takes over what was handed to the sink.
    pub(crate) fn fill(&mut self) {
        self.backlog.fill_from(&self.session.door);
    }

    /// The next batch, with what records behind a failure are told. An atomic one begins here, as soon as nothing else is
    /// under way (`alone`), and nothing follows it before its end.
    pub(crate) fn next_batch(&mut self, alone: bool) -> Option<(Batch, ByKey<Error>)> {
        while self.atomic.is_none() {
            if !self.backlog.is_next_atomic() {
                return self.backlog.take();
            }
            if !alone || !self.pending.is_empty() {
                return None;
            }
            if let Some(batch) = self.backlog.take_atomic(self.hash) {
                self.begin_atomic(batch);
            }
        }
        None
    }

    fn begin_atomic(&mut self, batch: Batch) {
        let refused = match &self.gone {
            Some(gone) => Some(gone.clone()),
            None if !Atomic::is_of_one_stream(&self.ground, &batch) => Some(Atomic::several_streams(&self.ground)),
            None => None,
        };
        if let Some(error) = refused {
            let outcomes = vec![Err(error); batch.len()];
            return self.settle_atomic(batch, outcomes);
        }
        let first = self.atomic_number;
        self.atomic_number += NUMBERS;
        self.atomic = Some(Atomic::new(Arc::clone(&self.ground), batch, first));
    }

    /// Numbers a batch and gives its records out in order, but for those that stand behind a failure.
    pub(crate) fn open(&mut self, batch: Batch, behind: &ByKey<Error>, mut take: impl FnMut(&Ground, Rec)) {
        if let Some(gone) = &self.gone {
            return batch.settle_all(&gone.clone());
        }
        let number = self.pending.add(batch);
        let Some(batch) = self.pending.batch(number) else { return };
        let mut refused = Vec::new();
        for (index, record) in batch.records().enumerate() {
            let (index, key) = (index as u32, self.hash.of(record.key));
            match self.broken.get(&key).map(|(_, error)| error).or_else(|| behind.get(&key)) {
                Some(error) => refused.push((index, key, error.clone())),
                None => {
                    take(&self.ground, Rec { batch: number, index, partition: record.partition, key, copy: None });
                }
            }
        }
        for (index, key, error) in refused {
            self.broken.entry(key).or_insert_with(|| (number, error.clone()));
            self.note(number, index, Err(error));
        }
    }

    // ---- outcomes

    /// Notes that a record is stored, at this sequence if it is known.
    pub(crate) fn stored(&mut self, rec: &Rec, seq: Option<u64>) {
        self.session.has_moved();
        self.note(rec.batch, rec.index, Ok(self.ground.ack(rec.partition, seq)));
    }

    /// Notes an outcome, and settles the batches that are complete.
    pub(crate) fn note(&mut self, batch: u64, index: u32, outcome: Result<Ack>) {
        self.pending.note(batch, index as usize, outcome);
        while let Some((number, failed)) = self.pending.complete() {
            if failed {
                // What was handed over before this report stands behind the failure; what comes later does not.
                self.fill();
                self.backlog.taint_keys(self.broken.iter().filter(|(_, (from, _))| *from == number));
                self.broken.retain(|_, (from, _)| *from != number);
            }
            self.pending.settle_oldest();
        }
    }

    /// The key of a record breaks with this error: gives what those behind it are told, or `None` if the record was
    /// reported before, so that nobody behind it is concerned any more.
    pub(crate) fn break_key(&mut self, rec: &Rec, error: &Error) -> Option<Error> {
        let index = rec.index as usize;
        if !self.pending.is_open(rec.batch, index) {
            return None;
        }
        let behind = self.pending.batch(rec.batch)?.behind(index, error);
        self.broken.entry(rec.key).or_insert_with(|| (rec.batch, behind.clone()));
        Some(behind)
    }

    pub(crate) fn overdue(&self) -> Error {
        self.ground.overdue(self.session.trouble())
    }

    /// Reports what waits and the atomic batch; what may be stored of that is found out all the same.
    pub(crate) fn report_rest(&mut self, error: &Error) {
        self.report_atomic(error);
        self.backlog.settle_all(error);
    }

    /// Nothing is ever sent again, and everything that is still handed over ends with this error.
    pub(crate) fn close_for(&mut self, error: Error) {
        self.gone = Some(error);
        self.atomic = None;
    }

    // ---- the atomic batch under way

    /// Sends what may go of it; gives whether there is one.
    pub(crate) fn send_atomic(&mut self, now: Instant) -> bool {
        let Some(atomic) = &mut self.atomic else { return false };
        if self.session.may_send()
            && !atomic.is_forgotten(now)
            && let Some(link) = &mut self.session.link
        {
            let progress = atomic.send(link, now);
            self.session.has_sent();
            self.take_progress(progress);
        }
        true
    }

    /// Takes an answer; gives it back if it is none to an atomic batch.
    pub(crate) fn atomic_answered(&mut self, number: u64, answer: Answer) -> Option<Answer> {
        if number < ATOMIC {
            return Some(answer);
        }
        let progress = self.atomic.as_mut()?.answered(number, answer);
        if progress == Progress::Done {
            self.session.has_moved();
        }
        self.take_progress(progress);
        None
    }

    fn take_progress(&mut self, progress: Progress) {
        match progress {
            Progress::On => {}
            Progress::Hold => self.session.hold_and_check(),
            Progress::Done => {
                if let Some((Some(batch), outcomes)) = self.atomic.take().map(Atomic::into_outcomes) {
                    self.settle_atomic(batch, outcomes);
                }
            }
        }
    }

    pub(crate) fn atomic_broken(&mut self) {
        if let Some(atomic) = &mut self.atomic {
            atomic.broken();
        }
    }

    fn settle_atomic(&mut self, batch: Batch, outcomes: Vec<Result<Ack>>) {
        if outcomes.iter().any(Result::is_err) {
            self.fill();
            self.backlog.taint(&batch, &outcomes, self.hash);
        }
        batch.settle(outcomes);
    }

    fn report_atomic(&mut self, error: &Error) {
        let Some(atomic) = &mut self.atomic else { return };
        let in_doubt = atomic.is_in_doubt();
        let Some(batch) = atomic.take_batch() else { return };
        if !in_doubt {
            self.atomic = None;
        }
        let error = if in_doubt { error.clone().indeterminate() } else { error.clone() };
        let outcomes = vec![Err(error); batch.len()];
        self.settle_atomic(batch, outcomes);
    }

    // ---- clocks

    /// Reports what waits, and the atomic batch, if its time is over.
    pub(crate) fn look_at_clocks(&mut self, now: Instant) {
        self.look_at_atomic(now);
        let (ground, trouble) = (Arc::clone(&self.ground), self.session.trouble().cloned());
        self.backlog.settle_overdue(now, self.hash, || ground.overdue(trouble.as_ref()));
    }

    fn look_at_atomic(&mut self, now: Instant) {
        let Some(atomic) = &self.atomic else { return };
        let overdue = atomic.batch().is_some_and(|batch| batch.deadline() <= now);
        let forgotten = atomic.is_forgotten(now);
        if overdue || forgotten {
            let error = self.overdue();
            self.report_atomic(&error);
        }
        if forgotten {
            // Its last copy went over a connection that is long gone, so it is stored by now or never.
            self.atomic = None;
        }
    }

    /// Whether the atomic batch waits for an answer for too long.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        self.atomic.as_ref().and_then(Atomic::waits_since).is_some_and(|since| is_long(since, now))
    }
}
