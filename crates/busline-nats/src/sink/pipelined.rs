//! One message for each record, each with an id, each answered: many keys at once, one record of a key in flight.
//!
//! Whatever happens to a copy on its way, sending it again under its id is safe: the server stores one of them. So a
//! break means: a new connection, and everything unanswered once more. Only copies older than the server's memory of ids
//! are looked up first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use busline_core::{Ack, Batch, BoxFuture, Error, ErrorKind, Partition, Result};
use tokio::time::Instant;

use super::answer::Answer;
use super::atomic::{Atomic, NUMBERS, Progress, REPEAT_MAX};
use super::backlog::Backlog;
use super::door::Door;
use super::ground::Ground;
use super::heads::Heads;
use super::key_hash::{ByKey, KeyHash};
use super::pending::Pending;
use super::session::{Session, Woke, poll_option};
use super::tail;
use crate::error::{Refusal, refusal, refused, unreachable};
use crate::link::{Heard, Link, parse_number, push_number};

/// Longest wait for an answer before the connection counts as broken.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The task of a pipelined sink.
pub(crate) struct Pipelined {
    ground: Arc<Ground>,
    session: Session,
    looking: Option<BoxFuture<'static, Result<Tails>>>,
    backlog: Backlog,
    atomic: Option<Atomic>,
    pending: Pending,
    hash: KeyHash,
    /// The record with number `first` and those after it.
    slots: VecDeque<Slot>,
    first: u64,
    /// Each key with records under way, and the number of its last one.
    keys: ByKey<u64>,
    /// Keys that failed in a batch that is not settled, with that batch and what those behind are told.
    broken: ByKey<(u64, Error)>,
    ready: VecDeque<u64>,
    /// Records whose outcome was reported before it was known: they are sent until the server says what became of them.
    orphans: HashMap<u64, Orphan>,
    /// The highest known sequence of each stream.
    floors: Vec<u64>,
    gone: Option<Error>,
    heads: Heads,
    reply: Vec<u8>,
    answers: Vec<(u64, Answer)>,
}

/// The ends of streams, each by the stream's number.
type Tails = Vec<(usize, tail::Tail)>;

struct Slot {
    batch: u64,
    index: u32,
    partition: Partition,
    key: u64,
    /// The next record of this key, or 0.
    next: u64,
    state: State,
    /// When the first copy was sent that the server may know.
    first_sent: Option<Instant>,
    /// The stream's highest known sequence at that time: a stored copy lies above.
    floor: u64,
    /// A copy was sent whose fate is not known.
    doubt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Behind another one of its key.
    Waiting,
    Ready,
    Sent(Instant),
    Done,
}

struct Orphan {
    key: Vec<u8>,
    headers: Vec<u8>,
    body: Vec<u8>,
}

impl Pipelined {
    pub(crate) fn new(ground: Arc<Ground>, door: Arc<Door>, link: Link, floors: Vec<u64>) -> Self {
        Self {
            session: Session::new(Arc::clone(&ground), door, link),
            ground,
            looking: None,
            backlog: Backlog::default(),
            atomic: None,
            pending: Pending::default(),
            hash: KeyHash::new(),
            slots: VecDeque::new(),
            first: 1,
            keys: ByKey::default(),
            broken: ByKey::default(),
            ready: VecDeque::new(),
            orphans: HashMap::new(),
            floors,
            gone: None,
            heads: Heads::default(),
            reply: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Runs until the sink is closed and everything is settled, or its time to close is over.
    pub(crate) async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.take_in();
            if self.session.has_ticked(now, self.is_idle()) {
                self.look_at_clocks(now);
            }
            self.send(now);
            let reported = self.atomic.as_ref().is_none_or(|atomic| atomic.batch().is_none());
            let settled = reported && self.pending.is_empty() && self.backlog.is_empty();
            if self.session.is_over(now, settled) {
                return self.end();
            }
            self.wait().await;
        }
    }

    fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.pending.is_empty() && self.backlog.is_empty() && self.atomic.is_none()
    }

    async fn wait(&mut self) {
        let woke = tokio::select! {
            biased;
            woke = self.session.wait() => woke,
            looked = poll_option(&mut self.looking) => return self.looked(looked),
        };
        match woke {
            Woke::Heard => self.hear(),
            Woke::Broken(error) => self.break_link(error),
            Woke::Gone(error) => self.lose_topic(error),
            Woke::Dialed | Woke::Stirred => {}
        }
    }

    /// What is left when the time to close is over gets the outcome that is known of it.
    fn end(mut self) {
        self.take_in();
        let closed = self.ground.closed();
        for number in self.pending.numbers() {
            self.report(number, &closed);
        }
        self.report_atomic(&closed);
        self.backlog.settle_all(&closed);
    }

    // ---- batches in

    fn take_in(&mut self) {
        self.backlog.fill_from(&self.session.door);
        while self.atomic.is_none() {
            if self.backlog.is_next_atomic() {
                if !self.pending.is_empty() || !self.orphans.is_empty() {
                    return;
                }
                let Some(batch) = self.backlog.take_atomic(self.hash) else { continue };
                self.begin_atomic(batch);
            }
            let Some((batch, behind)) = self.backlog.take() else { return };
            self.activate(batch, &behind);
        }
    }

    fn begin_atomic(&mut self, batch: Batch) {
        let refused = match &self.gone {
            Some(gone) => Some(gone.clone()),
            None if !Atomic::is_of_one_stream(&self.ground, &batch) => Some(Atomic::several_streams(&self.ground)),
            None => None,
        };
        if let Some(error) = refused {
            let outcomes = vec![Err(error); batch.len()];
            self.backlog.taint(&batch, &outcomes, self.hash);
            return batch.settle(outcomes);
        }
        // Nothing is under way, so the numbers may jump: the batch takes those of its answers.
        self.slots.clear();
        let first = self.first;
        self.first += NUMBERS;
        self.atomic = Some(Atomic::new(Arc::clone(&self.ground), batch, first));
    }

    fn activate(&mut self, batch: Batch, behind: &ByKey<Error>) {
        if let Some(gone) = &self.gone {
            return batch.settle_all(&gone.clone());
        }
        let (hash, number) = (self.hash, self.pending.add(batch));
        let Some(batch) = self.pending.batch(number) else { return };
        let mut refused = Vec::new();
        for (index, record) in batch.records().enumerate() {
            let key = hash.of(record.key);
            let told = self.broken.get(&key).map(|(_, error)| error).or_else(|| behind.get(&key));
            let id = self.first + self.slots.len() as u64;
            let mut state = State::Ready;
            if let Some(error) = told {
                refused.push((index, key, error.clone()));
                state = State::Done;
            } else if let Some(last) = self.keys.insert(key, id) {
                self.slots[(last - self.first) as usize].next = id;
                state = State::Waiting;
            } else {
                self.ready.push_back(id);
            }
            self.slots.push_back(Slot {
                batch: number,
                index: index as u32,
                partition: record.partition,
                key,
                next: 0,
                state,
                first_sent: None,
                floor: 0,
                doubt: false,
            });
        }
        for (index, key, error) in refused {
            self.broken.entry(key).or_insert_with(|| (number, error.clone()));
            self.note(number, index, Err(error));
        }
        self.forget_done();
    }

    fn slot(&mut self, id: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(id.checked_sub(self.first)?).ok()?)
    }

    fn forget_done(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.state == State::Done) {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    // ---- messages out

    fn send(&mut self, now: Instant) {
        if self.looking.is_some() {
            return;
        }
        if let Some(atomic) = &mut self.atomic {
            if self.session.may_send()
                && let Some(link) = &mut self.session.link
            {
                atomic.send(link, now);
                self.session.has_sent();
            }
            return;
        }
        while self.session.may_send() {
            let Some(id) = self.ready.pop_front() else { return };
            let Some(slot) = self.slot(id) else { continue };
            if slot.state != State::Ready {
                continue;
            }
            if slot.doubt && slot.first_sent.is_some_and(|first| now.saturating_duration_since(first) > REPEAT_MAX) {
                self.ready.push_front(id);
                return self.look_back();
            }
            self.send_record(id, now);
        }
    }

    fn send_record(&mut self, id: u64, now: Instant) {
        let Some(at) = id.checked_sub(self.first) else { return };
        let Some(slot) = self.slots.get_mut(at as usize) else { return };
        let (partition, index) = (slot.partition, slot.index as usize);
        let Some(link) = &mut self.session.link else { return };
        let orphan = self.orphans.get(&id);
        let record = self.pending.batch(slot.batch).map(|batch| batch.record(index));
        let (key, headers, body) = match (&orphan, &record) {
            (Some(orphan), _) => (&orphan.key[..], &orphan.headers[..], &orphan.body[..]),
            (None, Some(record)) => (record.key, record.header_block, record.body),
            (None, None) => return,
        };
        let heads = self.heads.begin().message_id(&self.ground.incarnation, id);
        if self.ground.carries_keys {
            heads.key(key);
        }
        let block = heads.stored(headers).end();
        let (bytes, max) = (block.len() + body.len(), link.info().max_payload);
        if bytes > max {
            let error = self.ground.too_large(bytes, max);
            return self.fail(id, error);
        }
        self.reply.clear();
        self.reply.extend_from_slice(self.ground.inbox.as_bytes());
        push_number(&mut self.reply, id);
        link.publish(&self.ground.subjects[partition.0 as usize], &self.reply, block, body);
        slot.state = State::Sent(now);
        if slot.first_sent.is_none() {
            slot.first_sent = Some(now);
            slot.floor = self.floors[self.ground.stream_number(partition)];
        }
        self.session.has_sent();
    }

    // ---- answers in

    fn hear(&mut self) {
        let Some(link) = &mut self.session.link else { return };
        let mut answers = std::mem::take(&mut self.answers);
        let mut broken = None;
        let mut denied = Vec::new();
        loop {
            match link.next() {
                Ok(None) => break,
                Ok(Some(Heard::Message(message))) => {
                    let token = message.subject.strip_prefix(self.ground.inbox.as_bytes()).and_then(parse_number);
                    match (token, Answer::read(&message)) {
                        (Some(token), Ok(answer)) => answers.push((token, answer)),
                        (_, Err(error)) => broken = Some(error),
                        (None, _) => {}
                    }
                }
                Ok(Some(Heard::Complaint(text))) => denied.push(text.to_owned()),
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        for (token, answer) in answers.drain(..) {
            self.answered(token, answer);
        }
        self.answers = answers;
        denied.iter().for_each(|text| self.complained(text));
        if let Some(error) = broken {
            self.break_link(error);
        }
        self.forget_done();
    }

    fn answered(&mut self, id: u64, answer: Answer) {
        if let Some(atomic) = &mut self.atomic {
            let progress = atomic.answered(id, answer);
            return self.atomic_went(progress);
        }
        let Some(slot) = self.slot(id) else { return };
        if !matches!(slot.state, State::Sent(_) | State::Ready) || slot.first_sent.is_none() {
            return;
        }
        match answer {
            Answer::Stored { seq, .. } => self.stored(id, seq),
            Answer::NoResponders => {
                self.again(id, false);
                self.session.hold();
                self.session.check_topic();
            }
            Answer::Refused(error) => match refusal(&error) {
                Refusal::Transient => {
                    self.again(id, false);
                    self.session.hold();
                }
                Refusal::Final => self.fail(id, refused(&error).at("publish", &self.ground.topic.name)),
                Refusal::Unknown => {
                    self.session.set_trouble(Some(crate::error::from_api(&error)));
                    self.again(id, true);
                    self.session.hold();
                    self.session.check_topic();
                }
            },
            Answer::Taken | Answer::Flow { .. } | Answer::Blame { .. } | Answer::Remark => {}
        }
    }

    fn atomic_went(&mut self, progress: Progress) {
        match progress {
            Progress::On => {}
            Progress::Hold => {
                self.session.hold();
                self.session.check_topic();
            }
            Progress::Done => {
                self.session.has_moved();
                if let Some((Some(batch), outcomes)) = self.atomic.take().map(Atomic::into_outcomes) {
                    self.settle_atomic(batch, outcomes);
                }
            }
        }
    }

    fn settle_atomic(&mut self, batch: Batch, outcomes: Vec<Result<Ack>>) {
        if outcomes.iter().any(std::result::Result::is_err) {
            self.backlog.fill_from(&self.session.door);
            self.backlog.taint(&batch, &outcomes, self.hash);
        }
        batch.settle(outcomes);
    }

    /// Reports the atomic batch under way; what may be stored of it is found out all the same.
    fn report_atomic(&mut self, error: &Error) {
        let Some(atomic) = &mut self.atomic else { return };
        let in_doubt = atomic.is_in_doubt();
        let Some(batch) = atomic.take_batch() else { return };
        if !in_doubt {
            self.atomic = None;
        }
        let error = if in_doubt { error.clone().indeterminate() } else { error.clone() };
        let outcomes = vec![Err(error); batch.len()];
        self.settle_atomic(batch, outcomes);
    }

    fn stored(&mut self, id: u64, seq: u64) {
        let ground = Arc::clone(&self.ground);
        let Some(slot) = self.slot(id) else { return };
        let (batch, index, partition) = (slot.batch, slot.index as usize, slot.partition);
        let floor = &mut self.floors[ground.stream_number(partition)];
        *floor = seq.max(*floor);
        self.session.has_moved();
        self.next_of_key(id);
        self.note(batch, index, Ok(ground.ack(partition, Some(seq))));
    }

    /// The record is settled at the server; the next one of its key may go.
    fn next_of_key(&mut self, id: u64) {
        self.orphans.remove(&id);
        let Some(slot) = self.slot(id) else { return };
        slot.state = State::Done;
        let (key, mut next) = (slot.key, slot.next);
        while let Some(slot) = self.slot(next) {
            if slot.state == State::Waiting {
                slot.state = State::Ready;
                self.ready.push_back(next);
                return;
            }
            // It failed while it waited.
            next = slot.next;
        }
        self.keys.remove(&key);
    }

    /// The record is to be sent again; `doubt` if the last copy may be stored.
    fn again(&mut self, id: u64, doubt: bool) {
        let Some(slot) = self.slot(id) else { return };
        slot.doubt |= doubt;
        if !slot.doubt {
            // Certainly not stored: as if it had never been sent.
            slot.first_sent = None;
        }
        slot.state = State::Ready;
        self.ready.push_front(id);
    }

    /// The record ends here, and so do those behind it of its key that were accepted.
    fn fail(&mut self, id: u64, error: Error) {
        let Some(slot) = self.slot(id) else { return };
        let error = if slot.doubt { error.indeterminate() } else { error };
        let (batch, index, waits) = (slot.batch, slot.index as usize, slot.state == State::Waiting);
        self.break_key(id, &error);
        if waits {
            // Another one of its key is still to be settled at the server: the key is not free.
            if let Some(slot) = self.slot(id) {
                slot.state = State::Done;
            }
        } else {
            self.next_of_key(id);
        }
        self.note(batch, index, Err(error));
    }

    /// Fails everything that waits behind a record that is not acked.
    fn break_key(&mut self, id: u64, error: &Error) {
        let Some(slot) = self.slot(id) else { return };
        let (key, batch, index, mut next) = (slot.key, slot.batch, slot.index as usize, slot.next);
        if !self.pending.is_open(batch, index) {
            // Its outcome was reported before: nobody behind it is concerned any more.
            return;
        }
        let Some(behind) = self.pending.batch(batch).map(|batch| batch.behind(index, error)) else { return };
        self.broken.entry(key).or_insert_with(|| (batch, behind.clone()));
        if let Some(slot) = self.slot(id) {
            slot.next = 0;
        }
        self.keys.insert(key, id);
        while next != 0 {
            let Some(slot) = self.slot(next) else { break };
            let (batch, index) = (slot.batch, slot.index as usize);
            slot.state = State::Done;
            next = slot.next;
            self.note(batch, index, Err(behind.clone()));
        }
    }

    /// Notes an outcome, and settles the batches that are complete.
    fn note(&mut self, batch: u64, index: usize, outcome: Result<Ack>) {
        self.pending.note(batch, index, outcome);
        while let Some((number, failed)) = self.pending.complete() {
            if failed {
                // What was handed over before this report stands behind the failure; what comes later does not.
                self.backlog.fill_from(&self.session.door);
                self.backlog.taint_keys(self.broken.iter().filter(|(_, (from, _))| *from == number));
                self.broken.retain(|_, (from, _)| *from != number);
            }
            self.pending.settle_oldest();
        }
    }

    // ---- trouble

    /// The connection is given up with everything in its buffers; what was sent and not answered is in doubt.
    fn break_link(&mut self, error: Error) {
        self.session.lose_link(error);
        let mut again = Vec::new();
        for (slot, id) in self.slots.iter_mut().zip(self.first..) {
            if matches!(slot.state, State::Sent(_)) {
                slot.state = State::Ready;
                slot.doubt = true;
                again.push(id);
            }
        }
        again.iter().rev().for_each(|id| self.ready.push_front(*id));
        if let Some(atomic) = &mut self.atomic {
            atomic.broken();
        }
    }

    fn complained(&mut self, text: &str) {
        let error = if text.to_ascii_lowercase().contains("permissions violation") {
            self.ground.denied(text)
        } else {
            return self.session.set_trouble(Some(crate::dialer::complaint(text)));
        };
        self.session.set_trouble(Some(error.clone()));
        let refused: Vec<u64> = self
            .slots
            .iter()
            .zip(self.first..)
            .filter(|(slot, _)| {
                matches!(slot.state, State::Sent(_)) && names_subject(text, &self.ground, slot.partition)
            })
            .map(|(_, id)| id)
            .collect();
        for id in refused {
            self.fail(id, error.clone());
        }
    }

    /// The topic was deleted: nothing is ever sent again.
    fn lose_topic(&mut self, error: Error) {
        self.gone = Some(error.clone());
        self.backlog.fill_from(&self.session.door);
        for number in self.pending.numbers() {
            self.report(number, &error);
        }
        self.report_atomic(&error);
        self.atomic = None;
        self.backlog.settle_all(&error);
        self.slots.clear();
        self.keys.clear();
        self.orphans.clear();
        self.ready.clear();
        self.first += u64::from(u32::MAX);
    }

    // ---- clocks

    fn look_at_clocks(&mut self, now: Instant) {
        for number in self.pending.overdue(now) {
            let overdue = self.ground.overdue(self.session.trouble());
            self.report(number, &overdue);
        }
        self.look_at_atomic(now);
        let (ground, trouble) = (Arc::clone(&self.ground), self.session.trouble().cloned());
        self.backlog.settle_overdue(now, self.hash, || ground.overdue(trouble.as_ref()));
        let answer_missing = |sent: &Instant| now.saturating_duration_since(*sent) > ANSWER_MAX;
        let silent = self.slots.iter().any(|slot| matches!(&slot.state, State::Sent(sent) if answer_missing(sent)));
        let stuck = self.atomic.as_ref().is_some_and(|atomic| atomic.waits_since().is_some_and(|s| answer_missing(&s)));
        if self.session.link.is_some() && (silent || stuck) {
            self.break_link(unreachable(format!("no answer within {ANSWER_MAX:?}")));
        }
        if let Err(error) = self.session.look_at_clocks(now) {
            self.break_link(error);
        }
    }

    fn look_at_atomic(&mut self, now: Instant) {
        let Some(atomic) = &self.atomic else { return };
        let overdue = atomic.batch().is_some_and(|batch| batch.deadline() <= now);
        let forgotten = atomic.is_forgotten(now);
        if overdue || forgotten {
            let error = self.ground.overdue(self.session.trouble());
            self.report_atomic(&error);
        }
        if forgotten {
            // Its last copy went over a connection that is long gone, so it is stored by now or never.
            self.atomic = None;
        }
    }

    /// Reports everything of a batch that has no outcome: what no copy was sent of is definitely not stored. What may be
    /// stored is found out all the same, and holds its key until then.
    fn report(&mut self, number: u64, error: &Error) {
        let ids: Vec<u64> = self
            .slots
            .iter()
            .zip(self.first..)
            .filter(|(slot, _)| slot.batch == number && slot.state != State::Done)
            .map(|(_, id)| id)
            .collect();
        for id in ids {
            let Some(slot) = self.slot(id) else { continue };
            let (index, state) = (slot.index as usize, slot.state);
            if !self.pending.is_open(number, index) {
                continue;
            }
            let Some(slot) = self.slot(id) else { continue };
            slot.doubt |= matches!(state, State::Sent(_));
            if slot.doubt {
                self.adopt(id);
                let error = error.clone().indeterminate();
                self.break_key(id, &error);
                self.note(number, index, Err(error));
            } else {
                self.fail(id, error.clone());
            }
        }
        self.forget_done();
    }

    /// Keeps a copy of a record that is still to be settled at the server when its batch has gone.
    fn adopt(&mut self, id: u64) {
        let Some(slot) = id.checked_sub(self.first).and_then(|at| self.slots.get(at as usize)) else { return };
        if let Some(batch) = self.pending.batch(slot.batch) {
            let record = batch.record(slot.index as usize);
            let (key, headers) = (record.key.to_vec(), record.header_block.to_vec());
            self.orphans.insert(id, Orphan { key, headers, body: record.body.to_vec() });
        }
    }

    // ---- copies older than the server's memory of ids

    fn look_back(&mut self) {
        let mut floors: HashMap<usize, u64> = HashMap::new();
        for slot in self.slots.iter().filter(|slot| slot.doubt && slot.state == State::Ready) {
            let floor = floors.entry(self.ground.stream_number(slot.partition)).or_insert(slot.floor);
            *floor = slot.floor.min(*floor);
        }
        let ground = Arc::clone(&self.ground);
        self.looking = Some(Box::pin(async move {
            let mut tails = Vec::new();
            for (number, floor) in floors {
                tails.push((number, tail::read(&ground.admin, &ground.streams[number], floor).await?));
            }
            Ok(tails)
        }));
    }

    fn looked(&mut self, looked: Result<Tails>) {
        self.looking = None;
        let tails = match looked {
            Ok(tails) => tails,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.lose_topic(self.ground.gone()),
            Err(error) => {
                self.session.set_trouble(Some(error));
                return self.session.hold();
            }
        };
        for (number, tail) in tails {
            for message in &tail.messages {
                let own = crate::records::header(&message.hdrs, "Nats-Msg-Id")
                    .and_then(|id| id.strip_prefix(self.ground.incarnation.as_bytes())?.strip_prefix(b"-"))
                    .and_then(parse_number);
                if let Some(id) = own
                    && self.slot(id).is_some_and(|slot| slot.state == State::Ready && slot.doubt)
                {
                    self.stored(id, message.seq);
                }
            }
            self.floors[number] = tail.last.max(self.floors[number]);
        }
        // What was not found can no longer arrive: the connection of its last copy is long gone.
        let mut over = Vec::new();
        for (slot, id) in self.slots.iter_mut().zip(self.first..) {
            if slot.doubt && slot.state == State::Ready {
                slot.doubt = false;
                slot.first_sent = None;
                over.push(id);
            }
        }
        // One that was reported meanwhile needs no copy any more: its key is free.
        over.retain(|id| self.orphans.contains_key(id));
        over.into_iter().for_each(|id| self.next_of_key(id));
        self.forget_done();
    }
}

/// Whether the server's complaint is about this partition's subject.
fn names_subject(text: &str, ground: &Ground, partition: Partition) -> bool {
    let subject = String::from_utf8_lossy(&ground.subjects[partition.0 as usize]).into_owned();
    text.contains(&format!("\"{subject}\""))
}
