//! The contract of a backend: three small object-safe traits, batch first, no default methods.
//!
//! ```text
//!               Driver ── topics, groups, bounded reads, probe, close
//!   publisher ─→ Sink   : batches in, one outcome for each record out
//!  subscription ← Source : records and assignment changes in, commits out
//! ```
//! What backends share (batching, window, deadlines, failure handling, lanes, retry, parking) is written once, above
//! these traits. How they differ is data ([`Capabilities`], [`SinkOffer`]) or an `Unsupported` error.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::ack::Durability;
use crate::batch::Batch;
use crate::capabilities::{AckPositions, Capabilities};
use crate::error::{Error, ErrorKind, Result};
use crate::record::Record;
use crate::topic::{Bounds, GroupName, Offset, Partition, TopicInfo, TopicName, TopicSpec};

/// A future on the heap: one for each call of a backend, never one for each record.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A backend.
///
/// All methods may be called at once from several tasks. None of them blocks the thread: what blocks runs on threads
/// of the driver. A call that needs the backend retries what is transient for at most [`Driver::patience`] and then
/// fails `Unavailable/…`. Dropping a future of a reading call undoes nothing; dropping one of a changing call leaves
/// it open whether the change was made. After [`Driver::close`] every call fails `Closed/Bus`.
pub trait Driver: Send + Sync + fmt::Debug {
    /// What this backend can do, as found when it was opened.
    fn capabilities(&self) -> &Capabilities;

    /// Longest time that a call waits for a backend that does not answer.
    fn patience(&self) -> Duration;

    /// Makes a topic.
    ///
    /// # Errors
    /// `AlreadyExists/Topic`; `AlreadyExists/CollidingName` for a name that differs only in dots and underscores;
    /// `Unsupported/…` for a field of the spec that this backend cannot hold.
    fn create_topic<'a>(&'a self, name: &'a TopicName, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo>>;

    /// Changes a topic to this spec. The partition count never changes.
    ///
    /// # Errors
    /// `NotFound/Topic`; `Invalid/PartitionCount` if the counts differ; `Unsupported/…`.
    fn update_topic<'a>(&'a self, name: &'a TopicName, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo>>;

    /// The topic of this name.
    ///
    /// # Errors
    /// `NotFound/Topic`.
    fn topic<'a>(&'a self, name: &'a TopicName) -> BoxFuture<'a, Result<TopicInfo>>;

    /// All topics, by name.
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>>>;

    /// Deletes a topic with its records and the committed offsets of its groups.
    ///
    /// # Errors
    /// `NotFound/Topic`; `Unavailable/GroupActive` while a group with members reads it.
    fn delete_topic<'a>(&'a self, name: &'a TopicName) -> BoxFuture<'a, Result<()>>;

    /// Deletes the records of a partition below this offset, and gives the partition's start afterwards.
    ///
    /// # Errors
    /// `NotFound/Topic`, `NotFound/Partition`.
    fn trim<'a>(&'a self, topic: &'a TopicName, partition: Partition, below: Offset) -> BoxFuture<'a, Result<Offset>>;

    /// Opens the writing end of a topic.
    ///
    /// # Errors
    /// `Unsupported/…` for what the request asks and this backend cannot; `Denied/…` if it may not write.
    fn sink(&self, request: SinkRequest) -> BoxFuture<'_, Result<Arc<dyn Sink>>>;

    /// Joins a group and opens the reading end of a topic.
    ///
    /// # Errors
    /// `Unsupported/Groups` without [`Capabilities::groups`]; `NotFound/Topic`.
    fn source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Arc<dyn Source>>>;

    /// Reads records of one partition without a group, in order.
    ///
    /// Gives at least one record if one exists in the range, fewer than asked for when the bounds are reached, and
    /// none only if the range holds none. Never waits for records.
    ///
    /// # Errors
    /// `NotFound/Topic`, `NotFound/Partition`; `Corrupt/Checksum` with the offset of a damaged record.
    fn read<'a>(&'a self, topic: &'a TopicName, request: ReadRequest) -> BoxFuture<'a, Result<Vec<Record>>>;

    /// What a partition holds.
    ///
    /// # Errors
    /// `NotFound/Topic`, `NotFound/Partition`.
    fn bounds<'a>(&'a self, topic: &'a TopicName, partition: Partition) -> BoxFuture<'a, Result<Bounds>>;

    /// The first offset whose record was stored at or after this time, or the end.
    ///
    /// # Errors
    /// `NotFound/Topic`, `NotFound/Partition`.
    fn offset_at<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        time: Timestamp,
    ) -> BoxFuture<'a, Result<Offset>>;

    /// The committed offset of each partition in order; `None` where the group has none.
    ///
    /// # Errors
    /// `NotFound/Topic`; `Unsupported/Groups`.
    fn committed<'a>(
        &'a self,
        group: &'a GroupName,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<Option<Offset>>>>;

    /// How far the group is behind in each partition, in order. Counted by what is really there to be read, so it is 0
    /// once everything was finished, whatever numbers the backend gives to its records.
    ///
    /// # Errors
    /// `NotFound/Topic`; `Unsupported/Groups`.
    fn lag<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Lag>>>;

    /// Moves committed offsets of a group that has no members. Not atomic over partitions where the backend is not.
    ///
    /// # Errors
    /// `Unavailable/GroupActive` with the members' names; `Invalid/Offset` beyond the end of a partition, since records that
    /// come there would be passed over; `NotFound/Topic`, `NotFound/Partition`; `Unsupported/Groups`.
    fn move_committed<'a>(
        &'a self,
        group: &'a GroupName,
        topic: &'a TopicName,
        to: &'a [(Partition, Offset)],
    ) -> BoxFuture<'a, Result<()>>;

    /// Forgets the committed offsets of a group that has no members.
    ///
    /// # Errors
    /// `NotFound/Group`; `Unavailable/GroupActive` with the members' names; `Unsupported/Groups`.
    fn delete_group<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<()>>;

    /// Every pair of a group and a topic that has members or committed offsets, by name.
    ///
    /// # Errors
    /// `Unsupported/Groups`.
    fn groups(&self) -> BoxFuture<'_, Result<Vec<(GroupName, TopicName)>>>;

    /// The live members of a group on a topic, by name.
    ///
    /// # Errors
    /// `NotFound/Topic`; `Unsupported/Groups`.
    fn members<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Member>>>;

    /// Asks the backend for a sign of life.
    ///
    /// # Errors
    /// What keeps it from answering.
    fn probe(&self) -> BoxFuture<'_, Result<()>>;

    /// Ends every thread, connection and descriptor of the driver by this instant. Idempotent. Sinks and sources were
    /// closed before.
    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>>;
}

/// The writing end of a topic.
pub trait Sink: Send + Sync + fmt::Debug {
    /// What this sink gives, fixed when it was opened.
    fn offer(&self) -> SinkOffer;

    /// Takes a batch; its outcomes come by [`Batch::settle`].
    ///
    /// - Shape: 1 to [`SinkOffer::batch_records_max`] records of this topic; outcome `i` belongs to record `i`.
    /// - Order: per key in call order. After a record that is not acked none of its key behind it is acked, in this batch
    ///   and in those taken before its outcome was given: not handed to the backend = `Unavailable/BehindFailed`, else
    ///   indeterminate.
    /// - Waiting: never waits, but may use the processor in proportion to the batch; may settle before it returns. At its
    ///   deadline an unsettled record is reported as indeterminate, or as failed if it was certainly not stored; the sink
    ///   goes on settling what it handed over and sends nothing newer of its key until then. Transient failures are resent
    ///   here; callers never resend.
    /// - Concurrency: one call at a time, from any thread, also from inside `settle`; at most
    ///   [`SinkOffer::batches_in_flight_max`] batches are unsettled at once.
    /// - Success: the ack states the durability really obtained, and the offset where the backend gives one.
    /// - After [`Sink::close`]: every outcome is `Closed/Sink` and nothing is sent.
    /// - A panic ends the publisher: what was taken is indeterminate, the rest fails, and the sink is closed. Parking goes on
    ///   with the sink.
    ///
    /// # Errors
    /// `TooLarge`, `Denied`, `Unavailable` and `Closed` are definite: not stored. `Timeout` is indeterminate.
    ///
    /// # Source
    /// Promises P1, P2, P4, P5 and P6.
    fn publish(&self, batch: Batch);

    /// What keeps this sink from moving at the moment, for health; `None` if nothing does. Never blocks.
    fn trouble(&self) -> Option<Error>;

    /// Ends the sink by this instant: what it holds unsettled is settled, and nothing of it is left. Idempotent.
    ///
    /// Called at the end of a publisher, also of one that gave up on batches which are still unsettled.
    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>>;
}

/// What a publisher asks of its sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkRequest {
    /// The topic, as it exists.
    pub topic: TopicInfo,
    /// Whether each ack must carry an offset.
    pub positions: Positions,
    /// Window in which a second publish of one id is to be told from a first.
    pub deduplicate: Option<Duration>,
}

/// Whether a publisher needs offsets in its acks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Positions {
    /// Whatever the fastest sink gives.
    #[default]
    Any,
    /// Each ack must carry one.
    Required,
}

/// What a sink gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkOffer {
    /// Durability of each ack, as attested by the backend.
    pub durability: Durability,
    /// Whether acks carry offsets.
    pub positions: AckPositions,
    /// Most batches that may be unsettled at once; further ones grow in the publisher meanwhile.
    pub batches_in_flight_max: usize,
    /// Most records of one batch.
    pub batch_records_max: usize,
    /// Most bytes of one batch; a single larger record is a batch of its own.
    pub batch_bytes_max: usize,
}

/// The reading end of a topic: one member of a group.
///
/// A partition is assigned under a *generation*, which differs for each assignment; only equality means anything. Whoever
/// commits names the generation it was given, so that a member that lost a partition without noticing cannot move its offset.
pub trait Source: Send + Sync + fmt::Debug {
    /// The next records, or a change of the assignment.
    ///
    /// - Shape: records of one partition in offset order, at most `records_max` and about `bytes_max`, at least one. A
    ///   `records_max` of 0 asks for changes of the assignment only.
    /// - Order: per partition by offset, each record once under one generation unless [`Source::seek`] goes back.
    /// - Waiting: until there is something to say; a paused partition gives nothing.
    /// - Concurrency: one call at a time; every other method may run meanwhile.
    /// - Transient failures are retried here for ever; the position is kept over reconnects.
    ///
    /// # Errors
    /// `Closed/Source` after close; `NotFound/Topic` if the topic was deleted or replaced.
    ///
    /// # Cancel safety
    /// Nothing is lost: what was not given is given by the next call.
    fn next(&self, records_max: usize, bytes_max: usize) -> BoxFuture<'_, Result<SourceEvent>>;

    /// Stores committed offsets; result `i` belongs to commit `i`.
    ///
    /// Durable like a publish. A commit behind the stored one changes nothing and succeeds.
    ///
    /// # Errors
    /// `Fenced/NotOwner` if the generation is no longer the partition's; `Unavailable/…` if it could not be stored
    /// in time, and then it is not known whether it was.
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'_, Vec<Result<()>>>;

    /// Stops giving records of partitions assigned under these generations, also those that were read ahead; the member
    /// keeps them. Never waits. Calls come in the order of the decisions.
    fn pause(&self, partitions: &[(Partition, u64)]);

    /// Gives records of these partitions again, beginning behind the last one given.
    fn resume(&self, partitions: &[(Partition, u64)]);

    /// Goes on at this offset in a partition that is assigned under this generation; the committed offset stays, and so
    /// does a pause.
    ///
    /// Never called while a [`Source::next`] is under way. Once it has succeeded, the next record given of the partition
    /// is the first at or behind the offset.
    ///
    /// # Errors
    /// `Fenced/NotOwner`.
    fn seek(&self, partition: Partition, generation: u64, offset: Offset) -> BoxFuture<'_, Result<()>>;

    /// Until when what is assigned may be worked on without a further sign of life; `None` while that has no limit.
    ///
    /// Asked before each attempt, since a process that was frozen may run on before it hears of its loss. Never blocks.
    fn holds_until(&self) -> Option<Instant>;

    /// Gives partitions up after their work has ended, so that others may take them at once.
    fn release(&self, partitions: Vec<(Partition, u64)>) -> BoxFuture<'_, Result<()>>;

    /// What keeps this source from moving at the moment, for health; `None` if nothing does. Never blocks.
    fn trouble(&self) -> Option<Error>;

    /// Leaves the group by this instant: gives up what is held and ends the member. Idempotent.
    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>>;
}

/// What a subscription asks of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRequest {
    /// The group to join.
    pub group: GroupName,
    /// The topic, as it exists.
    pub topic: TopicInfo,
    /// The member's name, unique in its group.
    pub member: String,
    /// Where a partition begins for which the group has no committed offset.
    pub start: Start,
    /// Time without a sign of life after which others take a member's partitions.
    pub lease: Duration,
}

/// Where a group begins that has no committed offset. It is resolved to an offset and committed before the first record
/// is handed over.
///
/// # Source
/// Promise C12.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Start {
    /// The first record that is still there.
    #[default]
    Earliest,
    /// Only records stored from now on.
    Latest,
    /// These offsets; partitions that are not named begin at the earliest.
    Offsets(Vec<(Partition, Offset)>),
    /// The first record stored at or after this time.
    Time(Timestamp),
}

/// What a source has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent {
    /// Records of one partition, under the generation it is assigned with.
    Records {
        /// The generation of the partition's assignment.
        generation: u64,
        /// At least one record, in offset order.
        records: Vec<Record>,
    },
    /// Partitions that this member holds from now on.
    Assigned(Vec<Assignment>),
    /// Partitions to finish and then [release](Source::release): nothing more of them is given.
    Revoking(Vec<Partition>),
    /// Partitions that another member may hold already: their work is to be cancelled.
    Lost(Vec<Partition>),
    /// Positions that nothing explains were skipped, from `from` up to, not including, `to`: also those that were deleted
    /// before this group had read them.
    Gap {
        /// The partition.
        partition: Partition,
        /// The first position that is missing.
        from: Offset,
        /// The first one that is there again.
        to: Offset,
    },
}

impl SourceEvent {
    /// Whether it comes of reading; else it is a change of the assignment.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self, Self::Records { .. } | Self::Gap { .. })
    }

    /// Where what this says of a partition's records begins; `None` if it says nothing of them.
    pub fn begins_in(&self, partition: Partition) -> Option<Offset> {
        match self {
            Self::Records { records, .. } => {
                records.first().filter(|record| record.partition == partition).map(|record| record.offset)
            }
            Self::Gap { partition: of, from, .. } => (*of == partition).then_some(*from),
            _ => None,
        }
    }
}

/// A partition that a member holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The partition.
    pub partition: Partition,
    /// Differs for each assignment.
    pub generation: u64,
    /// The committed offset, where reading begins.
    pub committed: Offset,
}

/// One committed offset to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// The partition.
    pub partition: Partition,
    /// The generation it is held under.
    pub generation: u64,
    /// The first offset that is not finished.
    pub offset: Offset,
}

/// How far a group is behind in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// The partition.
    pub partition: Partition,
    /// The group's committed offset, if it has one.
    pub committed: Option<Offset>,
    /// One after the last record.
    pub end: Offset,
    /// Records that are there and not finished.
    pub records: u64,
    /// Records that a limit of retention or a trim has deleted before the group had finished them, since the group is
    /// known. Never goes down. Some of them may have been at work, and may be finished all the same. `None` where the
    /// backend deletes by itself and counts for no group.
    pub deleted: Option<u64>,
}

impl Lag {
    /// The lag where every offset within the bounds counts as a record. What is committed may lie outside of them: below
    /// after a trim, above after a topic was made anew.
    #[must_use]
    pub fn of_offsets(partition: Partition, committed: Option<Offset>, bounds: Bounds, deleted: Option<u64>) -> Self {
        let from = committed.map_or(bounds.start, |offset| offset.clamp(bounds.start, bounds.end));
        Self { partition, committed, end: bounds.end, records: bounds.end.0 - from.0, deleted }
    }
}

/// A live member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name: host, process and a random part.
    pub name: String,
    /// The partitions it holds.
    pub partitions: Vec<Partition>,
}

/// A bounded piece of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    /// The partition.
    pub partition: Partition,
    /// The first offset wanted.
    pub from: Offset,
    /// The first offset not wanted.
    pub to: Offset,
    /// Most records given.
    pub records_max: usize,
    /// Bytes after which no further record is added.
    pub bytes_max: usize,
}

/// The error of each record of a batch that comes after its sink was closed.
pub fn sink_closed(topic: &TopicName) -> Error {
    Error::new(ErrorKind::Closed, "Sink").next("open another publisher").at("publish", topic)
}

/// The error of a call on a source that is closed.
pub fn source_closed() -> Error {
    Error::new(ErrorKind::Closed, "Source").cause("the source is closed").next("subscribe again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_what_is_left_between_the_bounds() {
        let bounds = Bounds { start: Offset(10), end: Offset(30) };
        for (committed, records) in [(None, 20), (Some(25), 5), (Some(3), 20), (Some(30), 0), (Some(99), 0)] {
            let committed = committed.map(Offset);
            let lag = Lag::of_offsets(Partition(1), committed, bounds, Some(4));
            let expected = Lag { partition: Partition(1), committed, end: Offset(30), records, deleted: Some(4) };
            assert_eq!(lag, expected);
        }
    }
}
