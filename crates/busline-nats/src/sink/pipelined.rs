//! One message for each record, each with an id, each answered: many keys at once, one record of a key in flight.
//!
//! Whatever happens to a copy on its way, sending it again under its id is safe: the server stores one of them. So a
//! break means: a new connection, and everything unanswered once more. Only copies older than the server's memory of ids
//! are looked up first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use busline_core::{BoxFuture, Error, Partition, Result};
use tokio::time::Instant;

use super::answer::Answer;
use super::ground::Ground;
use super::heads::Heads;
use super::key_hash::ByKey;
use super::line::Line;
use super::rec::Rec;
use super::session::{is_long, poll_in};
use super::tail;
use super::work::Way;
use crate::error::{Refusal, refusal, refused};
use crate::protocol::{parse_number, push_number};
use crate::records::KeyIn;

/// The records of a pipelined sink. Answers come to their numbers.
pub(crate) struct Pipelined {
    /// The record with number `first` and those after it.
    slots: VecDeque<Slot>,
    first: u64,
    /// Each key with records under way, and the number of its last one.
    keys: ByKey<u64>,
    ready: VecDeque<u64>,
    /// The highest known sequence of each stream.
    floors: Vec<u64>,
    looking: Option<BoxFuture<'static, Result<Tails>>>,
    heads: Heads,
    reply: Vec<u8>,
}

/// The ends of streams, each by the stream's number.
type Tails = Vec<(usize, tail::Tail)>;

struct Slot {
    /// It holds a copy of its bytes if its outcome was reported before it was known: it is sent until the server says
    /// what became of it.
    rec: Rec,
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

impl Slot {
    /// Whether an answer is missing.
    fn is_sent(&self) -> bool {
        matches!(self.state, State::Sent(_))
    }

    /// Whether it is to be sent again although a copy may be stored.
    fn is_open_question(&self) -> bool {
        self.doubt && self.state == State::Ready
    }
}

impl Pipelined {
    /// Over streams with these last sequences.
    pub(crate) fn new(floors: Vec<u64>) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 1,
            keys: ByKey::default(),
            ready: VecDeque::new(),
            floors,
            looking: None,
            heads: Heads::default(),
            reply: Vec::new(),
        }
    }

    fn slot(&mut self, id: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(id.checked_sub(self.first)?).ok()?)
    }

    /// The numbers of the slots that this picks, in order.
    fn ids(&self, picks: impl Fn(&Slot) -> bool) -> Vec<u64> {
        self.slots.iter().zip(self.first..).filter(|(slot, _)| picks(slot)).map(|(_, id)| id).collect()
    }

    fn forget_done(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.state == State::Done) {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    fn send_record(&mut self, line: &mut Line, id: u64, now: Instant) {
        let at = id.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) else { return };
        let (Some(link), Some(record)) = (&mut line.session.link, slot.rec.bytes(&line.pending)) else { return };
        let heads = self.heads.begin().message_id(&line.ground.incarnation, id);
        if line.ground.key_in == KeyIn::Header {
            heads.key(record.key);
        }
        let block = heads.stored(record.header_block).end();
        self.reply.clear();
        self.reply.extend_from_slice(line.ground.inbox.as_bytes());
        push_number(&mut self.reply, id);
        if let Err(error) = line.ground.publish(link, record.partition, &self.reply, block, record.body) {
            return self.fail(line, id, error);
        }
        slot.state = State::Sent(now);
        if slot.first_sent.is_none() {
            slot.first_sent = Some(now);
            slot.floor = self.floors[line.ground.stream_number(slot.rec.partition)];
        }
        line.session.has_sent();
    }

    // ---- what became of a record

    fn stored(&mut self, line: &mut Line, id: u64, seq: u64) {
        let Some(slot) = id.checked_sub(self.first).and_then(|at| self.slots.get(at as usize)) else { return };
        let floor = &mut self.floors[line.ground.stream_number(slot.rec.partition)];
        *floor = seq.max(*floor);
        line.stored(&slot.rec, Some(seq));
        self.next_of_key(id);
    }

    /// The record is settled at the server; the next one of its key may go.
    fn next_of_key(&mut self, id: u64) {
        let Some(slot) = self.slot(id) else { return };
        slot.state = State::Done;
        slot.rec.copy = None;
        let (key, mut next) = (slot.rec.key, slot.next);
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
    fn fail(&mut self, line: &mut Line, id: u64, error: Error) {
        let Some(slot) = self.slot(id) else { return };
        let error = if slot.doubt { error.indeterminate() } else { error };
        let (batch, index, waits) = (slot.rec.batch, slot.rec.index, slot.state == State::Waiting);
        self.fail_behind(line, id, &error);
        if waits {
            // Another one of its key is still to be settled at the server: the key is not free.
            if let Some(slot) = self.slot(id) {
                slot.state = State::Done;
                slot.rec.copy = None;
            }
        } else {
            self.next_of_key(id);
        }
        line.note(batch, index, Err(error));
    }

    /// Fails everything that waits behind a record that is not acked.
    fn fail_behind(&mut self, line: &mut Line, id: u64, error: &Error) {
        let Some(slot) = self.slot(id) else { return };
        let Some(behind) = line.break_key(&slot.rec, error) else { return };
        let (key, mut next) = (slot.rec.key, std::mem::take(&mut slot.next));
        self.keys.insert(key, id);
        while next != 0 {
            let Some(slot) = self.slot(next) else { break };
            slot.state = State::Done;
            next = slot.next;
            line.note(slot.rec.batch, slot.rec.index, Err(behind.clone()));
        }
    }

    // ---- copies older than the server's memory of ids

    fn look_back(&mut self, ground: &Arc<Ground>) {
        let mut floors: HashMap<usize, u64> = HashMap::new();
        for slot in self.slots.iter().filter(|slot| slot.is_open_question()) {
            let floor = floors.entry(ground.stream_number(slot.rec.partition)).or_insert(slot.floor);
            *floor = slot.floor.min(*floor);
        }
        let ground = Arc::clone(ground);
        self.looking = Some(Box::pin(async move {
            let mut tails = Vec::new();
            for (number, floor) in floors {
                tails.push((number, tail::read(&ground.admin, &ground.streams[number], floor).await?));
            }
            Ok(tails)
        }));
    }
}

impl Way for Pipelined {
    type Said = Result<Tails>;

    fn is_idle(&self) -> bool {
        self.slots.is_empty()
    }

    fn is_open(&self) -> bool {
        false
    }

    fn take(&mut self, _: &Ground, rec: Rec) {
        let id = self.first + self.slots.len() as u64;
        let mut state = State::Ready;
        if let Some(last) = self.keys.insert(rec.key, id) {
            self.slots[(last - self.first) as usize].next = id;
            state = State::Waiting;
        } else {
            self.ready.push_back(id);
        }
        self.slots.push_back(Slot { rec, next: 0, state, first_sent: None, floor: 0, doubt: false });
    }

    fn send(&mut self, line: &mut Line, now: Instant) {
        let repeat_max = line.ground.repeat_max();
        while self.looking.is_none() && line.session.may_send() {
            let Some(id) = self.ready.pop_front() else { break };
            let Some(slot) = self.slot(id).filter(|slot| slot.state == State::Ready) else { continue };
            if slot.doubt && slot.first_sent.is_some_and(|first| now.saturating_duration_since(first) >= repeat_max) {
                self.ready.push_front(id);
                return self.look_back(&line.ground);
            }
            self.send_record(line, id, now);
        }
        self.forget_done();
    }

    fn answered(&mut self, line: &mut Line, id: u64, answer: Answer) {
        let Some(slot) = self.slot(id) else { return };
        if !matches!(slot.state, State::Sent(_) | State::Ready) || slot.first_sent.is_none() {
            return;
        }
        match answer {
            Answer::Stored { seq, .. } => self.stored(line, id, seq),
            Answer::NoResponders => {
                self.again(id, false);
                line.session.hold_and_check();
            }
            Answer::Refused(error) => match refusal(&error) {
                Refusal::Transient => {
                    self.again(id, false);
                    line.session.hold();
                }
                Refusal::Final => self.fail(line, id, refused(&error).at("publish", &line.ground.topic.name)),
                Refusal::Unknown => {
                    line.session.set_trouble(Some(crate::error::from_api(&error)));
                    self.again(id, true);
                    line.session.hold_and_check();
                }
            },
            Answer::Taken | Answer::Flow { .. } | Answer::Blame { .. } | Answer::Remark => {}
        }
        self.forget_done();
    }

    fn denied(&mut self, line: &mut Line, partition: Partition, error: &Error) {
        for id in self.ids(|slot| slot.is_sent() && slot.rec.partition == partition) {
            self.fail(line, id, error.clone());
        }
        self.forget_done();
    }

    /// What may be stored holds its key.
    fn report(&mut self, line: &mut Line, batch: u64, error: &Error) {
        for id in self.ids(|slot| slot.rec.batch == batch && slot.state != State::Done) {
            let Some(slot) = self.slot(id) else { continue };
            let index = slot.rec.index;
            if !line.pending.is_open(batch, index as usize) {
                continue;
            }
            slot.doubt |= slot.is_sent();
            if slot.doubt {
                slot.rec.adopt(&line.pending);
                let error = error.clone().indeterminate();
                self.fail_behind(line, id, &error);
                line.note(batch, index, Err(error));
            } else {
                self.fail(line, id, error.clone());
            }
        }
        self.forget_done();
    }

    fn broken(&mut self, _: Instant) {
        let again = self.ids(Slot::is_sent);
        again.into_iter().rev().for_each(|id| self.again(id, true));
    }

    fn forget(&mut self) {
        self.first += self.slots.len() as u64;
        self.slots.clear();
        self.keys.clear();
        self.ready.clear();
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.slots.iter().any(|slot| matches!(slot.state, State::Sent(sent) if is_long(sent, now)))
    }

    fn look_at_clocks(&mut self, _: &Line, _: Instant) {}

    fn poll_question(&mut self, cx: &mut Context<'_>) -> Poll<Self::Said> {
        poll_in(&mut self.looking, cx)
    }

    fn said(&mut self, line: &mut Line, said: Self::Said) -> Result<()> {
        self.looking = None;
        let tails = said?;
        for (number, tail) in &tails {
            for message in &tail.messages {
                let own = crate::records::header(&message.hdrs, "Nats-Msg-Id")
                    .and_then(|id| id.strip_prefix(line.ground.incarnation.as_bytes())?.strip_prefix(b"-"))
                    .and_then(parse_number);
                if let Some(id) = own
                    && self.slot(id).is_some_and(|slot| slot.is_open_question())
                {
                    self.stored(line, id, message.seq);
                }
            }
            self.floors[*number] = tail.last.max(self.floors[*number]);
        }
        // A copy that was not found and comes late is known by its id, if ids are known for so long.
        let ids_tell = !line.ground.repeat_max().is_zero();
        for id in self.ids(Slot::is_open_question) {
            let Some(slot) = self.slot(id) else { continue };
            let stream = line.ground.stream_number(slot.rec.partition);
            let looked = tails.iter().find(|(number, tail)| *number == stream && tail.after <= slot.floor);
            // One that became a question meanwhile is looked for the next time.
            let Some((_, tail)) = looked else { continue };
            if !ids_tell || !tail.is_whole_behind(slot.floor) {
                let lost = line.ground.lost();
                self.fail(line, id, lost);
                continue;
            }
            (slot.doubt, slot.first_sent) = (false, None);
            // One that was reported meanwhile needs no copy any more: its key is free.
            if slot.rec.copy.is_some() {
                self.next_of_key(id);
            }
        }
        self.forget_done();
        Ok(())
    }
}
