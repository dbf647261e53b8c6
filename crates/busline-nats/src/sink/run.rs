//! One stream's share of a fast sink: its records, its batch at the server, and its recovery.
//!
//! # Source
//! docs/decisions/0003: each step of the recovery is there because without it old messages were stored behind new ones
//! on real servers.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use busline_core::{BoxFuture, Error, Partition, Result};
use tokio::time::Instant;

use super::answer::Answer;
use super::course::{Course, FLOW, Guard, Op, Phase, Place, Scratch, Wire, stored_hash};
use super::ground::Ground;
use super::key_hash::KeyHash;
use super::log::Log;
use super::rec::Rec;
use super::session::{is_long, poll_in};
use super::tail::{self, Tail};
use crate::error::{ApiError, Refusal, code, refusal, refused};
use crate::topics::stream_info;

/// Silence after which the last ack is asked for again.
const PING: Duration = Duration::from_secs(2);

/// Time after which a question to an old batch is asked again, and after which nobody can answer it any more: the
/// server forgets a batch that has been silent for 10 s.
const FENCE_AGAIN: Duration = Duration::from_secs(1);
const FENCE_MAX: Duration = Duration::from_secs(11);

/// A sequence that no message of a batch ever had.
const BEYOND: u64 = 1 << 40;

/// One stream's share of a sink.
pub(crate) struct Run {
    number: usize,
    replicas: u8,
    pub(crate) log: Log,
    course: Option<Course>,
    mend: Mend,
    question: Option<BoxFuture<'static, Result<Said>>>,
    courses: u64,
    /// A record that the server refused inside a batch.
    blamed: Option<(u64, ApiError)>,
    /// The batch is to be ended, because nothing happens any more.
    end: bool,
    ping: bool,
    scratch: Scratch,
}

/// How far the recovery of a broken batch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mend {
    /// Nothing is broken.
    No,
    /// The old batch is ended, so that nothing more of it is stored where it is known.
    Fence { id: u64, began: Instant, asked: Option<Instant> },
    /// The stream's end is read.
    Read { id: u64, rested: bool },
    /// The last sequence of the next record's subject is asked for.
    Ask { id: u64, last: u64 },
    /// The next record is sent as the commit of the old batch: its answer is replicated, and ends the old batch for all.
    Prove { id: u64, expected: Ends, asked: Option<Instant> },
    /// The server's memory of the old batch is waited out.
    Rest { id: u64, until: Instant },
}

/// Last sequences that were read before a record was sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    /// Of the record's subject: it must still be this.
    subject: u64,
    /// Of the stream: the record is stored behind it.
    stream: u64,
}

/// What the administration said to a question.
pub(crate) enum Said {
    Anchor(u64),
    Tail(Tail),
    Last(u64),
}

/// An outcome.
pub(crate) enum Settled {
    Stored {
        rec: Rec,
        seq: Option<u64>,
    },
    /// Certainly not stored, and nothing else of the run is under way.
    Refused {
        run: usize,
        rec: Rec,
        error: Error,
    },
}

/// What a run asks of its sink after an answer.
pub(crate) enum Asked {
    Nothing,
    Hold,
    HoldAndCheck,
    Trouble(Error),
}

impl Run {
    pub(crate) fn new(number: usize, last: u64, replicas: u8) -> Self {
        Self {
            number,
            replicas,
            log: Log::new(last),
            course: None,
            mend: Mend::No,
            question: None,
            courses: 0,
            blamed: None,
            end: false,
            ping: false,
            scratch: Scratch::default(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.course.is_none() && self.mend == Mend::No && self.log.is_empty()
    }

    /// Whether a batch is open at the server.
    pub(crate) fn is_open(&self) -> bool {
        self.course.is_some()
    }

    /// Whether an answer to this batch concerns the run.
    pub(crate) fn is_about(&self, id: u64) -> bool {
        match self.mend {
            Mend::No => self.course.as_ref().is_some_and(|course| course.id == id),
            Mend::Fence { id: old, .. }
            | Mend::Read { id: old, .. }
            | Mend::Ask { id: old, .. }
            | Mend::Prove { id: old, .. }
            | Mend::Rest { id: old, .. } => old == id,
        }
    }

    // ---- out

    /// Sends what may go; gives whether something went.
    pub(crate) fn send(
        &mut self,
        wire: &mut Wire<'_>,
        more_to_come: bool,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> bool {
        match self.mend {
            Mend::No => self.send_records(wire, more_to_come, now, settled),
            Mend::Fence { id, began, asked: None } => {
                let place = Place { id, seq: BEYOND, op: Op::End };
                wire.word(&mut self.scratch, Partition(self.number as u32), place);
                self.mend = Mend::Fence { id, began, asked: Some(now) };
                true
            }
            Mend::Prove { id, expected, asked: None } => self.send_proof(wire, id, expected, now, settled),
            _ => {
                self.ask(wire.ground);
                false
            }
        }
    }

    fn send_records(
        &mut self,
        wire: &mut Wire<'_>,
        more_to_come: bool,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> bool {
        let mut sent = false;
        while wire.link.has_room() {
            let went = match &self.course {
                None => self.start(wire, more_to_come, now, settled),
                Some(course) if course.phase == Phase::Running && course.has_room() => {
                    self.append(wire, more_to_come, now, settled)
                }
                Some(_) => false,
            };
            if !went {
                break;
            }
            sent = true;
        }
        self.send_word(wire, more_to_come, now) | sent
    }

    /// Begins a batch with the next record; a lone one is a batch of its own.
    fn start(&mut self, wire: &mut Wire<'_>, more_to_come: bool, now: Instant, settled: &mut Vec<Settled>) -> bool {
        let Some(rec) = self.log.next() else { return false };
        let lone = self.log.waiting() == 1 && !more_to_come;
        self.courses += 1;
        let id = self.courses << 16 | self.number as u64;
        let place = Place { id, seq: 1, op: if lone { Op::Commit } else { Op::Start } };
        match wire.record(&mut self.scratch, rec, place, Guard::Id(self.log.end())) {
            Ok(hash) => {
                let start = self.log.exact_floor();
                let first = self.log.went(hash);
                let phase = if lone { Phase::Ending } else { Phase::Starting };
                let course = Course { id, first, records: 1, acked: 0, flow: FLOW, phase, start, moved: now };
                self.course = Some(course);
                (self.end, self.ping) = (false, false);
                true
            }
            Err(error) => self.refuse_next(error, settled),
        }
    }

    fn append(&mut self, wire: &mut Wire<'_>, more_to_come: bool, now: Instant, settled: &mut Vec<Settled>) -> bool {
        let (Some(rec), Some(course)) = (self.log.next(), &mut self.course) else { return false };
        let records = course.records + 1;
        // The last record for now ends the batch: nothing else would make the server speak of it.
        let last = self.log.waiting() == 1 && (!more_to_come || !course.is_acked_at(records));
        let place = Place { id: course.id, seq: records, op: if last { Op::Commit } else { Op::Append } };
        match wire.record(&mut self.scratch, rec, place, Guard::None) {
            Ok(hash) => {
                course.records = records;
                course.moved = now;
                if last {
                    course.phase = Phase::Ending;
                }
                self.log.went(hash);
                true
            }
            Err(error) => self.refuse_next(error, settled),
        }
    }

    /// Nothing of the next record was sent.
    fn refuse_next(&mut self, error: Error, settled: &mut Vec<Settled>) -> bool {
        if let Some(rec) = self.log.skip_next() {
            settled.push(Settled::Refused { run: usize::MAX, rec, error });
        }
        // What stands behind it is failed before more is sent.
        false
    }

    /// Ends a batch whose last records the server would not speak of, and asks again for what it has said.
    fn send_word(&mut self, wire: &mut Wire<'_>, more_to_come: bool, now: Instant) -> bool {
        let Some(course) = &mut self.course else { return false };
        if course.phase != Phase::Running || !wire.link.has_room() {
            return false;
        }
        let partition = Partition(self.number as u32);
        let unconfirmed = course.records > course.acked && (!more_to_come || !course.is_acked_at(course.records));
        if self.log.waiting() == 0 && (unconfirmed || self.end) {
            course.phase = Phase::Ending;
            course.moved = now;
            let place = Place { id: course.id, seq: course.records + 1, op: Op::End };
            wire.word(&mut self.scratch, partition, place);
            return true;
        }
        if std::mem::take(&mut self.ping) {
            let place = Place { id: course.id, seq: course.records, op: Op::Ping };
            wire.word(&mut self.scratch, partition, place);
        }
        false
    }

    fn send_proof(
        &mut self,
        wire: &mut Wire<'_>,
        id: u64,
        expected: Ends,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> bool {
        let number = self.log.base();
        let Some(rec) = self.log.sent(number) else {
            self.mend = Mend::No;
            return false;
        };
        let place = Place { id, seq: 1, op: Op::Commit };
        match wire.record(&mut self.scratch, rec, place, Guard::IdAndSequence(number, expected.subject)) {
            Ok(_) => {
                self.mend = Mend::Prove { id, expected, asked: Some(now) };
                true
            }
            Err(error) => {
                if let Some(rec) = self.log.give_up_first() {
                    settled.push(Settled::Refused { run: usize::MAX, rec, error });
                }
                self.mend = Mend::Read { id, rested: false };
                false
            }
        }
    }

    /// Asks the administration what this state needs to know.
    fn ask(&mut self, ground: &Ground) {
        if self.question.is_some() {
            return;
        }
        let (admin, stream) = (ground.admin.clone(), ground.streams[self.number].clone());
        match self.mend {
            Mend::Read { .. } => {
                let floor = self.log.floor();
                self.question = Some(Box::pin(async move { tail::read(&admin, &stream, floor).await.map(Said::Tail) }));
            }
            Mend::Ask { .. } => {
                let Some(rec) = self.log.sent(self.log.base()) else { return };
                let subject = String::from_utf8_lossy(&ground.subjects[rec.partition.0 as usize]).into_owned();
                self.question = Some(Box::pin(async move {
                    let last = admin.last(&stream, &subject).await?;
                    Ok(Said::Last(last.map_or(0, |last| last.seq)))
                }));
            }
            _ => {}
        }
    }

    // ---- in

    /// Takes an answer to the run's batch.
    pub(crate) fn answered(&mut self, answer: Answer, now: Instant, settled: &mut Vec<Settled>) -> Asked {
        if let Answer::Blame { seq, error } = &answer {
            if let Some(course) = &self.course {
                self.blamed = Some((course.first + seq - 1, error.clone()));
            }
            return Asked::Nothing;
        }
        match self.mend {
            Mend::No => self.course_answered(answer, now, settled),
            Mend::Fence { id, began, .. } => match answer {
                Answer::Stored { .. } => self.fenced(id),
                Answer::Refused(error) if error.err_code == code::FAST_UNKNOWN => self.fenced(id),
                Answer::Refused(_) => {
                    self.mend = Mend::Fence { id, began, asked: None };
                    Asked::Hold
                }
                Answer::NoResponders => {
                    self.mend = Mend::Fence { id, began, asked: None };
                    Asked::HoldAndCheck
                }
                _ => Asked::Nothing,
            },
            Mend::Prove { id, expected, asked: Some(_) } => self.proof_answered(answer, id, expected, now, settled),
            _ => Asked::Nothing,
        }
    }

    fn fenced(&mut self, id: u64) -> Asked {
        self.mend = Mend::Read { id, rested: false };
        Asked::Nothing
    }

    fn course_answered(&mut self, answer: Answer, now: Instant, settled: &mut Vec<Settled>) -> Asked {
        let Some(course) = &mut self.course else { return Asked::Nothing };
        course.moved = now;
        match answer {
            Answer::Flow { seq, messages } => {
                course.flow = messages.max(1);
                course.acked = seq.clamp(course.acked, course.records);
                if course.phase == Phase::Starting {
                    course.phase = Phase::Running;
                }
                let below = course.first + course.acked;
                settled.extend(self.log.stored_below(below).into_iter().map(|rec| Settled::Stored { rec, seq: None }));
                Asked::Nothing
            }
            Answer::Stored { seq, count, .. } => self.ended(seq, count.unwrap_or(1), settled),
            Answer::NoResponders => self.not_taken(None, now, settled),
            Answer::Refused(error) => self.not_taken(Some(error), now, settled),
            Answer::Taken | Answer::Blame { .. } | Answer::Remark => Asked::Nothing,
        }
    }

    /// The batch has ended: its first `count` records are stored, the last of them at `seq`.
    fn ended(&mut self, seq: u64, count: u64, settled: &mut Vec<Settled>) -> Asked {
        let Some(course) = self.course.take() else { return Asked::Nothing };
        let first = self.log.base();
        let stored = self.log.stored_below(course.first + count);
        settled.extend(stored.into_iter().zip(first..).map(|(rec, number)| {
            let seq = course.sequence(number, seq, course.records).filter(|_| count == course.records);
            Settled::Stored { rec, seq }
        }));
        if count >= course.records {
            self.blamed = None;
            self.log.anchor(seq);
        } else {
            self.mend = Mend::Read { id: course.id, rested: false };
        }
        Asked::Nothing
    }

    /// A message of the batch was refused.
    fn not_taken(&mut self, error: Option<ApiError>, now: Instant, settled: &mut Vec<Settled>) -> Asked {
        let Some(course) = self.course.take() else { return Asked::Nothing };
        let alone = course.phase == Phase::Starting || course.records == 1;
        let class = error.as_ref().map_or(Refusal::Transient, refusal);
        match (error, class) {
            // The only message of the batch was not stored, and nothing else of it was sent.
            (error, Refusal::Transient) if alone => {
                self.log.unsend();
                if error.is_none() { Asked::HoldAndCheck } else { Asked::Hold }
            }
            (Some(error), Refusal::Final) if alone => {
                if let Some(rec) = self.log.give_up_first() {
                    settled.push(Settled::Refused { run: self.number, rec, error: refused(&error) });
                }
                Asked::Nothing
            }
            // The server has forgotten the batch: that is the answer to a fence.
            (Some(error), _) if error.err_code == code::FAST_UNKNOWN => self.fenced(course.id),
            (error, _) => {
                self.mend = Mend::Fence { id: course.id, began: now, asked: None };
                match error {
                    Some(error) => Asked::Trouble(crate::error::from_api(&error)),
                    None => Asked::HoldAndCheck,
                }
            }
        }
    }

    fn proof_answered(
        &mut self,
        answer: Answer,
        id: u64,
        expected: Ends,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> Asked {
        match answer {
            // A leader that still has the old batch ends it with this message, stores nothing of it and answers with the
            // batch's own end; and an old leader's answer to a fence may come late. Neither is about this record.
            Answer::Stored { seq, count, .. } if seq <= expected.stream || count.is_some_and(|count| count != 1) => {
                self.fenced(id)
            }
            Answer::Stored { seq, .. } => {
                let stored = self.log.stored_below(self.log.base() + 1);
                settled.extend(stored.into_iter().map(|rec| Settled::Stored { rec, seq: Some(seq) }));
                // Nothing old can arrive any more.
                self.log.unsend();
                self.mend = Mend::No;
                Asked::Nothing
            }
            Answer::Refused(error) if code::STREAM_WRONG_SEQUENCE.contains(&error.err_code) => {
                self.mend = Mend::Read { id, rested: false };
                Asked::Nothing
            }
            Answer::NoResponders => {
                self.mend = Mend::Prove { id, expected, asked: None };
                Asked::HoldAndCheck
            }
            Answer::Refused(error) => match refusal(&error) {
                Refusal::Transient => {
                    self.mend = Mend::Prove { id, expected, asked: None };
                    Asked::Hold
                }
                Refusal::Final => {
                    self.blamed = Some((self.log.base(), error));
                    self.mend = Mend::Read { id, rested: false };
                    Asked::Nothing
                }
                Refusal::Unknown => {
                    self.mend = Mend::Fence { id, began: now, asked: None };
                    Asked::Trouble(crate::error::from_api(&error))
                }
            },
            _ => Asked::Nothing,
        }
    }

    /// Takes the answer to a question.
    ///
    /// # Errors
    /// What kept the administration from answering; the question is asked again.
    pub(crate) fn said(
        &mut self,
        said: Result<Said>,
        now: Instant,
        hash: KeyHash,
        settled: &mut Vec<Settled>,
    ) -> Result<()> {
        self.question = None;
        match (said?, self.mend) {
            (Said::Anchor(last), Mend::No) => self.log.anchor(last),
            (Said::Tail(tail), Mend::Read { id, rested }) => self.read(&tail, id, rested, now, hash, settled),
            (Said::Last(subject), Mend::Ask { id, last }) => {
                // Something was stored since the stream's end was read: it may be ours.
                self.mend = if subject > last {
                    Mend::Read { id, rested: false }
                } else {
                    Mend::Prove { id, expected: Ends { subject, stream: last }, asked: None }
                };
            }
            _ => {}
        }
        Ok(())
    }

    fn read(&mut self, tail: &Tail, id: u64, rested: bool, now: Instant, hash: KeyHash, settled: &mut Vec<Settled>) {
        let found = self.log.find(tail, |message| stored_hash(hash, message));
        let first = self.log.base();
        let stored = self.log.stored_below(found.end);
        settled.extend(stored.into_iter().zip(first..).map(|(rec, number)| {
            let seq = found.sequences.get(&number).copied();
            Settled::Stored { rec, seq }
        }));
        self.log.anchor(tail.last);
        let blamed = self.blamed.take_if(|(number, _)| *number <= self.log.base());
        self.mend = match blamed.filter(|(number, _)| *number == self.log.base()) {
            _ if !self.log.has_sent() => Mend::No,
            None => Mend::Ask { id, last: tail.last },
            // Copies of those behind it may be on their way between the nodes, and no commit will end their batch.
            Some(blamed) if self.replicas > 1 && !rested => {
                self.blamed = Some(blamed);
                Mend::Rest { id, until: now + FENCE_MAX }
            }
            Some((_, error)) => {
                if let Some(rec) = self.log.give_up_first() {
                    settled.push(Settled::Refused { run: self.number, rec, error: refused(&error) });
                }
                self.log.unsend();
                Mend::No
            }
        };
    }

    /// Polls the question under way.
    pub(crate) fn poll_question(&mut self, cx: &mut Context<'_>) -> Poll<Result<Said>> {
        poll_in(&mut self.question, cx)
    }

    // ---- trouble and clocks

    /// The connection is gone: what was sent of the batch may be stored or not.
    pub(crate) fn broken(&mut self, now: Instant) {
        if let Some(course) = self.course.take() {
            self.question = None;
            self.mend = Mend::Fence { id: course.id, began: now, asked: None };
            return;
        }
        match self.mend {
            Mend::Fence { id, began, asked: Some(_) } => self.mend = Mend::Fence { id, began, asked: None },
            Mend::Prove { id, asked: Some(_), .. } => self.mend = Mend::Fence { id, began: now, asked: None },
            _ => {}
        }
    }

    /// The server refuses this user's messages.
    pub(crate) fn denied(&mut self, error: &Error, settled: &mut Vec<Settled>) {
        if self.course.as_ref().is_some_and(|course| course.records == 1 && course.acked == 0) {
            self.course = None;
            if let Some(rec) = self.log.give_up_first() {
                settled.push(Settled::Refused { run: self.number, rec, error: error.clone() });
            }
        }
    }

    /// Whether an answer is missing for so long that the connection is of no use.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        match self.mend {
            Mend::No => self.course.as_ref().is_some_and(|course| {
                let waits = course.phase != Phase::Running || course.records > course.acked;
                waits && is_long(course.moved, now)
            }),
            Mend::Prove { asked: Some(asked), .. } => is_long(asked, now),
            _ => false,
        }
    }

    pub(crate) fn look_at_clock(&mut self, now: Instant, ground: &Arc<Ground>) {
        match self.mend {
            Mend::No => {
                if let Some(course) = &self.course {
                    let quiet = now.saturating_duration_since(course.moved);
                    self.end = self.log.is_empty() && quiet > IDLE;
                    self.ping = course.records > course.acked && quiet > PING;
                }
            }
            Mend::Fence { id, began, asked } => {
                if now.saturating_duration_since(began) > FENCE_MAX {
                    self.mend = Mend::Read { id, rested: false };
                } else if asked.is_some_and(|asked| now.saturating_duration_since(asked) > FENCE_AGAIN) {
                    self.mend = Mend::Fence { id, began, asked: None };
                }
            }
            Mend::Rest { id, until } if until <= now => self.mend = Mend::Read { id, rested: true },
            _ => {}
        }
        if self.mend == Mend::No && self.question.is_none() && self.log.wants_anchor() {
            let ground = Arc::clone(ground);
            let number = self.number;
            self.question = Some(Box::pin(async move {
                let found = stream_info(&ground.admin, &ground.streams[number]).await?;
                found.map(|found| Said::Anchor(found.state.last_seq)).ok_or_else(|| ground.gone())
            }));
        }
    }

    /// Everything is over.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.number, 0, self.replicas);
    }
}

/// Rest after which an open batch is ended.
const IDLE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    /// A run whose only record was sent again as the commit of the old batch 7, when the stream ended at 120.
    fn proving() -> Run {
        let mut run = Run::new(0, 100, 3);
        run.log.push(Rec { batch: 0, index: 0, partition: Partition(0), key: 1, copy: None });
        run.log.went(10);
        let expected = Ends { subject: 90, stream: 120 };
        run.mend = Mend::Prove { id: 7, expected, asked: Some(Instant::now()) };
        run
    }

    fn answered(seq: u64, count: Option<u64>) -> (Mend, usize) {
        let (mut run, mut settled) = (proving(), Vec::new());
        run.answered(Answer::Stored { seq, count, duplicate: false }, Instant::now(), &mut settled);
        (run.mend, settled.len())
    }

    #[test]
    fn the_end_of_the_old_batch_is_no_ack_of_the_record_that_ended_it() {
        // What a new leader says that still has the old batch, and what an old one says late to a fence.
        for (seq, count) in [(120, Some(21)), (120, Some(1)), (120, None), (125, Some(26))] {
            assert_eq!(answered(seq, count), (Mend::Read { id: 7, rested: false }, 0), "{seq} {count:?}");
        }
        for (seq, count) in [(121, None), (121, Some(1)), (130, Some(1))] {
            assert_eq!(answered(seq, count), (Mend::No, 1), "{seq} {count:?}");
        }
    }
}
