//! What a group has parked, to be looked at, replayed and discarded.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use jiff::Timestamp;
use tokio::time::Instant;

use super::entry::{ParkedScope, Token};
use super::filter::ParkedFilter;
use super::follower::{Follower, ParkedRecord, Selection};
use super::halt::Halt;
use super::replay::{Act, ReplayOptions, ReplayReport, replay};
use super::writer::{Outgoing, Writer};
use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::headers::Headers;
use crate::subscription::handler::{Delivery, Handler, HandlerError};
use crate::topic::{GroupName, Offset, Partition, TopicInfo, not_owner};

/// What a group has parked of a topic.
///
/// Looking changes nothing, and needs no member of the group. A replay runs beside the group's members: they go on with all
/// other keys, and with this one once nothing of it is parked any more.
#[derive(Debug, Clone)]
pub struct Parked {
    pub(super) driver: Arc<dyn Driver>,
    /// The topic whose records are parked.
    pub(super) topic: TopicInfo,
    /// The topic that holds them.
    pub(super) parking: TopicInfo,
    pub(super) group: GroupName,
}

/// A parked key with all that queues behind, or a record that is parked alone.
#[derive(Debug, Clone)]
pub struct ParkedQueue {
    /// Which of the two.
    pub scope: ParkedScope,
    /// Its partition.
    pub partition: Partition,
    /// Its key; bytes that are not UTF-8 are replaced.
    pub key: String,
    /// Parked records that wait.
    pub records: u64,
    /// The first of them, without its body.
    pub first: ParkedRecord,
    /// When it was parked.
    pub since: Timestamp,
}

/// Longest error kept of each queue in a list.
const LISTED_ERROR_BYTES_MAX: usize = 256;

impl Parked {
    pub(crate) async fn open(driver: Arc<dyn Driver>, topic: TopicInfo, group: GroupName) -> Result<Self> {
        let parking = driver.topic(&topic.name.parking(&group)).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => not_found(&topic, &group),
            _ => error,
        })?;
        Ok(Self { driver, topic, parking, group })
    }

    /// Parked keys, and records that are parked alone, in the order of their parking in each partition.
    ///
    /// # Errors
    /// What the backend says.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn queues(&self, filter: &ParkedFilter) -> Result<Vec<ParkedQueue>> {
        let mut queues = Vec::new();
        let collect = |queue| {
            queues.push(queue);
            true
        };
        self.each_queue(filter, collect).await?;
        Ok(queues)
    }

    /// Hands what [`queues`](Self::queues) gives to `each`, one after the other, until it gives `false`.
    ///
    /// Memory: a page of the parking topic, at most 4 MiB, and less than 200 bytes for each key, or record that is parked
    /// alone, of the partition at hand; it does not grow with what queues behind a key.
    ///
    /// # Errors
    /// What the backend says.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn each_queue(&self, filter: &ParkedFilter, mut each: impl FnMut(ParkedQueue) -> bool) -> Result<()> {
        for partition in self.partitions() {
            let mut follower = self.follow(partition).await?;
            while let Some((records, first)) = follower.next_queue().await? {
                if filter.matches(&first) && !each(queue(partition, records, first)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Records that wait, in all.
    ///
    /// # Errors
    /// What the backend says.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn count(&self) -> Result<u64> {
        let mut count = 0;
        for partition in self.partitions() {
            count += self.follow(partition).await?.head.open_in_all();
        }
        Ok(count)
    }

    /// Hands each parked record that waits to `each`, in the order of their parking in each partition, until it gives
    /// `false`. In memory are a page at a time and some bytes for each key.
    ///
    /// # Errors
    /// What the backend says.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn records(&self, filter: &ParkedFilter, mut each: impl FnMut(ParkedRecord) -> bool) -> Result<()> {
        for partition in self.partitions() {
            let mut selection = Selection::new(filter.clone());
            let mut follower = self.follow(partition).await?;
            while let Some((id, parked)) = follower.next_open().await? {
                if selection.wants(&id, &parked) && !each(parked) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Runs the handler for parked records, those of a key in order. What it handles is parked no more; a key whose record
    /// fails again is left for this run. Nothing is published to the topic.
    ///
    /// Records that are parked meanwhile run too, so a key whose queue was emptied flows again. Several replays at once
    /// share the partitions.
    ///
    /// # Errors
    /// `Invalid/…` for a bad option; what the backend says. What was handled before stays handled.
    ///
    /// # Cancel safety
    /// A replay that is dropped, or whose process dies, loses nothing; records in hand (one for each key at once, so one by
    /// default) run again.
    ///
    /// # Source
    /// Promise C8.
    pub async fn replay<H: Handler>(&self, options: ReplayOptions, handler: H) -> Result<ReplayReport> {
        self.replay_until(options, handler, std::future::pending()).await
    }

    /// [`replay`](Self::replay) that begins nothing more once `stop` is done: what runs then ends, is written down and is in
    /// the report. An attempt that fails meanwhile is not made again, and its record counts as failed.
    ///
    /// # Errors
    /// Those of [`replay`](Self::replay).
    ///
    /// # Cancel safety
    /// As [`replay`](Self::replay).
    ///
    /// # Source
    /// Promise C8.
    pub async fn replay_until<H: Handler>(
        &self,
        options: ReplayOptions,
        handler: H,
        stop: impl Future<Output = ()>,
    ) -> Result<ReplayReport> {
        options.validate().map_err(|error| error.at("replay", &self.parking.name))?;
        let halt = Halt::default();
        let act = Act::Run(Arc::new(handler));
        let mut run = pin!(replay(self, options, act, halt.clone()));
        let mut stop = pin!(stop);
        let mut is_stopped = false;
        let outcome = poll_fn(|context| {
            if !is_stopped && stop.as_mut().poll(context).is_ready() {
                is_stopped = true;
                halt.now();
            }
            run.as_mut().poll(context)
        });
        outcome.await.map_err(|error| error.at("replay", &self.parking.name))
    }

    /// Gives parked records up, with a reason that stays in the parking topic until it is trimmed: all of the chosen keys,
    /// or only the first of each.
    ///
    /// # Errors
    /// `Invalid/NoReason`; what the backend says.
    ///
    /// # Cancel safety
    /// What was given up stays so; a further call gives up the rest.
    pub async fn discard(&self, filter: ParkedFilter, extent: Extent, reason: &str) -> Result<ReplayReport> {
        if reason.trim().is_empty() {
            let error = Error::invalid("NoReason").cause("a discarded record leaves a reason").next("give one");
            return Err(error.at("discard", &self.parking.name));
        }
        let options = ReplayOptions { filter, ..ReplayOptions::default() };
        let act: Act<NoHandler> = Act::Discard { reason: reason.into(), extent };
        let report = replay(self, options, act, Halt::default()).await;
        report.map_err(|error| error.at("discard", &self.parking.name))
    }

    /// Lets records at or above these offsets run again that were parked and replayed or discarded: for a group that is
    /// moved back. What is still parked stays so, and its records do not run when they come again. Call it before the
    /// committed offsets are moved, while the group has no members.
    ///
    /// # Errors
    /// `Fenced/NotOwner` if a member began meanwhile; what the backend says.
    ///
    /// # Cancel safety
    /// Partitions that were not reached keep what they know; a further call does the rest.
    pub async fn forget_closed(&self, from: &[(Partition, Offset)]) -> Result<()> {
        let writer = Writer::open(&*self.driver, &self.parking, self.topic.incarnation).await?;
        let mut outcome = Ok(());
        for (partition, offset) in from {
            outcome = outcome.and(self.reset(&writer, *partition, *offset).await);
        }
        writer.close(Instant::now() + self.driver.patience() + Duration::from_secs(1)).await?;
        outcome.map_err(|error| error.at("forget", &self.parking.name))
    }

    async fn reset(&self, writer: &Writer, partition: Partition, offset: Offset) -> Result<()> {
        let mut follower = self.follower(partition);
        follower.catch_up().await?;
        if follower.head.is_empty() {
            return Ok(());
        }
        let token = Token::random();
        let reset = writer.entry(Headers::default(), "reset", token).with("busline-offset", offset).block();
        let reset = Outgoing { partition, key: Bytes::new(), header_block: reset, body: Bytes::new() };
        for entry in [writer.control(partition, "owner", token), reset] {
            writer.write(&[entry]).await.into_iter().try_for_each(|outcome| outcome.map(drop))?;
        }
        follower.catch_up().await?;
        if follower.head.owner() == Some(token) { Ok(()) } else { Err(not_owner(partition)) }
    }

    /// The parking topic's name.
    pub fn topic(&self) -> &crate::topic::TopicName {
        &self.parking.name
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.topic.spec.partitions).map(Partition)
    }

    pub(super) fn follower(&self, partition: Partition) -> Follower {
        Follower::new(Arc::clone(&self.driver), self.parking.name.clone(), partition, self.topic.incarnation)
    }

    async fn follow(&self, partition: Partition) -> Result<Follower> {
        let mut follower = self.follower(partition);
        follower.catch_up().await?;
        Ok(follower)
    }
}

/// Stands where a discard has no handler.
struct NoHandler;

impl Handler for NoHandler {
    async fn handle(&self, _delivery: Delivery) -> std::result::Result<(), HandlerError> {
        Ok(())
    }
}

/// How much of a key is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All its parked records.
    All,
    /// The first one.
    First,
}

fn queue(partition: Partition, records: u64, mut first: ParkedRecord) -> ParkedQueue {
    first.record.body = bytes::Bytes::new();
    for error in [Some(&mut first.diagnosis.error), first.replay_error.as_mut()].into_iter().flatten() {
        error.truncate(error.floor_char_boundary(LISTED_ERROR_BYTES_MAX));
    }
    ParkedQueue {
        scope: first.scope,
        partition,
        key: String::from_utf8_lossy(&first.record.key).into_owned(),
        records,
        since: first.record.time,
        first,
    }
}

fn not_found(topic: &TopicInfo, group: &GroupName) -> Error {
    Error::new(ErrorKind::NotFound, "Parking")
        .cause(format!("group {group} has never parked anything of topic {}", topic.name))
        .next("see the groups with 'busline group list'")
        .at("parked", group)
}
