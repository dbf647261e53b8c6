//! The task that reads what a member holds: one link of its own, and a cursor for each partition.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use busline_core::{Error, ErrorKind, Offset, Partition, Result};
use bytes::Bytes;
use futures_util::future::select;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cursor::{Cursor, Delivered, Passed, SILENCE_MAX};
use crate::deletions::Deletions;
use crate::dialer::complaint;
use crate::error::{ApiError, unreachable};
use crate::held::Piece;
use crate::link::{Heard, Link};
use crate::member::Member;
use crate::protocol::Message;
use crate::records::record;
use crate::reply::Reply;
use crate::topics::{INCARNATION, Place, StreamConfig, StreamState};

/// Longest wait of the reader before it looks whether everything still moves.
const TICK: Duration = Duration::from_millis(100);

/// How long a denial explains a silence: whatever is not answered is asked again sooner.
const DENIED_FOR: Duration = Duration::from_secs(4);

/// Subscriptions of the link.
const ANSWERS: u32 = 1;
const BELL: u32 = 2;

struct Reader {
    member: Arc<Member>,
    /// First part of the names of its consumers.
    name: String,
    inbox: String,
    cursors: BTreeMap<Partition, Cursor>,
    pieces: BTreeMap<Partition, Piece>,
    serial: u64,
    deletions: Deletions,
    /// When the server said last that the reader may not ask something, and what.
    denied: Option<(Instant, Error)>,
}

/// An answer to a question about a consumer or a stream.
#[derive(Deserialize)]
struct Answer {
    error: Option<ApiError>,
    config: Option<StreamConfig>,
    state: Option<StreamState>,
}

/// Reads until the member closes. A connection that breaks is replaced; each partition goes on at its place.
pub(crate) async fn read(member: Arc<Member>) {
    let id = rand::random::<u64>();
    let mut reader = Reader {
        name: format!("busline-{id:016x}"),
        inbox: format!("_INBOX.{id:016x}"),
        cursors: BTreeMap::new(),
        pieces: BTreeMap::new(),
        serial: 0,
        deletions: Deletions::default(),
        denied: None,
        member: Arc::clone(&member),
    };
    while !member.is_closing() {
        let ended = match member.dialer.dial().await {
            Ok(link) => reader.read_on(link).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::warn!("read {}: {error}", member.request.topic.name);
            member.held().reading_trouble = Some(error);
            drop(timeout(TICK, member.read.notified()).await);
        }
    }
}

impl Reader {
    /// Reads over one connection.
    async fn read_on(&mut self, mut link: Link) -> Result<()> {
        link.subscribe(&format!("{}.>", self.inbox), ANSWERS);
        link.subscribe(&self.member.keys.bell(), BELL);
        // What the old connection was still to bring does not come any more.
        self.cursors.clear();
        while !self.member.is_closing() {
            let has_room = self.follow(&mut link);
            self.hear(&mut link)?;
            self.hand_over();
            self.ask(&mut link, has_room);
            self.look_after(&mut link)?;
            self.wait(&mut link).await?;
        }
        self.let_go(&mut link).await;
        Ok(())
    }

    async fn wait(&self, link: &mut Link) -> Result<()> {
        let broken = |error: std::io::Error| unreachable("the connection broke").because(error);
        let woken = self.member.read.notified();
        match timeout(TICK, select(pin!(link.drive()), pin!(woken))).await {
            Ok(futures_util::future::Either::Left((driven, _))) => driven.map_err(broken),
            _ => Ok(()),
        }
    }

    /// Makes the cursors those of what is held and wanted; gives whether more may be read ahead.
    fn follow(&mut self, link: &mut Link) -> bool {
        let member = Arc::clone(&self.member);
        let held = member.held();
        let topic = &member.request.topic;
        let is_wanted = |partition: &Partition, cursor: &Cursor| {
            let part = held.partitions.get(partition).filter(|part| part.is_open());
            part.is_some_and(|part| (part.generation(), part.moves) == (cursor.generation, cursor.moves))
        };
        let unwanted: Vec<Partition> =
            self.cursors.iter().filter(|(partition, cursor)| !is_wanted(partition, cursor)).map(|(p, _)| *p).collect();
        for partition in unwanted {
            if let Some(subject) = self.cursors.remove(&partition).and_then(|cursor| cursor.end(&self.name)) {
                link.publish(subject.as_bytes(), self.answer_to('x', partition, 0).as_bytes(), b"", b"");
            }
        }
        for (partition, part) in held.partitions.iter().filter(|(_, part)| part.is_open()) {
            self.cursors.entry(*partition).or_insert_with(|| {
                let (place, reads_for) = (Place::of(topic, *partition), (part.generation(), part.moves));
                Cursor::new(place, &topic.spec, reads_for, (part.empty_from, part.next))
            });
        }
        held.has_room()
    }

    /// Takes everything that has come.
    fn hear(&mut self, link: &mut Link) -> Result<()> {
        while let Some(heard) = link.next()? {
            match heard {
                Heard::Complaint(text) => {
                    let error = complaint(text);
                    tracing::warn!("read {}: {error}", self.member.request.topic.name);
                    self.denied = (error.kind() == ErrorKind::Denied).then(|| (Instant::now(), error.clone()));
                    self.member.held().reading_trouble = Some(error);
                }
                Heard::Message(message) => self.take(&message),
            }
        }
        Ok(())
    }

    fn take(&mut self, message: &Message<'_>) {
        if let Some(reply) = Reply::parse(message.reply, &self.name) {
            self.deliver(message, &reply);
        } else if let Some((what, partition, serial)) = self.answered(message.subject) {
            self.answer(message, what, partition, serial);
        } else if message.subject == self.member.keys.bell().as_bytes() {
            self.member.tend.notify_one();
        }
    }

    fn deliver(&mut self, message: &Message<'_>, reply: &Reply) {
        let Some(cursor) = self.cursors.get_mut(&reply.partition).filter(|cursor| cursor.serial() == reply.serial)
        else {
            return;
        };
        let (offset, time) = match cursor.deliver(reply) {
            Delivered::Record(offset, time, gone) => {
                if gone.is_some() {
                    self.pass(reply.partition, Passed { gone, next: offset });
                }
                (offset, time)
            }
            Delivered::Old => return,
            Delivered::Hole => return cursor.reopen(Instant::now()),
        };
        let Some(cursor) = self.cursors.get(&reply.partition) else { return };
        let body = Bytes::copy_from_slice(message.body);
        let piece = self.pieces.entry(reply.partition).or_default();
        piece.is_dense = cursor.is_alone();
        piece.records.push(record(cursor.place(), offset, time, message.headers, body));
    }

    /// Tells of positions that were passed, behind what was read before them.
    fn pass(&mut self, partition: Partition, Passed { gone, next }: Passed) {
        self.hand_over();
        let Some(cursor) = self.cursors.get(&partition) else { return };
        let lost = gone.as_ref().map(|gone| gone.end.0 - gone.start.0);
        self.member.held().pass(partition, (cursor.generation, cursor.moves), next, gone);
        if let Some(count) = lost {
            let (topic, group) = (&self.member.request.topic.name, &self.member.request.group);
            tracing::warn!(
                "{topic}/{partition}: up to {count} records were deleted before group {group} had read them"
            );
            self.member.ready.notify_one();
        }
    }

    fn answer(&mut self, message: &Message<'_>, what: char, partition: Partition, serial: u64) {
        let now = Instant::now();
        let Some(cursor) = self.cursors.get_mut(&partition).filter(|cursor| cursor.serial() == serial) else { return };
        if what == 'p' {
            if let Some(passed) = cursor.status(message, now) {
                self.pass(partition, passed);
            }
            return;
        }
        let answer: Option<Answer> = serde_json::from_slice(message.body).ok();
        match (what, answer) {
            ('m', Some(Answer { error: None, .. })) => cursor.made(),
            ('i', Some(Answer { error: None, config: Some(config), state: Some(state) })) => {
                let found = config.metadata.get(INCARNATION);
                if found.is_some_and(|found| *found == self.member.request.topic.incarnation.to_string()) {
                    cursor.proven();
                    if cursor.ends_at(state.last_seq, now) {
                        // Whoever takes it next, this member too, finds out where to go on.
                        let generation = cursor.generation;
                        self.member.change(|held| held.lose_under(partition, generation));
                        self.member.tend.notify_one();
                        return;
                    }
                    // A cursor that has just begun was told of nothing.
                    self.deletions.begin_anew(&cursor.place().stream);
                    self.look_at_deletions(partition, &state);
                } else {
                    cursor.reopen_later(now);
                    self.member.tend.notify_one();
                }
            }
            // Asked for again a moment later, whatever was said.
            ('s', answer) => {
                if let Some(state) = answer.and_then(|answer| answer.state) {
                    self.look_at_deletions(partition, &state);
                }
            }
            // No stream, no leader, no place for a consumer: the keeper sees whether the topic is gone.
            _ => {
                cursor.reopen_later(now);
                self.member.tend.notify_one();
            }
        }
    }

    /// Whether others are in the streams of this topic, so that a jump in their numbers says nothing. The bus's own topics
    /// are trimmed by their readers.
    fn shares_streams(&self) -> bool {
        let topic = &self.member.request.topic;
        topic.spec.streams < topic.spec.partitions && !topic.name.is_own()
    }

    /// What the stream of this partition has deleted, as it says.
    fn look_at_deletions(&mut self, partition: Partition, state: &StreamState) {
        let Some(stream) = self.cursors.get(&partition).map(|cursor| cursor.place().stream.clone()) else { return };
        if !self.shares_streams() {
            return;
        }
        let member = Arc::clone(&self.member);
        let mut held = member.held();
        let mut lags = false;
        for (partition, cursor) in self.cursors.iter_mut().filter(|(_, cursor)| cursor.place().stream == stream) {
            let next = cursor.next();
            cursor.deleted().begins_at(state.first_seq);
            if let Some(gone) = &state.deleted {
                cursor.deleted().learn(gone, next);
            }
            held.begins_at(*partition, cursor.generation, Offset(state.first_seq));
            lags |= next.0 <= state.last_seq;
        }
        drop(held);
        // With a limit by number the server deletes single records all the time, and each cursor tells by itself.
        let lists = member.request.topic.spec.retention.records_max.is_none();
        if let Some(count) = self.deletions.learn(stream, state, lags, lists) {
            let (topic, group) = (&member.request.topic.name, &member.request.group);
            tracing::warn!("{topic}: {count} single records were deleted, too many to see what group {group} misses");
        }
    }

    /// Gives what was read to the subscription.
    fn hand_over(&mut self) {
        if self.pieces.is_empty() {
            return;
        }
        let mut held = self.member.held();
        for (partition, piece) in std::mem::take(&mut self.pieces) {
            if let Some(cursor) = self.cursors.get(&partition) {
                held.hand_over(partition, cursor.generation, cursor.moves, piece);
            }
        }
        drop(held);
        self.member.ready.notify_one();
    }

    /// Asks for consumers, proofs and records.
    fn ask(&mut self, link: &mut Link, has_room: bool) {
        let now = Instant::now();
        let mut questions: Vec<(String, Value, String)> = Vec::new();
        for (partition, cursor) in &mut self.cursors {
            if cursor.is_due(now) {
                self.serial += 1;
                let (subject, body) = cursor.make(&self.name, self.serial);
                questions.push((subject, body, answer_to(&self.inbox, 'm', *partition, self.serial)));
            } else if let Some(subject) = cursor.prove() {
                questions.push((subject, Value::Null, answer_to(&self.inbox, 'i', *partition, cursor.serial())));
            } else if has_room
                && !self.deletions.holds(&cursor.place().stream, now)
                && let Some((subject, body)) = cursor.pull(&self.name)
            {
                questions.push((subject, body, answer_to(&self.inbox, 'p', *partition, cursor.serial())));
            }
        }
        if self.shares_streams() {
            self.ask_for_deletions(now, &mut questions);
        }
        for (subject, body, answer) in questions {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            link.publish(subject.as_bytes(), answer.as_bytes(), b"", body.as_bytes());
        }
    }

    /// Asks each stream about once a second what it has deleted, in the name of one of its readers.
    fn ask_for_deletions(&mut self, now: Instant, questions: &mut Vec<(String, Value, String)>) {
        for (partition, cursor) in self.cursors.iter().filter(|(_, cursor)| cursor.is_open()) {
            let stream = &cursor.place().stream;
            let Some(body) = self.deletions.ask(stream, now) else { continue };
            let answer = answer_to(&self.inbox, 's', *partition, cursor.serial());
            questions.push((format!("$JS.API.STREAM.INFO.{stream}"), body, answer));
        }
    }

    /// Finds what has stopped moving.
    ///
    /// # Errors
    /// Nobody answers on this connection.
    fn look_after(&mut self, link: &mut Link) -> Result<()> {
        let now = Instant::now();
        link.check_alive(now).map_err(|error| unreachable("the server is silent").because(error))?;
        // A connection that says nothing at all is not asked a second time.
        let is_mute = link.is_mute(now, SILENCE_MAX);
        let denied = self.denied.as_ref().filter(|(said, _)| now.saturating_duration_since(*said) < DENIED_FOR);
        for cursor in self.cursors.values_mut().filter(|cursor| cursor.is_silent(now)) {
            if cursor.is_asking() || is_mute {
                let denied = denied.map(|(_, error)| error.clone());
                return Err(denied.unwrap_or_else(|| unreachable("nobody answers for the stream")));
            }
            cursor.reopen(now);
        }
        if denied.is_none() && self.cursors.values().all(Cursor::is_open) {
            self.member.held().reading_trouble = None;
        }
        Ok(())
    }

    /// Lets go of the consumers, as far as that takes no time; the server forgets the rest by itself.
    async fn let_go(&mut self, link: &mut Link) {
        for (partition, cursor) in std::mem::take(&mut self.cursors) {
            if let Some(subject) = cursor.end(&self.name) {
                link.publish(subject.as_bytes(), self.answer_to('x', partition, 0).as_bytes(), b"", b"");
            }
        }
        let until = Instant::now() + TICK;
        while link.is_sending() && matches!(timeout_at(until, link.drive()).await, Ok(Ok(()))) {}
    }

    fn answer_to(&self, what: char, partition: Partition, serial: u64) -> String {
        answer_to(&self.inbox, what, partition, serial)
    }

    /// Which question this subject answers.
    fn answered(&self, subject: &[u8]) -> Option<(char, Partition, u64)> {
        let rest = std::str::from_utf8(subject).ok()?.strip_prefix(&self.inbox)?.strip_prefix('.')?;
        let mut tokens = rest.split('.');
        let (what, partition, serial) = (tokens.next()?, tokens.next()?, tokens.next()?);
        Some((what.chars().next()?, Partition(partition.parse().ok()?), serial.parse().ok()?))
    }
}

fn answer_to(inbox: &str, what: char, partition: Partition, serial: u64) -> String {
    format!("{inbox}.{what}.{partition}.{serial}")
}
