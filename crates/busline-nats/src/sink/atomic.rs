//! One batch that is stored whole or not at all: a batch of the server's, at most 1,000 messages of one stream.
//!
//! The first message carries an id. The server refuses a second batch with an id that it has stored, so the whole batch
//! may be sent again after a break: one copy is stored, and a refusal as a duplicate says that it was the first.

use std::sync::Arc;

use busline_core::{Ack, Batch, Error, ErrorKind, Result};
use tokio::time::Instant;

use super::answer::Answer;
use super::ground::Ground;
use super::heads::Heads;
use super::rec::Copied;
use crate::error::{Refusal, code, refusal, refused};
use crate::link::Link;
use crate::protocol::push_number;
use crate::records::KeyIn;

/// Numbers that a batch may use for its answers: one for each time it is sent.
pub(crate) const NUMBERS: u64 = 1 << 32;

/// An atomic batch under way. Nothing else of its sink is.
pub(crate) struct Atomic {
    ground: Arc<Ground>,
    records: Records,
    /// The number in the first message's id.
    first: u64,
    /// How often something was sent that has an answer of its own.
    attempt: u64,
    phase: Phase,
    /// A copy may be stored.
    doubt: bool,
    first_sent: Option<Instant>,
    result: Option<Result<u64>>,
    heads: Heads,
}

/// The records: as they came, or copies after the batch was reported at its deadline.
enum Records {
    Batch(Batch),
    Copies(Vec<Copied>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The record with this index is to be sent next.
    Sending(usize),
    /// All is sent.
    Answering(Instant),
    /// The first record is to be sent alone, to learn where its first copy stands.
    Asking,
    Asked(Instant),
    Done,
}

/// What an answer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing that concerns others.
    On,
    /// The server has no room: wait a moment.
    Hold,
    /// The batch is settled.
    Done,
}

impl Atomic {
    pub(crate) fn new(ground: Arc<Ground>, batch: Batch, first: u64) -> Self {
        Self {
            ground,
            records: Records::Batch(batch),
            first,
            attempt: 0,
            phase: Phase::Sending(0),
            doubt: false,
            first_sent: None,
            result: None,
            heads: Heads::default(),
        }
    }

    /// Whether all records go to one stream; a batch of the server's knows no other.
    pub(crate) fn is_of_one_stream(ground: &Ground, batch: &Batch) -> bool {
        let mut streams = batch.records().map(|record| ground.stream_number(record.partition));
        let first = streams.next();
        streams.all(|stream| Some(stream) == first)
    }

    fn len(&self) -> usize {
        match &self.records {
            Records::Batch(batch) => batch.len(),
            Records::Copies(copies) => copies.len(),
        }
    }

    /// Since when an answer is missing.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Answering(since) | Phase::Asked(since) => Some(since),
            _ => None,
        }
    }

    /// Whether a copy may be stored that is older than the server's memory of ids, so that no further one may be sent.
    pub(crate) fn is_forgotten(&self, now: Instant) -> bool {
        let repeat_max = self.ground.repeat_max();
        self.doubt && self.first_sent.is_some_and(|first| now.saturating_duration_since(first) >= repeat_max)
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt || self.first_sent.is_some()
    }

    /// The batch, if it was not reported yet.
    pub(crate) fn batch(&self) -> Option<&Batch> {
        match &self.records {
            Records::Batch(batch) => Some(batch),
            Records::Copies(_) => None,
        }
    }

    /// Takes the batch out to be reported; copies stay, for it is still to be settled at the server.
    pub(crate) fn take_batch(&mut self) -> Option<Batch> {
        let Records::Batch(batch) = &self.records else { return None };
        let copies = Records::Copies(batch.records().map(|record| Copied::of(&record)).collect());
        match std::mem::replace(&mut self.records, copies) {
            Records::Batch(batch) => Some(batch),
            Records::Copies(_) => None,
        }
    }

    /// Sends what the link has room for.
    pub(crate) fn send(&mut self, link: &mut Link, now: Instant) -> Progress {
        match self.send_on(link, now) {
            Ok(()) => Progress::On,
            // Without its last message the rest is nothing.
            Err(error) => self.finish(Err(error)),
        }
    }

    fn send_on(&mut self, link: &mut Link, now: Instant) -> Result<()> {
        if self.phase == Phase::Asking {
            self.send_record(link, 0, true)?;
            self.phase = Phase::Asked(now);
        }
        while let Phase::Sending(index) = self.phase
            && link.has_room()
        {
            self.send_record(link, index, false)?;
            self.first_sent.get_or_insert(now);
            self.phase = if index + 1 == self.len() { Phase::Answering(now) } else { Phase::Sending(index + 1) };
        }
        Ok(())
    }

    /// # Errors
    /// `TooLarge/Record`: nothing of it was sent.
    fn send_record(&mut self, link: &mut Link, index: usize, alone: bool) -> Result<()> {
        let last = index + 1 == self.len();
        if index == 0 || last {
            self.attempt += u64::from(index == 0);
        }
        let record = match &self.records {
            Records::Batch(batch) => batch.record(index),
            Records::Copies(copies) => copies[index].as_record(),
        };
        let token = self.first + self.attempt;
        let heads = self.heads.begin();
        // A batch of one record is a message like any other.
        if !alone && (index > 0 || !last) {
            let id = format!("{}-{token}", self.ground.incarnation);
            heads.text("Nats-Batch-Id", &id).number("Nats-Batch-Sequence", index as u64 + 1);
            if last {
                heads.text("Nats-Batch-Commit", "1");
            }
        }
        if index == 0 {
            heads.message_id(&self.ground.incarnation, self.first);
        }
        if self.ground.key_in == KeyIn::Header {
            heads.key(record.key);
        }
        let block = heads.stored(record.header_block).end();
        let mut reply = Vec::new();
        if last || alone {
            reply.extend_from_slice(self.ground.inbox.as_bytes());
            push_number(&mut reply, token);
        }
        self.ground.publish(link, record.partition, &reply, block, record.body)
    }

    /// The connection is gone: all of it is to be sent again, under a batch id of its own.
    pub(crate) fn broken(&mut self) {
        match self.phase {
            Phase::Sending(index) => {
                self.doubt |= index == self.len();
                self.phase = Phase::Sending(0);
            }
            Phase::Answering(_) => {
                self.doubt = true;
                self.phase = Phase::Sending(0);
            }
            Phase::Asked(_) => self.phase = Phase::Asking,
            Phase::Asking | Phase::Done => {}
        }
    }

    /// Takes an answer to the message with this number.
    pub(crate) fn answered(&mut self, number: u64, answer: Answer) -> Progress {
        let current = number == self.first + self.attempt && self.waits_since().is_some();
        match answer {
            // Also of an earlier copy: it is stored, and no other one can be.
            Answer::Stored { seq, .. } if (self.first..=self.first + self.attempt).contains(&number) => {
                let first =
                    if matches!(self.phase, Phase::Asked(_)) && current { seq } else { seq + 1 - self.len() as u64 };
                self.finish(Ok(first))
            }
            Answer::NoResponders if current => self.again(),
            Answer::Refused(error) if current => self.refused(&error),
            _ => Progress::On,
        }
    }

    fn refused(&mut self, error: &crate::error::ApiError) -> Progress {
        if error.err_code == code::BATCH_DUPLICATE {
            self.phase = Phase::Asking;
            return Progress::On;
        }
        let class = match error.err_code {
            10_174..=10_179 | 10_199 | 10_200 if error.err_code != code::BATCH_INCOMPLETE => Refusal::Final,
            // Certainly not stored, and the batch is as good as never sent.
            code::BATCH_INCOMPLETE => Refusal::Transient,
            _ => refusal(error),
        };
        match class {
            Refusal::Transient => self.again(),
            Refusal::Final => {
                let error = refused(error).at("publish", &self.ground.topic.name);
                self.finish(Err(error))
            }
            Refusal::Unknown => {
                self.doubt = true;
                self.again()
            }
        }
    }

    fn again(&mut self) -> Progress {
        self.phase = if matches!(self.phase, Phase::Asked(_)) { Phase::Asking } else { Phase::Sending(0) };
        if !self.doubt {
            self.first_sent = None;
        }
        Progress::Hold
    }

    fn finish(&mut self, result: Result<u64>) -> Progress {
        self.result = Some(result);
        self.phase = Phase::Done;
        Progress::Done
    }

    /// The batch, unless it was reported before, with the outcome of each record.
    pub(crate) fn into_outcomes(self) -> (Option<Batch>, Vec<Result<Ack>>) {
        let Records::Batch(batch) = self.records else { return (None, Vec::new()) };
        let outcomes = match self.result {
            Some(Ok(first)) => {
                let acked = |(record, seq): (busline_core::RecordRef<'_>, u64)| {
                    Ok(self.ground.ack(record.partition, Some(seq)))
                };
                batch.records().zip(first..).map(acked).collect()
            }
            Some(Err(error)) => {
                let error = if self.doubt { error.indeterminate() } else { error };
                vec![Err(error); batch.len()]
            }
            None => vec![Err(self.ground.overdue(None).indeterminate()); batch.len()],
        };
        (Some(batch), outcomes)
    }

    /// The error of a batch that reaches over several streams.
    pub(crate) fn several_streams(ground: &Ground) -> Error {
        Error::new(ErrorKind::Unsupported, "AtomicStreams")
            .cause(format!("the batch reaches over several of the topic's {} streams", ground.streams.len()))
            .next("use keys of one stream, or a topic of one stream")
            .at("publish", &ground.topic.name)
    }
}
