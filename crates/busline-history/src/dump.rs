use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::entry::{ContentHash, DumpRead, Op, StoredAt};
use crate::history::History;
use crate::position::{Partition, Position};

/// The independent read of the topics of a run, taken after it by another client than the bus.
///
/// It says what is stored, whatever the bus said; a topic that was not read is unknown, not empty.
///
/// # Examples
/// ```
/// use busline_history::{Dump, Row};
///
/// let empty = Dump::of(["orders"], Vec::<Row>::new());
/// assert!(empty.covers("orders") && !empty.covers("payments"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dump {
    rows: Vec<Row>,
    topics: BTreeSet<String>,
    first: BTreeMap<(String, u32), u64>,
    parked: Vec<ParkedRow>,
    parking_topics: BTreeSet<String>,
}

/// One stored record, as another client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Offset in it.
    pub offset: u64,
    /// Id of the envelope; `None` for what is no envelope of this run, for example bytes of a foreign client.
    pub id: Option<String>,
    /// Key as stored.
    pub key: String,
    /// Publisher that stands in the payload.
    pub publisher: String,
    /// Number of the call that stands in the payload.
    pub kseq: u64,
    /// Fingerprint of the stored payload and headers.
    pub hash: ContentHash,
    /// When the backend says it stored it, in nanoseconds since 1970; given only where it promises not to go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ns: Option<u64>,
}

/// One parked record with its diagnosis, as another client sees it; what it lacks is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedRow {
    /// Parking topic.
    pub parking_topic: String,
    /// Partition of the parking topic.
    pub parking_partition: u32,
    /// Offset in the parking topic.
    pub parking_offset: u64,
    /// Whether the record could be decoded; one that could not has neither id nor key nor attempts.
    pub content: Content,
    /// Topic it comes from.
    pub topic: Option<String>,
    /// Partition it comes from.
    pub partition: Option<u32>,
    /// Offset it comes from.
    pub offset: Option<u64>,
    /// Its key.
    pub key: Option<String>,
    /// Its id.
    pub id: Option<String>,
    /// Attempts made.
    pub attempts: Option<u32>,
    /// The last error.
    pub error: Option<String>,
    /// Wall clock of the first failure, in nanoseconds since 1970.
    pub first_ns: Option<u64>,
    /// Wall clock of the last failure, in nanoseconds since 1970.
    pub last_ns: Option<u64>,
}

/// What the bytes of a parked record are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// An envelope.
    #[default]
    Envelope,
    /// Bytes that could not be decoded.
    Undecodable,
}

impl Dump {
    /// The whole content of `topics`, rows in any order.
    pub fn of<T: Into<String>>(topics: impl IntoIterator<Item = T>, rows: impl IntoIterator<Item = Row>) -> Self {
        Self {
            rows: rows.into_iter().collect(),
            topics: topics.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// The last read that the history itself holds, empty and covering nothing if it holds none.
    pub fn last_in(history: &History) -> Self {
        let reads = || {
            history.entries().iter().filter_map(|entry| match &entry.op {
                Op::Dump(DumpRead::Ok(dumped)) => Some(dumped),
                _ => None,
            })
        };
        let last = reads().map(|dumped| dumped.read).max();
        let mut dump = Self::default();
        for dumped in reads().filter(|dumped| Some(dumped.read) == last) {
            dump.topics.insert(dumped.topic.clone());
            dump.rows.extend_from_slice(&dumped.rows);
        }
        dump
    }

    /// Says that retention deleted everything below `first` in its partition: what is missing there is not lost.
    #[must_use]
    pub fn with_first(mut self, first: StoredAt) -> Self {
        self.first.insert((first.topic, first.partition), first.offset);
        self
    }

    /// Adds the whole content of parking topics. It is kept apart, since a parked record bears an id a second time.
    #[must_use]
    pub fn with_parked<T: Into<String>>(
        mut self,
        parking_topics: impl IntoIterator<Item = T>,
        parked: impl IntoIterator<Item = ParkedRow>,
    ) -> Self {
        self.parking_topics.extend(parking_topics.into_iter().map(Into::into));
        self.parked.extend(parked);
        self
    }

    /// The stored records.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The parked records.
    pub fn parked(&self) -> &[ParkedRow] {
        &self.parked
    }

    /// Whether the parking topic was read.
    pub(crate) fn covers_parking(&self, parking_topic: &str) -> bool {
        self.parking_topics.contains(parking_topic)
    }

    /// Whether the topic was read.
    pub fn covers(&self, topic: &str) -> bool {
        self.topics.contains(topic)
    }

    /// Whether retention deleted from any partition of the topic.
    pub(crate) fn is_trimmed(&self, topic: &str) -> bool {
        self.first.iter().any(|((of, _), first)| of == topic && *first > 0)
    }

    /// Whether retention deleted that position.
    pub(crate) fn is_below_first(&self, position: Position<'_>) -> bool {
        let Partition { topic, number } = position.partition;
        !self.first.is_empty()
            && self.first.get(&(topic.to_owned(), number)).is_some_and(|first| position.offset < *first)
    }
}
