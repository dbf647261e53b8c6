//! Stored messages as records, and bounded reads of one partition.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use busline_core::{Header, Headers, Offset, Partition, ReadRequest, Record, Result, TopicName, key_of};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::admin::{Admin, StoredMessage};
use crate::denial::Denial;
use crate::error::{protocol, unreachable};
use crate::link::{Heard, Link};
use crate::protocol::Message;
use crate::topics::Place;

/// Most records asked for at once.
const ASKED_MAX: usize = 1_000;

/// Longest silence in the middle of a batch.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// The subscription of a reading link.
const SUBSCRIPTION: u32 = 1;

/// The header with the key of a record, in base 64 for URLs, where the body does not give it.
pub(crate) const KEY: &str = "Nats-Busline-Key";

/// Where the records of a topic carry their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyIn {
    /// In the body, as every event does. A header that a foreign writer sets says nothing: order is kept by the body.
    Body,
    /// In a header: the bus's own topics have entries whose bodies give none.
    Header,
}

impl KeyIn {
    pub(crate) fn of(topic: &TopicName) -> Self {
        if topic.is_own() { Self::Header } else { Self::Body }
    }

    fn read(self, block: &[u8], body: &Bytes) -> Bytes {
        let carried = match self {
            Self::Body => None,
            Self::Header => header(block, KEY).and_then(|key| URL_SAFE_NO_PAD.decode(key).ok()),
        };
        // A body that cannot be decoded has no key.
        carried.map_or_else(|| key_of(body).unwrap_or_default(), Bytes::from)
    }
}

/// A record made of what the server stored.
pub(crate) fn record(place: &Place, offset: Offset, time: Timestamp, block: &[u8], body: Bytes) -> Record {
    let key = place.key_in.read(block, &body);
    Record { partition: place.partition, offset, time, key, headers: user_headers(block), body }
}

/// The headers that a user set, in order: the server's own and ours begin with `Nats-`.
pub(crate) fn user_headers(block: &[u8]) -> Headers {
    header_lines(block)
        .filter(|(name, _)| !is_servers(name))
        .filter_map(|(name, value)| {
            Some(Header { name: String::from_utf8(name.to_vec()).ok()?, value: Bytes::copy_from_slice(value) })
        })
        .collect()
}

fn is_servers(name: &[u8]) -> bool {
    name.len() >= 5 && name[..5].eq_ignore_ascii_case(b"nats-")
}

/// The value of one header of the server's.
pub(crate) fn header<'a>(block: &'a [u8], name: &str) -> Option<&'a [u8]> {
    header_lines(block).find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
}

fn header_lines(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    block.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = memchr::memchr(b':', line)?;
        let value = &line[colon + 1..];
        // One space behind the colon belongs to the form, further ones to the value.
        Some((&line[..colon], value.strip_prefix(b" ").unwrap_or(value)))
    })
}

impl StoredMessage {
    pub(crate) fn into_record(self, place: &Place) -> Record {
        record(place, Offset(self.seq), self.time, &self.hdrs, self.data)
    }
}

/// Reads a bounded piece of a partition.
///
/// The leader says how far it goes; the records come from any copy, and what a copy behind its leader lacks comes from
/// the leader, one by one.
pub(crate) async fn read(admin: &Admin, link: &mut Link, place: &Place, request: &ReadRequest) -> Result<Vec<Record>> {
    let Some(last) = admin.last(&place.stream, &place.subject).await? else { return Ok(Vec::new()) };
    let end = request.to.min(Offset(last.seq).next());
    let mut found = Piece { records: Vec::new(), bytes: 0, request, end };
    while !found.is_full() {
        let from = found.next_offset();
        let got = fetch(link, place, &mut found).await?;
        if got == 0 || found.next_offset() == from {
            let Some(next) = admin.first_from(&place.stream, &place.subject, from.0).await? else { break };
            found.take(next.into_record(place));
        }
    }
    Ok(found.records)
}

/// The records read so far, and the bounds.
struct Piece<'a> {
    records: Vec<Record>,
    bytes: usize,
    request: &'a ReadRequest,
    end: Offset,
}

impl Piece<'_> {
    fn next_offset(&self) -> Offset {
        self.records.last().map_or(self.request.from, |last| last.offset.next())
    }

    fn is_full(&self) -> bool {
        self.next_offset() >= self.end
            || self.records.len() >= self.request.records_max
            || (!self.records.is_empty() && self.bytes >= self.request.bytes_max)
    }

    fn take(&mut self, record: Record) {
        if record.offset >= self.end {
            // Everything in the range has been seen.
            self.end = self.next_offset();
        } else if !self.is_full() && record.offset >= self.next_offset() {
            self.bytes += record.body.len() + record.key.len();
            self.records.push(record);
        }
    }
}

/// Asks for a batch; gives how many messages came.
async fn fetch(link: &mut Link, place: &Place, piece: &mut Piece<'_>) -> Result<usize> {
    let inbox = format!("_INBOX.{:016x}", rand::random::<u64>());
    let wanted = (piece.request.records_max - piece.records.len()).clamp(1, ASKED_MAX);
    let question = json!({
        "seq": piece.next_offset().0.max(1), "batch": wanted, "next_by_subj": place.subject,
        "max_bytes": piece.request.bytes_max.clamp(1 << 20, 16 << 20),
    });
    link.subscribe(&inbox, SUBSCRIPTION);
    let subject = format!("$JS.API.DIRECT.GET.{}", place.stream);
    link.publish(subject.as_bytes(), inbox.as_bytes(), b"", question.to_string().as_bytes());
    let got = collect(link, &inbox, &subject, place, piece).await;
    link.unsubscribe(SUBSCRIPTION);
    got
}

async fn collect(link: &mut Link, inbox: &str, asked: &str, place: &Place, piece: &mut Piece<'_>) -> Result<usize> {
    let mut got = 0;
    loop {
        while let Some(heard) = link.next()? {
            let message = match heard {
                Heard::Message(message) => message,
                Heard::Complaint(text) => match Denial::read(text).filter(|denial| denial.concerns(asked)) {
                    Some(denial) => return Err(denial.error()),
                    None => continue,
                },
            };
            if message.subject != inbox.as_bytes() {
                continue;
            }
            // 204 ends a batch, 404 says that there is none, 408 and 503 that nobody answers.
            if message.status().is_some() {
                return Ok(got);
            }
            got += 1;
            piece.take(direct(place, &message)?);
        }
        let broken = |error: std::io::Error| unreachable("the connection broke").because(error);
        match timeout_at(Instant::now() + SILENCE_MAX, link.drive()).await {
            Ok(driven) => driven.map_err(broken)?,
            Err(_) => return Err(unreachable(format!("silence for {SILENCE_MAX:?}"))),
        }
    }
}

/// The record in an answer of a direct get.
fn direct(place: &Place, message: &Message<'_>) -> Result<Record> {
    let text = |name| {
        let value = header(message.headers, name).and_then(|value| std::str::from_utf8(value).ok());
        value.ok_or_else(|| protocol(format!("a stored message without {name}")))
    };
    let offset = text("Nats-Sequence")?.parse().map_err(|_| protocol("a sequence that is no number"))?;
    let time = text("Nats-Time-Stamp")?.parse().map_err(|_| protocol("a time stamp that is none"))?;
    Ok(record(place, Offset(offset), time, message.headers, Bytes::copy_from_slice(message.body)))
}

/// The first offset whose record was stored at or after this time, or the end.
pub(crate) async fn offset_at(admin: &Admin, place: &Place, time: Timestamp) -> Result<Offset> {
    let bounds = place.bounds(admin).await?;
    // Times rise with the sequence, since one leader stamps them: a search by halves reads through the leader.
    let (mut low, mut high) = (bounds.start, bounds.end);
    while low < high {
        let middle = Offset(low.0 + (high.0 - low.0) / 2);
        match admin.first_from(&place.stream, &place.subject, middle.0).await? {
            Some(found) if found.time < time => low = Offset(found.seq).next(),
            // The first record from the middle on is late enough, so the one looked for is it or one before the middle.
            Some(_) | None => high = middle,
        }
    }
    let found = admin.first_from(&place.stream, &place.subject, low.0).await?;
    Ok(found.map_or(bounds.end, |found| Offset(found.seq)))
}

/// The topic and partition of a call, for its errors.
pub(crate) fn at(topic: &TopicName, partition: Partition) -> String {
    format!("{topic}/{partition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_header_counts_in_the_buss_own_topics_alone() {
        let block = b"NATS/1.0\r\nNats-Busline-Key: b3RoZXI\r\n\r\n";
        let body = || Bytes::from_static(br#"{"specversion":"1.0","id":"1","source":"/s","type":"T","subject":"own"}"#);
        let key = |topic: &str| {
            let place = Place {
                stream: "s".into(),
                subject: "s.0".into(),
                partition: Partition(0),
                key_in: KeyIn::of(&TopicName::stored(topic).expect("legal")),
            };
            record(&place, Offset(1), Timestamp::UNIX_EPOCH, block, body()).key
        };
        assert_eq!(key("orders"), "own");
        assert_eq!(key("__parked.orders..billing"), "other");
    }

    #[test]
    fn headers_keep_their_order_and_lose_the_servers() {
        let block = b"NATS/1.0\r\nb: 1\r\nNats-Sequence: 7\r\na: two: parts\r\nb:  2\r\nempty: \r\n\r\n";
        let headers = user_headers(block);
        let list: Vec<_> =
            headers.iter().map(|header| (header.name.as_str(), String::from_utf8_lossy(&header.value))).collect();
        assert_eq!(list, [("b", "1".into()), ("a", "two: parts".into()), ("b", " 2".into()), ("empty", "".into())]);
        assert_eq!(header(block, "nats-sequence"), Some(&b"7"[..]));
    }
}
