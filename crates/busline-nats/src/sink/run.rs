//! One stream's share of a fast sink: its records and its batch at the server. A batch that breaks is recovered by
//! [`Mend`].

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use busline_core::{BoxFuture, Error, Partition, Result};
use tokio::time::Instant;

use super::answer::Answer;
use super::course::{Course, FLOW, Guard, Op, Phase, Place, Scratch, Wire};
use super::ground::Ground;
use super::key_hash::KeyHash;
use super::log::Log;
use super::mend::Mend;
use super::rec::Rec;
use super::session::{is_long, poll_in};
use super::tail::Tail;
use crate::error::{ApiError, Refusal, code, refusal, refused};
use crate::topics::stream_info;

/// Silence after which the last ack is asked for again.
const PING: Duration = Duration::from_secs(2);

/// Rest after which an open batch is ended.
const IDLE: Duration = Duration::from_millis(20);

/// One stream's share of a sink.
pub(crate) struct Run {
    pub(super) number: usize,
    pub(super) replicas: u8,
    pub(crate) log: Log,
    course: Option<Course>,
    pub(super) mend: Option<Mend>,
    pub(super) question: Option<BoxFuture<'static, Result<Said>>>,
    courses: u64,
    /// A record that the server refused inside a batch, and why.
    pub(super) blamed: Option<(u64, Error)>,
    /// A partition that this user may not publish to, found out inside a batch.
    pub(super) forbidden: Option<(Partition, Error)>,
    /// The partition of the newest record that is stored: what is not stored goes there, since this user may publish there.
    pub(super) granted: Partition,
    /// The batch is to be ended, because nothing happens any more.
    end: bool,
    ping: bool,
    pub(super) scratch: Scratch,
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
    /// Certainly not stored.
    Refused {
        /// The run, if nothing else of it is stored that was sent.
        proven: Option<usize>,
        rec: Rec,
        error: Error,
    },
    /// What would tell whether it was stored is deleted, and no copy of it is on its way any more.
    Lost {
        rec: Rec,
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
            mend: None,
            question: None,
            courses: 0,
            blamed: None,
            forbidden: None,
            granted: Partition(number as u32),
            end: false,
            ping: false,
            scratch: Scratch::default(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.course.is_none() && self.mend.is_none() && self.log.is_empty()
    }

    /// Whether a batch is open at the server.
    pub(crate) fn is_open(&self) -> bool {
        self.course.is_some()
    }

    /// Whether an answer to this batch concerns the run.
    pub(crate) fn is_about(&self, id: u64) -> bool {
        match (&self.mend, &self.course) {
            (Some(mend), _) => mend.id == id,
            (None, course) => course.as_ref().is_some_and(|course| course.id == id),
        }
    }

    /// Sends what may go; gives whether something went.
    pub(crate) fn send(
        &mut self,
        wire: &mut Wire<'_>,
        more_to_come: bool,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> bool {
        match self.mend {
            None => self.send_records(wire, more_to_come, now, settled),
            Some(mend) => self.send_mend(mend, wire, now, settled),
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
                let phase = Phase::Starting;
                let course = Course { id, first, records: 1, acked: 0, flow: FLOW, phase, start, moved: now };
                self.course = Some(course);
                (self.end, self.ping, self.forbidden) = (false, false, None);
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
            settled.push(Settled::Refused { proven: None, rec, error });
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
        let partition = self.granted;
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

    /// Takes an answer to the run's batch.
    pub(crate) fn answered(&mut self, answer: Answer, now: Instant, settled: &mut Vec<Settled>) -> Asked {
        if let Answer::Blame { seq, error } = &answer {
            if let Some(course) = &self.course {
                self.blamed = Some((course.first + seq - 1, refused(error)));
            }
            return Asked::Nothing;
        }
        match self.mend {
            None => self.course_answered(answer, now, settled),
            Some(mend) => self.mend_answered(mend, answer, now, settled),
        }
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
                self.stored_below(below, |_| None, settled);
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
        let sequence = |number| course.sequence(number, seq, course.records).filter(|_| count == course.records);
        self.stored_below(course.first + count, sequence, settled);
        if count >= course.records {
            (self.blamed, self.forbidden) = (None, None);
            self.log.ends_at(seq);
        } else {
            self.mend = Some(Mend::read(course.id));
        }
        Asked::Nothing
    }

    /// Settles the records before this one; `sequence` gives where each of them is stored, as far as that is known.
    pub(super) fn stored_below(
        &mut self,
        below: u64,
        sequence: impl Fn(u64) -> Option<u64>,
        settled: &mut Vec<Settled>,
    ) {
        let first = self.log.base();
        let stored = self.log.stored_below(below);
        self.granted = stored.last().map_or(self.granted, |rec| rec.partition);
        settled.extend(
            stored.into_iter().zip(first..).map(|(rec, number)| Settled::Stored { rec, seq: sequence(number) }),
        );
    }

    /// Settles the first record: it is not stored, and neither is anything that was sent behind it.
    pub(super) fn refuse_first(&mut self, error: Error, settled: &mut Vec<Settled>) {
        if let Some(rec) = self.log.give_up_first() {
            settled.push(Settled::Refused { proven: Some(self.number), rec, error });
        }
    }

    /// A message of the batch was refused.
    fn not_taken(&mut self, error: Option<ApiError>, now: Instant, settled: &mut Vec<Settled>) -> Asked {
        let Some(course) = self.course.take() else { return Asked::Nothing };
        let alone = course.phase == Phase::Starting;
        let class = error.as_ref().map_or(Refusal::Transient, refusal);
        match (error, class) {
            // The only message of the batch was not stored, and nothing else of it was sent.
            (error, Refusal::Transient) if alone => {
                self.log.unsend();
                if error.is_none() { Asked::HoldAndCheck } else { Asked::Hold }
            }
            (Some(error), Refusal::Final) if alone => {
                self.refuse_first(refused(&error), settled);
                Asked::Nothing
            }
            // The server has forgotten the batch: that is the answer to a fence.
            (Some(error), _) if error.err_code == code::FAST_UNKNOWN => self.fenced(course.id),
            (error, _) => {
                self.mend = Some(Mend::fence(course.id, now));
                match error {
                    Some(error) => Asked::Trouble(crate::error::from_api(&error)),
                    None => Asked::HoldAndCheck,
                }
            }
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
            (Said::Anchor(last), None) => self.log.anchor(last),
            (said, Some(mend)) => self.mend_said(mend, said, now, hash, settled),
            _ => {}
        }
        Ok(())
    }

    /// Polls the question under way.
    pub(crate) fn poll_question(&mut self, cx: &mut Context<'_>) -> Poll<Result<Said>> {
        poll_in(&mut self.question, cx)
    }

    /// The connection is gone: what was sent of the batch may be stored or not.
    pub(crate) fn broken(&mut self, now: Instant) {
        if let Some(course) = self.course.take() {
            self.question = None;
            self.mend = Some(Mend::fence(course.id, now));
        } else if let Some(mend) = &mut self.mend {
            mend.broken(now);
        }
    }

    /// The server refuses this user's messages to a partition of the stream.
    pub(crate) fn denied(&mut self, partition: Partition, error: &Error, now: Instant, settled: &mut Vec<Settled>) {
        let concerns = self.log.sent(self.log.base()).is_some_and(|first| first.partition == partition);
        match self.course.take() {
            // The only message of the batch.
            Some(course) if course.phase == Phase::Starting && concerns => self.refuse_first(error.clone(), settled),
            Some(course) if course.phase == Phase::Starting => self.course = Some(course),
            // It is missing in the batch, which is of no use from there on.
            Some(course) => {
                self.forbidden = Some((partition, error.clone()));
                self.mend = Some(Mend::fence(course.id, now));
            }
            None if concerns => self.proof_denied(partition, error),
            None => {}
        }
    }

    /// Whether an answer is missing for so long that the connection is of no use.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        match (&self.mend, &self.course) {
            (Some(mend), _) => mend.is_stuck(now),
            (None, Some(course)) => {
                let waits = course.phase != Phase::Running || course.records > course.acked;
                waits && is_long(course.moved, now)
            }
            (None, None) => false,
        }
    }

    pub(crate) fn look_at_clock(&mut self, now: Instant, ground: &Arc<Ground>) {
        match (&mut self.mend, &self.course) {
            (Some(mend), _) => mend.look_at_clock(now),
            (None, Some(course)) => {
                let quiet = now.saturating_duration_since(course.moved);
                self.end = self.log.is_empty() && quiet > IDLE;
                self.ping = course.records > course.acked && quiet > PING;
            }
            (None, None) => {}
        }
        if self.mend.is_none() && self.question.is_none() && self.log.wants_anchor() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::rec::Rec;

    /// A run whose only record was sent in a batch that has come so far, and which the server then answers.
    fn answered(phase: Phase, answer: Answer) -> Run {
        let (mut run, now) = (Run::new(0, 100, 1), Instant::now());
        run.log.push(Rec { batch: 0, index: 0, partition: Partition(0), key: 1, copy: None });
        run.log.went(10);
        run.course = Some(Course { id: 7, first: 1, records: 1, acked: 0, flow: FLOW, phase, start: None, moved: now });
        let mut settled = Vec::new();
        run.answered(answer, now, &mut settled);
        assert!(settled.is_empty(), "nothing is known yet");
        run
    }

    #[test]
    fn a_refused_word_says_nothing_of_the_record_before_it() {
        let busy = ApiError { code: 429, err_code: code::TOO_MANY_REQUESTS, description: "too many requests".into() };
        for answer in [Answer::NoResponders, Answer::Refused(busy)] {
            for phase in [Phase::Running, Phase::Ending] {
                let run = answered(phase, answer.clone());
                assert!(run.mend.is_some() && run.log.has_sent(), "{phase:?} {answer:?}: it may be stored");
            }
            let run = answered(Phase::Starting, answer.clone());
            assert!(run.mend.is_none() && run.log.waiting() == 1, "{answer:?}: nothing of the batch was taken");
        }
    }
}
