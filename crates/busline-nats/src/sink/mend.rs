//! The recovery of a broken batch: what of it is stored is found out before anything is sent anew.
//!
//! The old batch is ended, the stream's end is read, and the first record that is not stored is sent again in a way that
//! ends the old batch for every copy of the stream.
//!
//! # Source
//! docs/decisions/0003: each step is there because without it old messages were stored behind new ones on real servers.

use std::time::Duration;

use busline_core::{Error, Partition};
use tokio::time::Instant;

use super::answer::Answer;
use super::course::{Guard, Op, Place, Wire, stored_hash};
use super::ground::Ground;
use super::key_hash::KeyHash;
use super::run::{Asked, Run, Said, Settled};
use super::session::is_long;
use super::tail::{self, Tail};
use crate::error::{Refusal, code, from_api, refusal, refused};

/// Time after which a question to an old batch is asked again, and after which nobody can answer it any more: the
/// server forgets a batch that has been silent for 10 s.
const FENCE_AGAIN: Duration = Duration::from_secs(1);
const FENCE_MAX: Duration = Duration::from_secs(11);

/// A sequence that no message of a batch ever had.
const BEYOND: u64 = 1 << 40;

/// How far the recovery of a broken batch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mend {
    /// The batch.
    pub(super) id: u64,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The old batch is ended, so that nothing more of it is stored where it is known.
    Fence { began: Instant, asked: Option<Instant> },
    /// The stream's end is read.
    Read { rested: bool },
    /// The last sequence of the next record's subject is asked for.
    Ask { last: u64 },
    /// The next record is sent as the commit of the old batch: its answer is replicated, and ends the old batch for all.
    Prove { expected: Ends, asked: Option<Instant> },
    /// The server's memory of the old batch is waited out.
    Rest { until: Instant },
}

/// Last sequences that were read before a record was sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    /// Of the record's subject: it must still be this.
    subject: u64,
    /// Of the stream: the record is stored behind it.
    stream: u64,
}

impl Mend {
    /// Nobody knows what of the batch is stored, or still will be.
    pub(super) fn fence(id: u64, now: Instant) -> Self {
        Self { id, step: Step::Fence { began: now, asked: None } }
    }

    /// The server knows the batch no more.
    pub(super) fn read(id: u64) -> Self {
        Self { id, step: Step::Read { rested: false } }
    }

    /// The connection is gone, and with it what it was asked.
    pub(super) fn broken(&mut self, now: Instant) {
        match self.step {
            Step::Fence { began, asked: Some(_) } => self.step = Step::Fence { began, asked: None },
            Step::Prove { asked: Some(_), .. } => *self = Self::fence(self.id, now),
            _ => {}
        }
    }

    /// Whether an answer is missing for so long that the connection is of no use.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        matches!(self.step, Step::Prove { asked: Some(asked), .. } if is_long(asked, now))
    }

    pub(super) fn look_at_clock(&mut self, now: Instant) {
        match self.step {
            Step::Fence { began, .. } if now.saturating_duration_since(began) > FENCE_MAX => {
                self.step = Step::Read { rested: false };
            }
            Step::Fence { began, asked: Some(asked) } if now.saturating_duration_since(asked) > FENCE_AGAIN => {
                self.step = Step::Fence { began, asked: None };
            }
            Step::Rest { until } if until <= now => self.step = Step::Read { rested: true },
            _ => {}
        }
    }
}

/// How a run takes the steps.
impl Run {
    /// Sends what the step has to send; gives whether something went.
    pub(super) fn send_mend(
        &mut self,
        mend: Mend,
        wire: &mut Wire<'_>,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> bool {
        match mend.step {
            Step::Fence { began, asked: None } => {
                let place = Place { id: mend.id, seq: BEYOND, op: Op::End };
                wire.word(&mut self.scratch, self.granted, place);
                self.take_step(mend, Step::Fence { began, asked: Some(now) });
                true
            }
            Step::Prove { expected, asked: None } => self.send_proof(wire, mend, expected, now, settled),
            _ => {
                self.ask(mend, wire.ground);
                false
            }
        }
    }

    fn take_step(&mut self, mend: Mend, step: Step) {
        self.mend = Some(Mend { step, ..mend });
    }

    fn send_proof(
        &mut self,
        wire: &mut Wire<'_>,
        mend: Mend,
        expected: Ends,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> bool {
        let number = self.log.base();
        let Some(rec) = self.log.sent(number) else {
            self.mend = None;
            return false;
        };
        let place = Place { id: mend.id, seq: 1, op: Op::Commit };
        match wire.record(&mut self.scratch, rec, place, Guard::IdAndSequence(number, expected.subject)) {
            Ok(_) => {
                self.take_step(mend, Step::Prove { expected, asked: Some(now) });
                true
            }
            Err(error) => {
                if let Some(rec) = self.log.give_up_first() {
                    settled.push(Settled::Refused { proven: None, rec, error });
                }
                self.take_step(mend, Step::Read { rested: false });
                false
            }
        }
    }

    /// Asks the administration what this step needs to know.
    fn ask(&mut self, mend: Mend, ground: &Ground) {
        if self.question.is_some() {
            return;
        }
        let (admin, stream) = (ground.admin.clone(), ground.streams[self.number].clone());
        match mend.step {
            Step::Read { .. } => {
                let floor = self.log.floor();
                self.question = Some(Box::pin(async move { tail::read(&admin, &stream, floor).await.map(Said::Tail) }));
            }
            Step::Ask { .. } => {
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

    /// Takes an answer to the old batch.
    pub(super) fn mend_answered(
        &mut self,
        mend: Mend,
        answer: Answer,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> Asked {
        match mend.step {
            Step::Fence { began, .. } => self.fence_answered(answer, mend, began),
            Step::Prove { expected, asked: Some(_) } => self.proof_answered(answer, mend, expected, now, settled),
            _ => Asked::Nothing,
        }
    }

    fn fence_answered(&mut self, answer: Answer, mend: Mend, began: Instant) -> Asked {
        let again = Step::Fence { began, asked: None };
        match answer {
            Answer::Stored { .. } => self.fenced(mend.id),
            Answer::Refused(error) if error.err_code == code::FAST_UNKNOWN => self.fenced(mend.id),
            Answer::Refused(_) => {
                self.take_step(mend, again);
                Asked::Hold
            }
            Answer::NoResponders => {
                self.take_step(mend, again);
                Asked::HoldAndCheck
            }
            _ => Asked::Nothing,
        }
    }

    /// The server knows the batch no more.
    pub(super) fn fenced(&mut self, id: u64) -> Asked {
        self.mend = Some(Mend::read(id));
        Asked::Nothing
    }

    fn proof_answered(
        &mut self,
        answer: Answer,
        mend: Mend,
        expected: Ends,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) -> Asked {
        let again = Step::Prove { expected, asked: None };
        match answer {
            // A leader that still has the old batch ends it with this message, stores nothing of it and answers with the
            // batch's own end; and an old leader's answer to a fence may come late. Neither is about this record.
            Answer::Stored { seq, count, .. } if seq <= expected.stream || count.is_some_and(|count| count != 1) => {
                self.fenced(mend.id)
            }
            Answer::Stored { seq, .. } => {
                self.stored_below(self.log.base() + 1, |_| Some(seq), settled);
                // Nothing old can arrive any more.
                self.log.unsend();
                self.mend = None;
                Asked::Nothing
            }
            Answer::Refused(error) if code::STREAM_WRONG_SEQUENCE.contains(&error.err_code) => self.fenced(mend.id),
            Answer::NoResponders => {
                self.take_step(mend, again);
                Asked::HoldAndCheck
            }
            Answer::Refused(error) => match refusal(&error) {
                Refusal::Transient => {
                    self.take_step(mend, again);
                    Asked::Hold
                }
                Refusal::Final => {
                    self.blamed = Some((self.log.base(), refused(&error)));
                    self.fenced(mend.id)
                }
                Refusal::Unknown => {
                    self.mend = Some(Mend::fence(mend.id, now));
                    Asked::Trouble(from_api(&error))
                }
            },
            _ => Asked::Nothing,
        }
    }

    /// Takes the administration's answer.
    pub(super) fn mend_said(
        &mut self,
        mend: Mend,
        said: Said,
        now: Instant,
        hash: KeyHash,
        settled: &mut Vec<Settled>,
    ) {
        match (said, mend.step) {
            (Said::Tail(tail), Step::Read { rested }) => {
                let found = self.log.find(&tail, |message| stored_hash(hash, message));
                self.stored_below(found.end, |number| found.sequences.get(&number).copied(), settled);
                self.log.ends_at(tail.last);
                self.go_on_behind(&tail, found.last, mend, rested, now, settled);
            }
            // Something was stored since the stream's end was read: it may be ours.
            (Said::Last(subject), Step::Ask { last }) if subject > last => {
                self.take_step(mend, Step::Read { rested: false });
            }
            (Said::Last(subject), Step::Ask { last }) => {
                self.take_step(mend, Step::Prove { expected: Ends { subject, stream: last }, asked: None });
            }
            _ => {}
        }
    }

    /// What was found at the stream's end, up to the sequence `found`, is settled: the next step for what is left of the
    /// batch.
    fn go_on_behind(
        &mut self,
        tail: &Tail,
        found: u64,
        mend: Mend,
        rested: bool,
        now: Instant,
        settled: &mut Vec<Settled>,
    ) {
        let rest = Step::Rest { until: now + FENCE_MAX };
        match self.why_refused() {
            _ if !self.log.has_sent() => self.mend = None,
            None if tail.is_whole_behind(found) => self.take_step(mend, Step::Ask { last: tail.last }),
            // Copies of those behind it may be on their way between the nodes, and no commit will end their batch.
            None if self.replicas > 1 && !rested => self.take_step(mend, rest),
            None => {
                let lost = self.log.take_sent(|_| true);
                settled.extend(lost.into_iter().map(|rec| Settled::Lost { rec }));
                self.mend = None;
            }
            Some(error) if self.replicas > 1 && !rested => {
                self.blamed = Some((self.log.base(), error));
                self.take_step(mend, rest);
            }
            Some(error) => {
                self.refuse_first(error, settled);
                self.log.unsend();
                self.mend = None;
            }
        }
    }

    /// Why the server will not take the first record on its way, if it has said so.
    fn why_refused(&mut self) -> Option<Error> {
        let base = self.log.base();
        let blamed = self.blamed.take_if(|(number, _)| *number <= base);
        let partition = self.log.sent(base).map(|first| first.partition);
        let forbidden = self.forbidden.take_if(|(of, _)| partition == Some(*of));
        let blamed = blamed.filter(|(number, _)| *number == base).map(|(_, error)| error);
        blamed.or(forbidden.map(|(_, error)| error))
    }

    /// The server refuses this user's messages to the partition of the record that was sent again.
    pub(super) fn proof_denied(&mut self, partition: Partition, error: &Error) {
        if let Some(Mend { id, step: Step::Prove { asked: Some(_), .. } }) = self.mend {
            self.forbidden = Some((partition, error.clone()));
            self.mend = Some(Mend::read(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::StoredMessage;
    use crate::sink::rec::Rec;

    /// A run whose only record was sent again as the commit of the old batch 7, when the stream ended at 120.
    fn proving() -> Run {
        let mut run = Run::new(0, 100, 3);
        run.log.push(Rec { batch: 0, index: 0, partition: Partition(0), key: 1, copy: None });
        run.log.went(10);
        let expected = Ends { subject: 90, stream: 120 };
        run.mend = Some(Mend { id: 7, step: Step::Prove { expected, asked: Some(Instant::now()) } });
        run
    }

    fn answered(seq: u64, count: Option<u64>) -> (Option<Mend>, usize) {
        let (mut run, mut settled) = (proving(), Vec::new());
        run.answered(Answer::Stored { seq, count, duplicate: false }, Instant::now(), &mut settled);
        (run.mend, settled.len())
    }

    /// A stream's end behind sequence 100, of which somebody else wrote these and the others are deleted.
    fn tail(sequences: &[u64], last: u64) -> Tail {
        let message = |seq: &u64| StoredMessage {
            subject: "t.9".into(),
            seq: *seq,
            data: bytes::Bytes::new(),
            hdrs: bytes::Bytes::new(),
            time: jiff::Timestamp::UNIX_EPOCH,
        };
        Tail { after: 100, messages: sequences.iter().map(message).collect(), last }
    }

    #[test]
    fn where_something_was_deleted_what_is_not_found_may_have_been_stored() {
        let (now, mut settled) = (Instant::now(), Vec::new());
        let mut read = |run: &mut Run, tail: Tail, rested: bool| {
            let mend = Mend { id: 7, step: Step::Read { rested } };
            run.mend_said(mend, Said::Tail(tail), now, KeyHash::new(), &mut settled);
            (run.mend.map(|mend| mend.step), settled.len())
        };
        let mut run = proving();
        assert_eq!(read(&mut run, tail(&[101, 102], 102), false), (Some(Step::Ask { last: 102 }), 0));
        let until = now + FENCE_MAX;
        assert_eq!(read(&mut run, tail(&[101, 103], 103), false), (Some(Step::Rest { until }), 0), "of three copies");
        assert_eq!(read(&mut run, tail(&[], 103), true), (None, 1));
        assert!(!run.log.has_sent() && matches!(settled[..], [Settled::Lost { .. }]));
    }

    #[test]
    fn the_end_of_the_old_batch_is_no_ack_of_the_record_that_ended_it() {
        // What a new leader says that still has the old batch, and what an old one says late to a fence.
        for (seq, count) in [(120, Some(21)), (120, Some(1)), (120, None), (125, Some(26))] {
            assert_eq!(answered(seq, count), (Some(Mend::read(7)), 0), "{seq} {count:?}");
        }
        for (seq, count) in [(121, None), (121, Some(1)), (130, Some(1))] {
            assert_eq!(answered(seq, count), (None, 1), "{seq} {count:?}");
        }
    }
}
