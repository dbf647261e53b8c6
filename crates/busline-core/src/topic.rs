//! Names, partitions and offsets, and how a topic comes to exist.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::retention::Retention;

/// Longest name of a topic or group, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// Longest sum of a topic's and a group's name, in bytes, so that the parking topic's name fits every backend.
pub const TOPIC_AND_GROUP_BYTES_MAX: usize = 230;

/// The checked name of a topic: 1 to 200 of `[A-Za-z0-9._-]`, no empty token between dots, not reserved.
///
/// Cloning is a counter. Case matters: `Orders` and `orders` are two topics everywhere.
///
/// # Source
/// Promise T1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// The checked name of a group, by the rules of [`TopicName`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

macro_rules! checked_name {
    ($name:ident, $what:literal) => {
        impl $name {
            /// Checks a name.
            ///
            /// # Errors
            /// `Invalid/EmptyName`, `NameTooLong`, `NameCharacter`, `EmptyToken` or `ReservedName`.
            pub fn new(name: &str) -> Result<Self> {
                check_name(name).map_err(|error| error.at($what, if name.is_empty() { "''" } else { name }))?;
                Ok(Self(name.into()))
            }

            /// A name that a backend holds: a user's, or one of the bus's own, which users cannot choose.
            ///
            /// # Errors
            /// As [`new`](Self::new).
            pub fn stored(name: &str) -> Result<Self> {
                match is_own(name) {
                    true => Ok(Self(name.into())),
                    false => Self::new(name),
                }
            }

            /// Whether the name is one of the bus's own.
            pub fn is_own(&self) -> bool {
                is_own(&self.0)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;

            fn from_str(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }
    };
}

checked_name!(TopicName, "topic");
checked_name!(GroupName, "group");

/// Marks names of the bus: no user's name holds an empty token.
const OWN: &str = "..";

/// The parking topic of a group.
const PARKING: &str = "__parked.";

/// Whether a name is legal but for what only the bus may use.
fn is_own(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    plain
        && name.len() <= PARKING.len() + OWN.len() + TOPIC_AND_GROUP_BYTES_MAX
        && name.contains(OWN)
        && name.split(OWN).all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.'))
}

impl GroupName {
    /// The group of those who replay what this group has parked.
    #[must_use]
    pub(crate) fn replayers(&self) -> Self {
        Self(format!("{self}{OWN}replay").into())
    }
}

impl TopicName {
    /// The topic in which this group parks the records of this topic.
    #[must_use]
    pub fn parking(&self, group: &GroupName) -> Self {
        Self(format!("{PARKING}{self}{OWN}{group}").into())
    }

    /// Topic and group of a parking topic's name.
    pub fn parked_for(&self) -> Option<(Self, GroupName)> {
        let (topic, group) = self.0.strip_prefix(PARKING)?.split_once(OWN)?;
        Some((Self(topic.into()), GroupName(group.into())))
    }

    /// A spelling that two names share which must not stand beside each other: metrics cannot tell dots from
    /// underscores. No metric bears one of the bus's own names, so each of those stands for itself: groups `a.b` and `a_b`
    /// may park on the same topic. Brokers may be stricter.
    pub fn collision_form(&self) -> String {
        if self.is_own() { self.0.to_string() } else { self.0.replace('.', "_") }
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid("EmptyName")
            .cause("the name is empty")
            .next("give 1 to 200 of letters, digits, '.', '_' and '-'"));
    }
    let bad = name.char_indices().find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')));
    if let Some((at, character)) = bad {
        return Err(Error::invalid("NameCharacter")
            .cause(format!("'{}' at byte {at}", character.escape_default()))
            .next("use letters, digits, '.', '_' or '-'"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Error::invalid("NameTooLong")
            .cause(format!("{} characters where {NAME_BYTES_MAX} are allowed", name.len()))
            .next("shorten the name"));
    }
    if name.starts_with("__") || name.starts_with("_INBOX") {
        return Err(Error::invalid("ReservedName")
            .cause("names that begin with '__' or '_INBOX' belong to the bus and the brokers")
            .next("choose another beginning"));
    }
    if name.split('.').any(str::is_empty) {
        return Err(Error::invalid("EmptyToken")
            .cause("nothing before, after or between dots")
            .next("put at least one letter or digit around each '.'"));
    }
    Ok(())
}

/// A parallel slice of a topic, counted from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u32);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a partition: ordered, not necessarily dense.
///
/// `start`, `committed` and `end` always name the first record that is *not* (gone, finished, stored).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// The first offset after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a partition holds: from `start` up to, not including, `end`. Equal means empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first record that is still there, or `end`.
    pub start: Offset,
    /// One after the last record.
    pub end: Offset,
}

/// What a topic is made of; it lives with the topic at the backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopicSpec {
    /// Number of partitions. Range 1 to 1,024, default 4. Never changes by itself: keys would change their partition.
    pub partitions: u32,
    /// Copies that the backend keeps. Range 1 to 255, default 1; more than one needs a cluster.
    pub replicas: u8,
    /// When records leave the topic. Default: never.
    pub retention: Retention,
    /// Streams that the partitions are spread over, partition p in stream p mod `streams`. Range 1 to the number of
    /// partitions, default 1; more than one only where a backend stores streams (NATS).
    #[serde(skip_serializing_if = "is_one")]
    pub streams: u32,
}

/// The stored form names only what differs from the default, so that older versions read it.
fn is_one(count: &u32) -> bool {
    *count == 1
}

impl Default for TopicSpec {
    fn default() -> Self {
        Self { partitions: 4, replicas: 1, retention: Retention::default(), streams: 1 }
    }
}

/// Most partitions of a topic.
pub const PARTITIONS_MAX: u32 = 1_024;

impl TopicSpec {
    /// Checks every field.
    ///
    /// # Errors
    /// `Invalid/Range` with the field and its range.
    pub fn validate(&self) -> Result<()> {
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            return Err(Error::invalid("Range")
                .cause(format!("partitions = {}", self.partitions))
                .next(format!("use 1 to {PARTITIONS_MAX} partitions")));
        }
        if self.replicas == 0 {
            return Err(Error::invalid("Range").cause("replicas = 0").next("use 1 to 255 replicas"));
        }
        if !(1..=self.partitions).contains(&self.streams) {
            return Err(Error::invalid("Range")
                .cause(format!("streams = {} for {} partitions", self.streams, self.partitions))
                .next("use 1 stream up to one for each partition"));
        }
        self.retention.validate()
    }

    /// Checks that a backend without streams can hold this.
    ///
    /// # Errors
    /// `Unsupported/Streams`.
    pub fn check_one_stream(&self, backend: &str) -> Result<()> {
        if self.streams == 1 {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "Streams")
            .cause(format!("streams = {}, and {backend} stores no streams", self.streams))
            .next("leave streams at 1: partitions alone spread the load here"))
    }

    /// Checks that a backend of one copy without streams can hold this.
    ///
    /// # Errors
    /// `Unsupported/Streams`, `Unsupported/Replicas`.
    pub fn check_single_copy(&self, backend: &str) -> Result<()> {
        self.check_one_stream(backend)?;
        if self.replicas != 1 {
            return Err(Error::new(ErrorKind::Unsupported, "Replicas")
                .cause(format!("replicas = {}, and {backend} keeps one copy", self.replicas))
                .next("use one replica, or a backend with several nodes"));
        }
        Ok(())
    }

    /// Checks that a topic of this spec may be changed to `wanted`.
    ///
    /// # Errors
    /// `Invalid/PartitionCount` if the partition counts differ.
    pub fn check_update(&self, wanted: &TopicSpec) -> Result<()> {
        if self.partitions == wanted.partitions {
            return Ok(());
        }
        Err(Error::invalid("PartitionCount")
            .cause(format!("the topic has {} partitions, wanted {}", self.partitions, wanted.partitions))
            .next("copy the events to a new topic: another count would move keys to other partitions"))
    }

    /// The fields in which a topic differs from what was wanted, each as `field: is … , wanted …`.
    pub fn differences(&self, wanted: &TopicSpec) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |field: &str, is: String, want: String| {
            if is != want {
                found.push(format!("{field}: is {is}, wanted {want}"));
            }
        };
        compare("partitions", self.partitions.to_string(), wanted.partitions.to_string());
        compare("replicas", self.replicas.to_string(), wanted.replicas.to_string());
        compare("retention", self.retention.to_string(), wanted.retention.to_string());
        compare("streams", self.streams.to_string(), wanted.streams.to_string());
        found
    }
}

/// A topic as it exists at the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: TopicName,
    /// What it is made of.
    pub spec: TopicSpec,
    /// Changes when the topic is deleted and made again under the same name.
    pub incarnation: Uuid,
}

/// What opening does about a topic that is missing or different.
///
/// # Source
/// Promise T2; the default is [`Provision::create_only`] on every backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provision {
    /// Make a missing topic from this spec; take an existing one as it is.
    CreateOnly(TopicSpec),
    /// Make a missing topic; change an existing one to this spec, except its partition count.
    CreateOrUpdate(TopicSpec),
    /// Change nothing; a missing or different topic is an error that lists the fields.
    Validate(TopicSpec),
    /// Look at nothing but existence.
    Skip,
}

impl Provision {
    /// [`Provision::CreateOnly`] with the default spec.
    pub fn create_only() -> Self {
        Self::CreateOnly(TopicSpec::default())
    }
}

impl Default for Provision {
    fn default() -> Self {
        Self::create_only()
    }
}

/// The error of a topic that does not exist.
pub fn topic_not_found(name: &TopicName) -> Error {
    Error::new(ErrorKind::NotFound, "Topic")
        .cause("no such topic")
        .next("create it with 'busline topic create', or publish with a provision that creates it")
        .at("topic", name)
}

/// The error of a group that has neither members nor committed offsets.
pub fn group_not_found(group: &GroupName, topic: &TopicName) -> Error {
    Error::new(ErrorKind::NotFound, "Group")
        .cause(format!("no such group on topic {topic}"))
        .next("see the groups with 'busline group list'")
        .at("group", group)
}

/// The error of a change that a group with members does not allow.
pub fn group_active(group: &GroupName, members: &[String]) -> Error {
    Error::new(ErrorKind::Unavailable, "GroupActive")
        .cause(format!("members are at work: {}", members.join(", ")))
        .next("stop them first")
        .at("group", group)
}

/// The error of a member that no longer holds a partition.
pub fn not_owner(partition: Partition) -> Error {
    Error::new(ErrorKind::Fenced, "NotOwner")
        .cause(format!("partition {partition} belongs to another member or another assignment"))
        .next("stop working on it: its events come again elsewhere")
}

/// Logs that a group has lost records, by a limit of retention or a trim. Drivers call it once for each deletion.
///
/// # Source
/// Promise T3.
pub fn warn_deleted(topic: &TopicName, group: &GroupName, records: u64) {
    tracing::warn!("{topic}: {records} records were deleted before group {group} had finished them");
}

/// The error of a topic that exists already.
pub fn topic_exists(name: &TopicName) -> Error {
    Error::new(ErrorKind::AlreadyExists, "Topic")
        .cause("the topic exists")
        .next("use it, or choose another name")
        .at("create topic", name)
}

/// The error of a partition that its topic does not have.
pub fn partition_not_found(topic: &TopicName, partition: Partition) -> Error {
    Error::new(ErrorKind::NotFound, "Partition")
        .cause(format!("no partition {partition}"))
        .next("see the topic's partition count")
        .at("topic", topic)
}

/// The error of a group that is to begin or go on behind the end of a partition.
pub fn offset_beyond_end(partition: Partition, to: Offset, end: Offset) -> Error {
    // Records that are stored later would be passed over in silence.
    Error::invalid("Offset")
        .cause(format!("offset {to} is beyond the end of partition {partition}"))
        .next(format!("use {end} at most"))
}

/// The error of a topic whose name differs from an existing one only in dots and underscores.
pub fn colliding_name(name: &TopicName, existing: &TopicName) -> Error {
    Error::new(ErrorKind::AlreadyExists, "CollidingName")
        .cause(format!("'{existing}' exists, and metrics cannot tell '.' from '_'"))
        .next("choose a name that differs in more than dots and underscores")
        .at("create topic", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, reason: Option<&str>) {
        let found = TopicName::new(name).err().map(|error| error.reason());
        assert_eq!(found, reason, "name {name:?}");
    }

    #[test]
    fn names_of_every_legal_shape_are_accepted() {
        for name in ["a", "orders", "Orders", "a.b", "a_b-c.9", "CON", "nul", "_x"] {
            check(name, None);
        }
        check(&"x".repeat(200), None);
    }

    #[test]
    fn each_bad_name_gives_its_reason() {
        check("", Some("EmptyName"));
        for name in [" ", "a b", "\ta", "a\r\nPUB x 0", "a\0b", "*", ">", "a.*", "a.>", "$SYS.x", "../../etc/passwd"] {
            check(name, Some("NameCharacter"));
        }
        for name in ["/abs", "a/../b", "a\\b", "con ", "e\u{301}", "\u{202e}", "\u{200b}", "\u{fffd}", "\u{4e2d}"] {
            check(name, Some("NameCharacter"));
        }
        for name in [".a", "a.", "a..b", ".", "..", "con.", "..t2"] {
            check(name, Some("EmptyToken"));
        }
        for name in ["__consumer_offsets", "__parked.a..g", "_INBOX.x"] {
            check(name, Some("ReservedName"));
        }
        for length in [201, 250, 5_000] {
            check(&"x".repeat(length), Some("NameTooLong"));
        }
    }

    #[test]
    fn only_the_bus_makes_its_own_names_and_backends_may_hold_them() {
        let (topic, group) = (TopicName::new("a.b").expect("legal"), GroupName::new("g_1").expect("legal"));
        let parking = topic.parking(&group);
        assert_eq!(parking.as_str(), "__parked.a.b..g_1");
        assert_eq!(parking.parked_for(), Some((topic, group.clone())));
        assert!(parking.is_own() && TopicName::stored(parking.as_str()).is_ok());
        assert!(TopicName::new(parking.as_str()).is_err() && GroupName::new(group.replayers().as_str()).is_err());
        for name in ["..", "a..", "..a", "a...b", "a b..c", "", "__x"] {
            assert!(TopicName::stored(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_bad_character_is_shown_escaped_with_its_byte() {
        let error = TopicName::new("orders.\u{202e}").expect_err("refused");
        assert!(error.to_string().contains("'\\u{202e}' at byte 7"), "{error}");
    }

    #[test]
    fn one_stream_is_the_default_and_stays_unwritten() {
        let spec = TopicSpec::default();
        assert!(!serde_json::to_string(&spec).expect("json").contains("streams"));
        spec.check_one_stream("memory").expect("one stream is what every backend has");
        let spread = TopicSpec { streams: 4, ..spec };
        let stored = serde_json::to_string(&spread).expect("json");
        assert_eq!(serde_json::from_str::<TopicSpec>(&stored).expect("its own form"), spread);
        spread.validate().expect("a stream for each partition");
        assert_eq!(spread.check_single_copy("memory").expect_err("refused").code(), "Unsupported/Streams");
        for streams in [0, 5] {
            let spec = TopicSpec { streams, ..TopicSpec::default() };
            assert_eq!(spec.validate().expect_err("out of range").code(), "Invalid/Range");
        }
    }

    #[test]
    fn differences_are_listed_field_by_field() {
        let is = TopicSpec::default();
        let wanted = TopicSpec { partitions: 8, replicas: 3, ..TopicSpec::default() };
        assert_eq!(is.differences(&wanted), ["partitions: is 4, wanted 8", "replicas: is 1, wanted 3"]);
        assert!(is.differences(&is).is_empty());
    }
}
