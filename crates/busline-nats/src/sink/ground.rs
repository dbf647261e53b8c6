//! What every sink of a topic stands on, and the words of its errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busline_core::{
    Ack, Durability, Error, ErrorKind, Offset, Partition, Result, TopicInfo, sink_closed, topic_not_found,
};

use crate::admin::Admin;
use crate::dialer::Dialer;
use crate::link::Link;
use crate::protocol::parse_number;
use crate::records::KeyIn;
use crate::{names, topics};

/// The topic, the ways to its server, and who this sink is.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) topic: TopicInfo,
    pub(crate) admin: Admin,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) durability: Durability,
    pub(crate) key_in: KeyIn,
    /// The subject of each partition.
    pub(crate) subjects: Vec<Vec<u8>>,
    /// The names of the streams; partition p is in stream p mod their number.
    pub(crate) streams: Vec<String>,
    /// Begins the ids of this sink's messages: no other sink has it.
    pub(crate) incarnation: String,
    /// Begins the subjects that answers come to; the same over all connections, so that late answers arrive too.
    pub(crate) inbox: String,
    /// For how many milliseconds the server knows a message's id.
    ids_known_for: AtomicU64,
}

/// The time by which a copy of a message may reach the server after it was sent, over a connection that is gone by then.
const LATE_MAX: Duration = Duration::from_secs(10);

/// The subscription of a sink's link.
const SUBSCRIPTION: u32 = 1;

impl Ground {
    /// Of a topic whose streams know a message's id for this time.
    pub(crate) fn new(
        topic: TopicInfo,
        admin: Admin,
        dialer: Arc<Dialer>,
        durability: Durability,
        ids_known_for: Duration,
    ) -> Self {
        let partitions = (0..topic.spec.partitions).map(Partition);
        let streams = topic.spec.streams;
        Self {
            subjects: partitions.map(|partition| names::subject(&topic.name, partition).into_bytes()).collect(),
            streams: (0..streams).map(|number| names::stream(&topic.name, streams, number)).collect(),
            incarnation: format!("{:016x}", rand::random::<u64>()),
            inbox: format!("_INBOX.{:016x}{:08x}.", rand::random::<u64>(), rand::random::<u32>()),
            key_in: KeyIn::of(&topic.name),
            topic,
            admin,
            dialer,
            durability,
            ids_known_for: AtomicU64::new(millis(ids_known_for)),
        }
    }

    /// Up to which age of its first copy a record may be sent again under its id without a look at what is stored; zero
    /// where the server forgets an id before a late copy has come.
    pub(crate) fn repeat_max(&self) -> Duration {
        let known = Duration::from_millis(self.ids_known_for.load(Ordering::Relaxed));
        known.min(topics::DUPLICATE_WINDOW).saturating_sub(LATE_MAX)
    }

    /// A new connection that hears the answers to all messages of this sink.
    pub(crate) async fn dial(self: Arc<Self>) -> Result<Link> {
        let mut link = self.dialer.dial().await?;
        link.subscribe(&format!("{}>", self.inbox), SUBSCRIPTION);
        Ok(link)
    }

    /// The number of the stream that carries a partition.
    pub(crate) fn stream_number(&self, partition: Partition) -> usize {
        partition.0 as usize % self.streams.len()
    }

    /// The number that an answer's subject names: `<inbox><incarnation>-<number>.…` of a fast batch, else
    /// `<inbox><number>`.
    pub(crate) fn number_in(&self, subject: &[u8]) -> Option<u64> {
        let rest = subject.strip_prefix(self.inbox.as_bytes())?;
        parse_number(match memchr::memchr(b'.', rest) {
            None => rest,
            Some(dot) => rest[..dot].strip_prefix(self.incarnation.as_bytes())?.strip_prefix(b"-")?,
        })
    }

    /// Adds a message to a partition's stream to what the link sends.
    ///
    /// # Errors
    /// `TooLarge/Record`: nothing was added.
    pub(crate) fn publish(
        &self,
        link: &mut Link,
        partition: Partition,
        reply: &[u8],
        block: &[u8],
        body: &[u8],
    ) -> Result<()> {
        let (bytes, max) = (block.len() + body.len(), link.info().max_payload);
        if bytes > max {
            return Err(self.too_large(bytes, max));
        }
        link.publish(&self.subjects[partition.0 as usize], reply, block, body);
        Ok(())
    }

    pub(crate) fn ack(&self, partition: Partition, offset: Option<u64>) -> Ack {
        Ack { partition, offset: offset.map(Offset), duplicate: false, durability: self.durability }
    }

    /// Whether the topic is still the one that the sink was opened on.
    ///
    /// # Errors
    /// `NotFound/Topic` if it is gone, also if another stands under its name; what keeps the server from saying it.
    pub(crate) async fn check_topic(self: Arc<Self>) -> Result<()> {
        let found = topics::info(&self.admin, &self.topic.name).await?;
        // A limit by age that was lowered shortens it.
        self.ids_known_for.fetch_min(millis(topics::duplicate_window(&found.spec)), Ordering::Relaxed);
        if found.incarnation == self.topic.incarnation { Ok(()) } else { Err(self.gone()) }
    }

    pub(crate) fn gone(&self) -> Error {
        topic_not_found(&self.topic.name).at("publish", &self.topic.name)
    }

    pub(crate) fn closed(&self) -> Error {
        sink_closed(&self.topic.name)
    }

    /// The error of a record whose deadline passed; definite unless some copy of it may be stored.
    pub(crate) fn overdue(&self, trouble: Option<&Error>) -> Error {
        let cause = trouble.map_or_else(|| "the server gave no outcome in time".to_owned(), ToString::to_string);
        Error::new(ErrorKind::Timeout, "Deadline")
            .cause(cause)
            .next("see the bus's health; raise the deadline if the backend is only slow")
            .at("publish", &self.topic.name)
    }

    /// The error of a record whose ack was lost, and of which the topic holds nothing that would tell whether it was stored.
    pub(crate) fn lost(&self) -> Error {
        Error::new(ErrorKind::Timeout, "AckLost")
            .cause("the ack was lost, and the topic has deleted what would tell whether the record was stored")
            .next("see whether its readers have it; keep records for longer than a connection may be away")
            .at("publish", &self.topic.name)
            .indeterminate()
    }

    fn too_large(&self, bytes: usize, max: usize) -> Error {
        Error::new(ErrorKind::TooLarge, "Record")
            .cause(format!("a message of {bytes} bytes where the server takes {max}"))
            .next("publish smaller envelopes, or raise the server's max_payload")
            .at("publish", &self.topic.name)
    }

    /// The partition whose subject a complaint of the server names.
    pub(crate) fn partition_named_in(&self, text: &str) -> Option<Partition> {
        let subject = text.split('"').nth(1)?.as_bytes();
        let place = self.subjects.iter().position(|of| of == subject)?;
        Some(Partition(place as u32))
    }

    pub(crate) fn denied(&self, text: &str) -> Error {
        Error::new(ErrorKind::Denied, "Publish")
            .cause(format!("the server says: {}", busline_core::escaped(text.trim().trim_matches('\''))))
            .next("grant this user the topic's subjects and _INBOX.>")
            .at("publish", &self.topic.name)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
