//! One partition's place in its stream: a consumer without acks, and what was asked of it.
//!
//! A consumer is made at the first record that is not read, counts what it delivers from 1, and is made anew whenever
//! that count has a hole, it falls silent or the server says anything unexpected. Nothing is ever acked, so making it
//! anew costs a round trip and loses nothing.

use std::ops::Range;
use std::time::Duration;

use busline_core::{Offset, TopicSpec};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::deleted::Deleted;
use crate::protocol::Message;
use crate::records::header;
use crate::reply::{Reply, consumer};
use crate::topics::Place;

/// The server gives a sign of life this often while a pull waits, and is taken for gone after that much silence.
const HEARTBEAT: Duration = Duration::from_millis(500);
pub(crate) const SILENCE_MAX: Duration = Duration::from_millis(1_500);

/// A pull that nothing came for ends after this long, and is asked again.
const PULL_EXPIRES: Duration = Duration::from_secs(30);

/// A consumer that nobody pulls from is forgotten by the server.
const INACTIVE_MAX: Duration = Duration::from_secs(60);

/// Pause before a consumer that could not be made is asked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Records and bytes of one pull.
const PULL_RECORDS: u64 = 512;
const PULL_BYTES: u64 = 1 << 20;

/// Where a partition is read.
#[derive(Debug)]
pub(crate) struct Cursor {
    place: Place,
    /// The stream has this partition alone: no filter is needed, and each of its numbers is one of the partition's.
    alone: bool,
    /// Most records that the partition may hold.
    records_max: Option<u64>,
    /// Of the assignment and of the moves that this cursor reads for.
    pub(crate) generation: u64,
    pub(crate) moves: u64,
    /// The next offset: everything of the partition below was read.
    next: Offset,
    /// Behind the last record that was read.
    read_to: Offset,
    deleted: Deleted,
    phase: Phase,
    /// Part of the consumer's name; another one for each consumer.
    serial: u64,
    heard: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// To be made, not before this instant.
    Closed(Instant),
    /// Asked for.
    Making,
    /// There; whether its stream is that of the topic is to be asked.
    Made,
    /// That was asked. A stream that was deleted takes its consumers along, so a stream that is the right one after the
    /// consumer was made is the consumer's.
    Proving,
    Open(Open),
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Open {
    /// Records that were asked for and have not come.
    asked: u64,
    /// Records that have come.
    delivered: u64,
    /// Nothing has come since the last pull: if that one ended by its bytes, a single record is larger.
    nothing_since_pull: bool,
    /// The next pull takes one record of any size.
    single: bool,
}

/// What a message means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// This record is the next one; positions before it are gone that were not read, if the stream has others as well.
    Record(Offset, Timestamp, Option<Range<Offset>>),
    /// It was read before.
    Old,
    /// Records are missing: the cursor begins anew.
    Hole,
}

impl Cursor {
    /// A cursor at `next`; from `read_to` to there is no record of the partition.
    pub(crate) fn new(
        place: Place,
        spec: &TopicSpec,
        (generation, moves): (u64, u64),
        (read_to, next): (Offset, Offset),
    ) -> Self {
        let now = Instant::now();
        Self {
            place,
            alone: spec.streams == spec.partitions,
            records_max: spec.retention.records_max,
            generation,
            moves,
            next,
            read_to,
            deleted: Deleted::default(),
            phase: Phase::Closed(now),
            serial: 0,
            heard: now,
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    pub(crate) fn next(&self) -> Offset {
        self.next
    }

    pub(crate) fn deleted(&mut self) -> &mut Deleted {
        &mut self.deleted
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether something was asked that has not been answered.
    pub(crate) fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Making | Phase::Proving)
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether its consumer is to be asked for now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Closed(since) if since <= now)
    }

    /// Whether a server that should have said something is silent.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        let waits = match &self.phase {
            Phase::Closed(_) => false,
            Phase::Making | Phase::Made | Phase::Proving => true,
            Phase::Open(open) => open.asked > 0,
        };
        waits && now.saturating_duration_since(self.heard) > SILENCE_MAX
    }

    /// The question for its consumer: subject and body.
    pub(crate) fn make(&mut self, reader: &str, serial: u64) -> (String, Value) {
        (self.phase, self.serial, self.heard) = (Phase::Making, serial, Instant::now());
        let name = consumer(reader, self.place.partition, serial);
        let Place { stream, subject, .. } = &self.place;
        let mut config = json!({
            "name": name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self.next.0.max(1),
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": nanos(INACTIVE_MAX),
            "num_replicas": 1,
            "mem_storage": true,
        });
        let mut api = format!("$JS.API.CONSUMER.CREATE.{stream}.{name}");
        if !self.alone {
            config["filter_subject"] = json!(subject);
            api = format!("{api}.{subject}");
        }
        (api, json!({ "stream_name": stream, "config": config, "action": "create" }))
    }

    /// Its consumer is there.
    pub(crate) fn made(&mut self) {
        if self.phase == Phase::Making {
            (self.phase, self.heard) = (Phase::Made, Instant::now());
        }
    }

    /// The subject that tells which incarnation of the topic the stream is of, if that is to be asked.
    pub(crate) fn prove(&mut self) -> Option<String> {
        if self.phase != Phase::Made {
            return None;
        }
        self.phase = Phase::Proving;
        Some(format!("$JS.API.STREAM.INFO.{}", self.place.stream))
    }

    /// The stream is the right one.
    pub(crate) fn proven(&mut self) {
        if self.phase == Phase::Proving {
            self.heard = Instant::now();
            self.phase = Phase::Open(Open::default());
        }
    }

    /// The stream ends here. A server that lost its power may have lost what was looked through, and gives its numbers again:
    /// they are looked through once more. Gives whether records were lost that were read.
    pub(crate) fn ends_at(&mut self, last: u64, now: Instant) -> bool {
        if self.next > self.read_to.max(Offset(last).next()) {
            self.next = self.read_to;
            self.reopen(now);
        }
        self.read_to > Offset(last).next()
    }

    /// Its consumer is gone, could not be made, or is not to be trusted.
    pub(crate) fn reopen(&mut self, now: Instant) {
        self.phase = Phase::Closed(now);
    }

    /// The same after a pause.
    pub(crate) fn reopen_later(&mut self, now: Instant) {
        self.phase = Phase::Closed(now + RETRY_PAUSE);
    }

    /// Lets go of what the server keeps for it, if anything: the subject to say so.
    pub(crate) fn end(&self, reader: &str) -> Option<String> {
        let name = consumer(reader, self.place.partition, self.serial);
        let is_made = !matches!(self.phase, Phase::Closed(_));
        is_made.then(|| format!("$JS.API.CONSUMER.DELETE.{}.{name}", self.place.stream))
    }

    /// The next pull, if one is due: subject and body.
    pub(crate) fn pull(&mut self, reader: &str) -> Option<(String, Value)> {
        let Phase::Open(open) = &mut self.phase else { return None };
        if open.asked > PULL_RECORDS / 2 {
            return None;
        }
        let records = if open.single { 1 } else { PULL_RECORDS };
        let mut body = json!({
            "batch": records, "expires": nanos(PULL_EXPIRES), "idle_heartbeat": nanos(HEARTBEAT),
        });
        if !open.single {
            body["max_bytes"] = json!(PULL_BYTES);
        }
        if open.asked == 0 {
            self.heard = Instant::now();
        }
        open.asked += records;
        (open.nothing_since_pull, open.single) = (true, false);
        let name = consumer(reader, self.place.partition, self.serial);
        Some((format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", self.place.stream), body))
    }

    /// A record of its consumer came.
    pub(crate) fn deliver(&mut self, reply: &Reply) -> Delivered {
        let Phase::Open(open) = &mut self.phase else { return Delivered::Old };
        self.heard = Instant::now();
        open.asked = open.asked.saturating_sub(1);
        open.delivered += 1;
        open.nothing_since_pull = false;
        if reply.delivered != open.delivered {
            return Delivered::Hole;
        }
        if reply.offset < self.next {
            return Delivered::Old;
        }
        let passed = std::mem::replace(&mut self.next, reply.offset.next())..reply.offset;
        self.read_to = self.next;
        // A partition that holds as many unread records as it may has perhaps lost some that were before them.
        let is_full = self.records_max.is_some_and(|max| reply.pending + 1 >= max);
        let gone = match () {
            () if self.alone || passed.is_empty() => None,
            () if is_full => Some(passed),
            () => self.deleted.take(passed),
        };
        Delivered::Record(reply.offset, reply.time, gone)
    }

    /// The server said something about a pull; gives what was passed by that if it is news.
    pub(crate) fn status(&mut self, message: &Message<'_>, now: Instant) -> Option<Passed> {
        let Phase::Open(open) = &mut self.phase else { return None };
        self.heard = now;
        let left = header(message.headers, "Nats-Pending-Messages").and_then(number);
        match (message.status(), left) {
            // A sign of life.
            (Some(100), _) => return self.looked_through(message, now),
            // The pull has ended, with so much of it left.
            (Some(404 | 408 | 409), Some(left)) => {
                open.asked = open.asked.saturating_sub(left);
                open.single = open.nothing_since_pull && message.status() == Some(409);
            }
            _ => self.reopen(now),
        }
        None
    }

    /// A sign of life says how many records its consumer has given, and how far it has looked for them.
    fn looked_through(&mut self, message: &Message<'_>, now: Instant) -> Option<Passed> {
        let Phase::Open(open) = &self.phase else { return None };
        let given = header(message.headers, "Nats-Last-Consumer").and_then(number)?;
        let last = header(message.headers, "Nats-Last-Stream").and_then(number)?;
        if given != open.delivered {
            // Records were given before this, and have not come.
            self.reopen(now);
            return None;
        }
        let to = Offset(last).next();
        if to <= self.next {
            return None;
        }
        let passed = std::mem::replace(&mut self.next, to)..to;
        let gone = if self.alone { Some(passed) } else { self.deleted.take(passed) };
        Some(Passed { gone, next: to })
    }
}

/// Positions without a record of the partition that were passed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Those that are gone and were not read, from the first to the last.
    pub(crate) gone: Option<Range<Offset>>,
    pub(crate) next: Offset,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use busline_core::Partition;

    use super::*;
    use crate::records::KeyIn;

    fn cursor() -> Cursor {
        let place = Place { stream: "s".into(), subject: "t.3".into(), partition: Partition(3), key_in: KeyIn::Body };
        let mut cursor = Cursor::new(place, &TopicSpec::default(), (1, 0), (Offset(10), Offset(10)));
        open(&mut cursor);
        cursor
    }

    fn alive(given: u64, last: u64) -> String {
        format!("NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: {given}\r\nNats-Last-Stream: {last}\r\n\r\n")
    }

    fn open(cursor: &mut Cursor) {
        drop(cursor.make("busline-r", 7));
        cursor.made();
        assert!(cursor.prove().is_some() && cursor.is_asking());
        cursor.proven();
        assert!(cursor.is_open());
    }

    fn reply(offset: u64, delivered: u64) -> Reply {
        let text = format!("$JS.ACK.s.busline-r-3-7.1.{offset}.{delivered}.1700000000000000000.0");
        Reply::parse(text.as_bytes(), "busline-r").expect("it is one")
    }

    fn status(headers: &str) -> Message<'_> {
        Message { subject: b"i", reply: b"", headers: headers.as_bytes(), body: b"" }
    }

    #[test]
    fn a_hole_in_the_consumers_count_is_found_and_one_in_the_streams_is_none() {
        let mut cursor = cursor();
        assert!(matches!(cursor.deliver(&reply(10, 1)), Delivered::Record(Offset(10), _, None)));
        assert!(matches!(cursor.deliver(&reply(14, 2)), Delivered::Record(Offset(14), _, None)));
        assert_eq!(cursor.deliver(&reply(15, 4)), Delivered::Hole);
    }

    #[test]
    fn what_was_deleted_before_it_was_read_is_told_with_what_passes_it() {
        let mut cursor = cursor();
        cursor.deleted().begins_at(13);
        assert!(matches!(cursor.deliver(&reply(11, 1)), Delivered::Record(Offset(11), _, None)), "it was on its way");
        let Delivered::Record(.., gone) = cursor.deliver(&reply(15, 2)) else { panic!("a record") };
        assert_eq!(gone, Some(Offset(12)..Offset(13)));
        cursor.deleted().learn(&[14, 18], Offset(16));
        let passed = cursor.status(&status(&alive(2, 20)), Instant::now());
        assert_eq!(passed, Some(Passed { gone: Some(Offset(18)..Offset(19)), next: Offset(21) }));
        assert_eq!(cursor.status(&status(&alive(2, 20)), Instant::now()), None, "told once");
    }

    #[test]
    fn a_partition_of_its_own_lost_every_position_that_holds_no_record() {
        let mut cursor = Cursor { alone: true, ..cursor() };
        let passed = cursor.status(&status(&alive(0, 12)), Instant::now());
        assert_eq!(passed, Some(Passed { gone: Some(Offset(10)..Offset(13)), next: Offset(13) }));
    }

    #[test]
    fn a_full_partition_may_have_lost_what_was_before_its_unread_records() {
        let mut cursor = Cursor { records_max: Some(3), ..cursor() };
        let full = Reply { pending: 2, ..reply(14, 1) };
        assert!(
            matches!(cursor.deliver(&full), Delivered::Record(Offset(14), _, Some(gone)) if gone == (Offset(10)..Offset(14)))
        );
        let less = Reply { pending: 1, ..reply(16, 2) };
        assert!(matches!(cursor.deliver(&less), Delivered::Record(Offset(16), _, None)));
    }

    #[test]
    fn numbers_that_a_stream_lost_are_looked_through_again() {
        let (mut cursor, now) = (cursor(), Instant::now());
        cursor.deliver(&reply(12, 1));
        assert!(cursor.status(&status(&alive(1, 20)), now).is_some());
        cursor.ends_at(20, now);
        assert!(cursor.is_open());
        cursor.ends_at(15, now);
        assert!(cursor.is_due(now) && cursor.next() == Offset(13), "others may have written since");
        cursor.ends_at(5, now);
        assert_eq!(cursor.next(), Offset(13), "what was read stays so");
    }

    #[test]
    fn records_that_were_given_and_have_not_come_are_a_hole() {
        let mut cursor = cursor();
        let now = Instant::now();
        assert_eq!(cursor.status(&status(&alive(1, 20)), now), None);
        assert!(cursor.is_due(now));
        assert_eq!(cursor.next(), Offset(10));
    }

    #[test]
    fn a_pull_is_asked_for_when_half_of_the_last_has_come() {
        let mut cursor = cursor();
        assert!(cursor.pull("busline-r").is_some() && cursor.pull("busline-r").is_none());
        for delivered in 1..=PULL_RECORDS / 2 {
            assert!(cursor.pull("busline-r").is_none());
            cursor.deliver(&reply(9 + delivered, delivered));
        }
        assert!(cursor.pull("busline-r").is_some());
    }

    #[test]
    fn a_record_larger_than_a_pull_is_asked_for_alone() {
        let mut cursor = cursor();
        drop(cursor.pull("busline-r"));
        let ended =
            format!("NATS/1.0 409 Message Size Exceeds MaxBytes\r\nNats-Pending-Messages: {PULL_RECORDS}\r\n\r\n");
        cursor.status(&status(&ended), Instant::now());
        let (_, body) = cursor.pull("busline-r").expect("another pull");
        assert_eq!((&body["batch"], &body["max_bytes"]), (&json!(1), &Value::Null));
        cursor.deliver(&reply(10, 1));
        let (_, body) = cursor.pull("busline-r").expect("another pull");
        assert_eq!(body["batch"], json!(PULL_RECORDS));
    }

    #[test]
    fn silence_and_strange_words_begin_the_consumer_anew() {
        let mut cursor = cursor();
        let later = Instant::now() + SILENCE_MAX * 2;
        assert!(!cursor.is_silent(later), "nothing was asked for");
        drop(cursor.pull("busline-r"));
        assert!(cursor.is_silent(later));
        cursor.status(&status("NATS/1.0 100 Idle Heartbeat\r\n\r\n"), later);
        assert!(!cursor.is_silent(later) && !cursor.is_due(later));
        for gone in ["NATS/1.0 409 Consumer Deleted\r\n\r\n", "NATS/1.0 503\r\n\r\n"] {
            open(&mut cursor);
            cursor.status(&status(gone), later);
            assert!(cursor.is_due(later), "{gone}");
        }
    }
}
