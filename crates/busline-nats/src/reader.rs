//! The task that reads what a member holds: one link of its own, and a cursor for each partition.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use busline_core::{Partition, Result};
use bytes::Bytes;
use futures_util::future::select;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cursor::{Cursor, Delivered, Reply};
use crate::dialer::complaint;
use crate::error::{ApiError, unreachable};
use crate::held::Piece;
use crate::link::{Heard, Link, Message};
use crate::member::Member;
use crate::records::record;
use crate::topics::{INCARNATION, Place, StreamConfig};

/// Longest wait of the reader before it looks whether everything still moves.
const TICK: Duration = Duration::from_millis(100);

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
}

/// An answer to a question about a consumer or a stream.
#[derive(Deserialize)]
struct Answer {
    error: Option<ApiError>,
    config: Option<StreamConfig>,
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
                let alone = topic.spec.streams == topic.spec.partitions;
                Cursor::new(Place::of(topic, *partition), alone, part.generation(), part.moves, part.next)
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
        match cursor.deliver(reply) {
            Delivered::Record(offset, time) => {
                let body = Bytes::copy_from_slice(message.body);
                let piece = self.pieces.entry(reply.partition).or_default();
                piece.is_dense = cursor.is_alone();
                piece.records.push(record(cursor.place(), offset, time, message.headers, body));
            }
            Delivered::Old => {}
            Delivered::Hole => cursor.reopen(Instant::now()),
        }
    }

    fn answer(&mut self, message: &Message<'_>, what: char, partition: Partition, serial: u64) {
        let now = Instant::now();
        let Some(cursor) = self.cursors.get_mut(&partition).filter(|cursor| cursor.serial() == serial) else { return };
        if what == 'p' {
            return cursor.status(message, now);
        }
        let answer: Option<Answer> = serde_json::from_slice(message.body).ok();
        match (what, answer) {
            ('m', Some(Answer { error: None, .. })) => cursor.made(),
            ('i', Some(Answer { error: None, config: Some(config) })) => {
                let found = config.metadata.get(INCARNATION);
                if found.is_some_and(|found| *found == self.member.request.topic.incarnation.to_string()) {
                    cursor.proven();
                } else {
                    cursor.reopen_later(now);
                    self.member.tend.notify_one();
                }
            }
            // No stream, no leader, no place for a consumer: the keeper sees whether the topic is gone.
            _ => {
                cursor.reopen_later(now);
                self.member.tend.notify_one();
            }
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
            } else if has_room && let Some((subject, body)) = cursor.pull(&self.name) {
                questions.push((subject, body, answer_to(&self.inbox, 'p', *partition, cursor.serial())));
            }
        }
        for (subject, body, answer) in questions {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            link.publish(subject.as_bytes(), answer.as_bytes(), b"", body.as_bytes());
        }
    }

    /// Finds what has stopped moving.
    ///
    /// # Errors
    /// Nobody answers on this connection.
    fn look_after(&mut self, link: &mut Link) -> Result<()> {
        let now = Instant::now();
        link.check_alive(now).map_err(|error| unreachable("the server is silent").because(error))?;
        for cursor in self.cursors.values_mut().filter(|cursor| cursor.is_silent(now)) {
            if cursor.is_asking() {
                return Err(unreachable("nobody answers for the stream"));
            }
            cursor.reopen(now);
        }
        if self.cursors.values().all(Cursor::is_open) {
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
