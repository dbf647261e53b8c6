//! The entries of a parking topic: what each says, and how it stands in the headers of a record.

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use crate::headers::{Header, Headers};
use crate::record::Record;
use crate::topic::{Offset, Partition};

/// Longest text of an error in an entry, in bytes.
pub(crate) const ERROR_BYTES_MAX: usize = 8_192;

/// Longest other text that an entry takes from outside, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;

/// Names who wrote an entry: random for each assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

impl Token {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

/// What is parked: a key with all that follows, or one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkedScope {
    /// The key: its later records queue behind.
    Key,
    /// This record alone; later ones of its key flow.
    Record,
}

impl ParkedScope {
    /// `key` or `record`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Record => "record",
        }
    }
}

/// How a parked record left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Replayed,
    Discarded,
}

/// What an entry says, without the record and its diagnosis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    Owner,
    Replayer,
    /// The replayer has ended: nothing more of it counts.
    Resigned,
    /// A record is parked (`park`) or queues behind its parked key (`behind`).
    Parked(ParkedScope, Offset),
    /// A replay failed; the record stays.
    Failed(ParkedScope, Offset),
    Done(ParkedScope, Offset, Outcome),
    /// What is closed at or above the offset comes again.
    Reset(Offset),
}

/// An entry as it counts or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) incarnation: Uuid,
    pub(crate) token: Token,
    pub(crate) mark: Mark,
}

/// Why and where a record was parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Topic of the record.
    pub topic: String,
    /// Its partition.
    pub partition: Partition,
    /// Its place there.
    pub offset: Offset,
    /// Id of its event; `None` if it cannot be decoded.
    pub id: Option<String>,
    /// Type of its event.
    pub event_type: Option<String>,
    /// Attempts that were made; 0 if it queues behind its key or cannot be decoded.
    pub attempts: u32,
    /// The error and those underneath on one line, at most 8 KiB.
    pub error: String,
    /// When its first attempt failed.
    pub first: Timestamp,
    /// When it was parked.
    pub last: Timestamp,
    /// The group.
    pub group: String,
    /// The member that parked it.
    pub member: String,
}

/// The kind of an entry, first of our headers: what stands before it is the record's own.
const KIND: &str = "busline-entry";

/// Builds the headers of an entry.
pub(crate) struct Writer(Headers);

impl Writer {
    pub(crate) fn new(raw: Headers, kind: &'static str, incarnation: Uuid, token: Token) -> Self {
        let mut headers = raw;
        headers.push(KIND, kind);
        headers.push("busline-incarnation", incarnation.to_string());
        headers.push("busline-token", format!("{:016x}", token.0));
        Self(headers)
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.0.push(name, one_line(&value.to_string(), TEXT_BYTES_MAX));
        self
    }

    pub(crate) fn place(self, scope: ParkedScope, offset: Offset) -> Self {
        self.with("busline-scope", scope.name()).with("busline-offset", offset)
    }

    pub(crate) fn error(mut self, error: &str) -> Self {
        self.0.push("busline-error", one_line(error, ERROR_BYTES_MAX));
        self
    }

    pub(crate) fn diagnosis(self, diagnosis: &Diagnosis) -> Self {
        let mut writer = self
            .with("busline-topic", &diagnosis.topic)
            .with("busline-partition", diagnosis.partition)
            .with("busline-attempts", diagnosis.attempts)
            .with("busline-first", diagnosis.first)
            .with("busline-last", diagnosis.last)
            .with("busline-group", &diagnosis.group)
            .with("busline-member", &diagnosis.member);
        if let Some(id) = &diagnosis.id {
            writer = writer.with("busline-id", id);
        }
        if let Some(event_type) = &diagnosis.event_type {
            writer = writer.with("busline-type", event_type);
        }
        writer.error(&diagnosis.error)
    }

    /// The headers' stored form.
    pub(crate) fn block(self) -> Vec<u8> {
        let mut block = Vec::new();
        self.0.write_to(&mut block);
        block
    }
}

/// One line of at most `bytes_max` bytes, without control characters, which some backends refuse in a header.
fn one_line(text: &str, bytes_max: usize) -> Bytes {
    let mut line = String::with_capacity(text.len().min(bytes_max));
    for character in text.chars() {
        let character = if character.is_control() { ' ' } else { character };
        if line.len() + character.len_utf8() > bytes_max {
            break;
        }
        line.push(character);
    }
    line.into()
}

/// The headers that the bus added to a record of a parking topic.
struct Ours<'a>(&'a [Header]);

impl<'a> Ours<'a> {
    /// The record's own headers, and ours.
    fn split(headers: &'a Headers) -> Option<(&'a [Header], Self)> {
        let headers = headers.as_slice();
        // The last one: a raw record may have such a header of its own.
        let at = headers.iter().rposition(|header| header.name == KIND)?;
        Some((&headers[..at], Self(&headers[at..])))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        let header = self.0.iter().find(|header| header.name == name)?;
        std::str::from_utf8(&header.value).ok()
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    fn place(&self) -> Option<(ParkedScope, Offset)> {
        let scope = match self.text("busline-scope")? {
            "key" => ParkedScope::Key,
            "record" => ParkedScope::Record,
            _ => return None,
        };
        Some((scope, Offset(self.parsed("busline-offset")?)))
    }

    fn mark(&self) -> Option<Mark> {
        Some(match self.text(KIND)? {
            "owner" => Mark::Owner,
            "replayer" => Mark::Replayer,
            "resigned" => Mark::Resigned,
            "park" | "behind" => {
                let (scope, offset) = self.place()?;
                Mark::Parked(scope, offset)
            }
            "failed" => {
                let (scope, offset) = self.place()?;
                Mark::Failed(scope, offset)
            }
            "done" => {
                let (scope, offset) = self.place()?;
                let outcome =
                    if self.text("busline-outcome")? == "replayed" { Outcome::Replayed } else { Outcome::Discarded };
                Mark::Done(scope, offset, outcome)
            }
            "reset" => Mark::Reset(Offset(self.parsed("busline-offset")?)),
            _ => return None,
        })
    }
}

impl Entry {
    /// The entry in a record of a parking topic; `None` for what the bus has not written.
    pub(crate) fn of(headers: &Headers) -> Option<Self> {
        let (_, ours) = Ours::split(headers)?;
        let token = Token(u64::from_str_radix(ours.text("busline-token")?, 16).ok()?);
        Some(Self { incarnation: ours.parsed("busline-incarnation")?, token, mark: ours.mark()? })
    }
}

/// The error of a failed replay.
pub(crate) fn error_of(headers: &Headers) -> Option<String> {
    let (_, ours) = Ours::split(headers)?;
    ours.text("busline-error").map(str::to_owned)
}

/// A parked record, as it was, and its diagnosis; `None` for other entries.
///
/// # Shape
/// `record` is a record of a parking topic. What comes out has the offset, key, headers and body of the parked one; its
/// time is when it was parked.
pub fn parked_record(record: &Record) -> Option<(Record, Diagnosis)> {
    let (raw, ours) = Ours::split(&record.headers)?;
    let Mark::Parked(_, offset) = ours.mark()? else { return None };
    let partition = Partition(ours.parsed("busline-partition")?);
    let diagnosis = Diagnosis {
        topic: ours.text("busline-topic")?.to_owned(),
        partition,
        offset,
        id: ours.text("busline-id").map(str::to_owned),
        event_type: ours.text("busline-type").map(str::to_owned),
        attempts: ours.parsed("busline-attempts")?,
        error: ours.text("busline-error")?.to_owned(),
        first: ours.parsed("busline-first")?,
        last: ours.parsed("busline-last")?,
        group: ours.text("busline-group")?.to_owned(),
        member: ours.text("busline-member")?.to_owned(),
    };
    let headers = raw.iter().cloned().collect();
    Some((Record { partition, offset, headers, ..record.clone() }, diagnosis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosis(error: &str) -> Diagnosis {
        Diagnosis {
            topic: "orders".into(),
            partition: Partition(3),
            offset: Offset(42),
            id: Some("e-1".into()),
            event_type: Some("OrderPlaced".into()),
            attempts: 5,
            error: error.into(),
            first: Timestamp::UNIX_EPOCH,
            last: Timestamp::UNIX_EPOCH,
            group: "billing".into(),
            member: "m".into(),
        }
    }

    fn parked(raw: &Headers, error: &str) -> Record {
        let writer = Writer::new(raw.clone(), "park", Uuid::nil(), Token(7));
        let block = writer.place(ParkedScope::Key, Offset(42)).diagnosis(&diagnosis(error)).block();
        Record {
            partition: Partition(3),
            offset: Offset(9),
            time: Timestamp::UNIX_EPOCH,
            key: Bytes::from_static(b"order-1"),
            headers: Headers::decode(block.into()).expect("own form"),
            body: Bytes::from_static(b"{}"),
        }
    }

    #[test]
    fn a_parked_record_comes_back_as_it_was() {
        let mut raw = Headers::default();
        // A record may hold headers of ours, for example one that was copied from a parking topic.
        raw.push(KIND, "owner");
        raw.push("a", "1");
        raw.push("a", "2");
        let record = parked(&raw, "broken\npipe");
        let entry = Entry::of(&record.headers).expect("an entry");
        assert_eq!((entry.token, entry.mark), (Token(7), Mark::Parked(ParkedScope::Key, Offset(42))));
        let (back, told) = parked_record(&record).expect("a parked record");
        assert_eq!((back.headers, back.offset, &*back.key), (raw, Offset(42), &b"order-1"[..]));
        assert_eq!(told, diagnosis("broken pipe"));
    }

    #[test]
    fn what_the_bus_adds_stays_below_sixteen_kib() {
        let long = Diagnosis {
            id: Some("i".repeat(5_000)),
            event_type: Some("t".repeat(5_000)),
            topic: "x".repeat(200),
            group: "y".repeat(200),
            member: "z".repeat(5_000),
            ..diagnosis(&"é".repeat(10_000))
        };
        let writer = Writer::new(Headers::default(), "behind", Uuid::max(), Token(u64::MAX));
        let block = writer.place(ParkedScope::Record, Offset(u64::MAX)).diagnosis(&long).block();
        assert!(block.len() <= 16 * 1_024, "{} bytes", block.len());
    }

    #[test]
    fn foreign_records_are_no_entries() {
        let mut headers = Headers::default();
        assert_eq!(Entry::of(&headers), None);
        headers.push(KIND, "park");
        headers.push("busline-token", "zz");
        assert_eq!(Entry::of(&headers), None);
    }
}
