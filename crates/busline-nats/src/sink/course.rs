//! The messages of one fast batch: everything but subject and body stands in the subject for the answer.

use tokio::time::Instant;

use super::ground::Ground;
use super::heads::Heads;
use super::key_hash::KeyHash;
use super::pending::{Pending, forgotten};
use super::rec::Rec;
use crate::admin::StoredMessage;
use crate::link::Link;
use crate::protocol::push_number;
use busline_core::{Partition, Result};

/// Messages from one flow ack to the next that are asked for; the server gives no more.
pub(crate) const FLOW: u64 = 500;

/// What a message of a fast batch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Begins a batch.
    Start = 0,
    Append = 1,
    /// Is stored and ends the batch; as the first one it is a batch of its own.
    Commit = 2,
    /// Ends the batch and is not stored.
    End = 3,
    /// Asks for the last ack again.
    Ping = 4,
}

/// A fast batch of the server's.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) id: u64,
    /// The number of its first record.
    pub(crate) first: u64,
    /// Records sent.
    pub(crate) records: u64,
    /// Those up to here are stored.
    pub(crate) acked: u64,
    /// Messages from one flow ack to the next, as the server says.
    pub(crate) flow: u64,
    pub(crate) phase: Phase,
    /// The stream's last sequence right before the first record, if it is known.
    pub(crate) start: Option<u64>,
    /// When something was last sent or heard.
    pub(crate) moved: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The first message waits for its answer, and nothing else is sent.
    Starting,
    Running,
    /// The commit was sent.
    Ending,
}

/// Flows that may be sent ahead of the acks.
const OUTSTANDING: u64 = 2;

impl Course {
    /// Whether the server's flow lets another message go.
    pub(crate) fn has_room(&self) -> bool {
        self.records < self.acked + self.flow * OUTSTANDING
    }

    /// Whether the server will speak by itself once this many records are sent.
    pub(crate) fn is_acked_at(&self, records: u64) -> bool {
        records >= self.acked + self.flow
    }

    /// The sequence of record `number` of a batch of `count` records whose last one has the sequence `last`.
    pub(crate) fn sequence(&self, number: u64, last: u64, count: u64) -> Option<u64> {
        if count == 1 {
            return Some(last);
        }
        // Nobody wrote in between, so they lie side by side.
        let start = self.start.filter(|start| last.checked_sub(*start) == Some(count))?;
        Some(start + 1 + number - self.first)
    }
}

/// Where a record stands in its batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) seq: u64,
    pub(crate) op: Op,
}

/// What protects a message against a second copy of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Guard {
    None,
    /// The id of the record with this number.
    Id(u64),
    /// The id, and the last sequence of the message's subject.
    IdAndSequence(u64, u64),
}

/// The way of a run's messages to the server.
pub(crate) struct Wire<'a> {
    pub(crate) link: &'a mut Link,
    pub(crate) ground: &'a Ground,
    pub(crate) pending: &'a Pending,
    pub(crate) hash: KeyHash,
}

/// Buffers of a run that are used again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    heads: Heads,
    reply: Vec<u8>,
}

impl Wire<'_> {
    /// Sends a record; gives its hash.
    ///
    /// # Errors
    /// `TooLarge/Record`: nothing was sent.
    pub(crate) fn record(&mut self, scratch: &mut Scratch, rec: &Rec, place: Place, guard: Guard) -> Result<u64> {
        let record = rec.bytes(self.pending).ok_or_else(forgotten)?;
        let heads = scratch.heads.begin();
        match guard {
            Guard::None => {}
            Guard::Id(number) => drop(heads.message_id(&self.ground.incarnation, number)),
            Guard::IdAndSequence(number, last) => {
                heads.message_id(&self.ground.incarnation, number).number("Nats-Expected-Last-Subject-Sequence", last);
            }
        }
        let block = heads.stored(record.header_block).end();
        write_reply(&mut scratch.reply, self.ground, place);
        self.ground.publish(self.link, rec.partition, &scratch.reply, block, record.body)?;
        Ok(record_hash(self.hash, rec.partition, record.body))
    }

    /// Sends a message that is not stored.
    pub(crate) fn word(&mut self, scratch: &mut Scratch, partition: Partition, place: Place) {
        write_reply(&mut scratch.reply, self.ground, place);
        self.link.publish(&self.ground.subjects[partition.0 as usize], &scratch.reply, b"", b"");
    }
}

/// `<inbox><incarnation>-<id>.<flow>.fail.<seq>.<op>.$FI`.
fn write_reply(reply: &mut Vec<u8>, ground: &Ground, place: Place) {
    reply.clear();
    reply.extend_from_slice(ground.inbox.as_bytes());
    reply.extend_from_slice(ground.incarnation.as_bytes());
    reply.push(b'-');
    push_number(reply, place.id);
    reply.push(b'.');
    push_number(reply, FLOW);
    reply.extend_from_slice(b".fail.");
    push_number(reply, place.seq);
    reply.push(b'.');
    push_number(reply, place.op as u64);
    reply.extend_from_slice(b".$FI");
}

fn record_hash(hash: KeyHash, partition: Partition, body: &[u8]) -> u64 {
    hash.of(body) ^ u64::from(partition.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The hash of a stored message, the same as that of the record it was made of.
pub(crate) fn stored_hash(hash: KeyHash, message: &StoredMessage) -> u64 {
    let partition = message.subject.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
    record_hash(hash, Partition(partition.unwrap_or(u32::MAX)), &message.data)
}
