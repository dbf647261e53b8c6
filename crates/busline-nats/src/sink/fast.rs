//! Fast ingest: one batch of the server's for each stream as long as there is work, acked by its flow, without headers.
//!
//! Holes are impossible inside a batch (gap mode `fail`). A batch confirms its end only by a commit, so it ends when the
//! publisher has no more. Only its first message has an id: alone it could bring a batch to life that was given up.
//!
//! ```text
//!  op 0, wait ─ op 1, op 1, … (never more than 2 flows ahead of the acks) ─ op 2 or 3: committed
//!                   │ break
//!                   └─ op 3 on the old batch ─ read the stream's end ─ next record as op 2 on the old batch ─ go on anew
//! ```
//!
//! # Source
//! NATS ADR-50, and what was seen on real servers of one and three nodes: the recovery's order of steps is what kept
//! old messages from being stored behind new ones.

use std::sync::Arc;
use std::task::Poll;

use busline_core::{Ack, Batch, Error, ErrorKind, Result};
use tokio::time::Instant;

use super::answer::Answer;
use super::atomic::{Atomic, NUMBERS, Progress};
use super::backlog::Backlog;
use super::course::Wire;
use super::door::Door;
use super::ground::Ground;
use super::key_hash::{ByKey, KeyHash};
use super::log::Rec;
use super::pending::Pending;
use super::run::{Asked, Run, Settled};
use super::session::{Session, Woke};
use crate::error::unreachable;
use crate::link::{Heard, Link, parse_number};

/// The task of a fast sink.
pub(crate) struct Fast {
    ground: Arc<Ground>,
    session: Session,
    backlog: Backlog,
    atomic: Option<Atomic>,
    /// The next number for the answers of an atomic batch.
    atomic_number: u64,
    pending: Pending,
    hash: KeyHash,
    runs: Vec<Run>,
    broken: ByKey<(u64, Error)>,
    gone: Option<Error>,
    batches_max: usize,
    answers: Vec<(Token, Answer)>,
    settled: Vec<Settled>,
}

/// What an answer belongs to.
#[derive(Debug, Clone, Copy)]
enum Token {
    /// A fast batch.
    Course(u64),
    /// The atomic batch.
    Number(u64),
}

impl Fast {
    pub(crate) fn new(
        ground: Arc<Ground>,
        door: Arc<Door>,
        link: Link,
        streams: Vec<(u64, u8)>,
        batches_max: usize,
    ) -> Self {
        let runs = streams.into_iter().enumerate();
        Self {
            session: Session::new(Arc::clone(&ground), door, link),
            backlog: Backlog::default(),
            atomic: None,
            // Far from the numbers of records, which the runs make their ids of.
            atomic_number: 1 << 62,
            pending: Pending::default(),
            hash: KeyHash::new(),
            runs: runs.map(|(number, (last, replicas))| Run::new(number, last, replicas)).collect(),
            broken: ByKey::default(),
            gone: None,
            batches_max,
            answers: Vec::new(),
            settled: Vec::new(),
            ground,
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
            if self.session.is_over(now, self.is_settled()) {
                return self.end();
            }
            self.wait().await;
        }
    }

    fn is_idle(&self) -> bool {
        let runs = self.runs.iter().all(Run::is_idle);
        runs && self.pending.is_empty() && self.backlog.is_empty() && self.atomic.is_none()
    }

    /// Whether everything was reported and no batch is left open at the server.
    fn is_settled(&self) -> bool {
        let atomic = self.atomic.as_ref().is_none_or(|atomic| atomic.batch().is_none());
        atomic && self.pending.is_empty() && self.backlog.is_empty() && !self.runs.iter().any(Run::is_open)
    }

    fn end(mut self) {
        self.take_in();
        let closed = self.ground.closed();
        for number in self.pending.numbers() {
            self.report(number, &closed);
        }
        self.report_atomic(&closed);
        self.backlog.settle_all(&closed);
    }

    async fn wait(&mut self) {
        let (session, runs) = (&mut self.session, &mut self.runs);
        let woke = tokio::select! {
            biased;
            woke = session.wait() => woke,
            (run, asked) = answer_of_any(runs) => return self.asked(run, asked),
        };
        match woke {
            Woke::Heard => self.hear(),
            Woke::Broken(error) => self.break_link(error),
            Woke::Gone(error) => self.lose_topic(error),
            Woke::Dialed | Woke::Stirred => {}
        }
    }

    // ---- batches in

    fn take_in(&mut self) {
        self.backlog.fill_from(&self.session.door);
        while self.atomic.is_none() {
            if self.backlog.is_next_atomic() {
                if !self.pending.is_empty() || !self.runs.iter().all(Run::is_idle) {
                    return;
                }
                let Some(batch) = self.backlog.take_atomic(self.hash) else { continue };
                self.begin_atomic(batch);
                continue;
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
            return self.settle_atomic(batch, outcomes);
        }
        let first = self.atomic_number;
        self.atomic_number += NUMBERS;
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
            if let Some(error) = told {
                refused.push((index, key, error.clone()));
                continue;
            }
            let run = self.ground.stream_number(record.partition);
            let (index, partition) = (index as u32, record.partition);
            self.runs[run].log.push(Rec { batch: number, index, partition, key, copy: None });
        }
        for (index, key, error) in refused {
            self.broken.entry(key).or_insert_with(|| (number, error.clone()));
            self.note(number, index, Err(error));
        }
    }

    // ---- messages out

    fn send(&mut self, now: Instant) {
        if let Some(atomic) = &mut self.atomic {
            if self.session.may_send()
                && let Some(link) = &mut self.session.link
            {
                atomic.send(link, now);
                self.session.has_sent();
            }
            return;
        }
        // While the publisher is kept waiting there is more to come; otherwise what is there is the end for now.
        let closing = self.session.door.closing().is_some();
        let more_to_come = !closing && self.pending.len() >= self.batches_max;
        let mut sent = false;
        for run in &mut self.runs {
            if self.session.is_held() {
                break;
            }
            let Some(link) = &mut self.session.link else { break };
            let mut wire = Wire { link, ground: &self.ground, pending: &self.pending, hash: self.hash };
            sent |= run.send(&mut wire, more_to_come, now, &mut self.settled);
        }
        if sent {
            self.session.has_sent();
        }
        self.settle();
    }

    // ---- answers in

    fn hear(&mut self) {
        let Some(link) = &mut self.session.link else { return };
        let mut answers = std::mem::take(&mut self.answers);
        let mut broken = None;
        let mut complaints = Vec::new();
        loop {
            match link.next() {
                Ok(None) => break,
                Ok(Some(Heard::Message(message))) => {
                    match (token(&self.ground, message.subject), Answer::read(&message)) {
                        (Some(token), Ok(answer)) => answers.push((token, answer)),
                        (_, Err(error)) => broken = Some(error),
                        (None, _) => {}
                    }
                }
                Ok(Some(Heard::Complaint(text))) => complaints.push(text.to_owned()),
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
        complaints.iter().for_each(|text| self.complained(text));
        if let Some(error) = broken {
            self.break_link(error);
        }
    }

    fn answered(&mut self, token: Token, answer: Answer) {
        match token {
            Token::Number(number) => {
                if let Some(atomic) = &mut self.atomic {
                    let progress = atomic.answered(number, answer);
                    self.atomic_went(progress);
                }
            }
            Token::Course(id) => {
                let now = Instant::now();
                let Some(run) = self.runs.iter_mut().find(|run| run.is_about(id)) else { return };
                match run.answered(answer, now, &mut self.settled) {
                    Asked::Nothing => {}
                    Asked::Hold => self.session.hold(),
                    Asked::HoldAndCheck => {
                        self.session.hold();
                        self.session.check_topic();
                    }
                    Asked::Trouble(error) => {
                        self.session.set_trouble(Some(error));
                        self.session.hold();
                    }
                }
                self.settle();
            }
        }
    }

    /// Notes the outcomes that the runs have found.
    fn settle(&mut self) {
        let mut settled = std::mem::take(&mut self.settled);
        for one in settled.drain(..) {
            match one {
                Settled::Stored { rec, seq } => {
                    self.session.has_moved();
                    self.note(rec.batch, rec.index as usize, Ok(self.ground.ack(rec.partition, seq)));
                }
                Settled::Refused { run, rec, error } => {
                    let error = error.at("publish", &self.ground.topic.name);
                    self.break_key(&rec, &error);
                    self.note(rec.batch, rec.index as usize, Err(error));
                    self.fail_behind(Some(run));
                }
            }
        }
        self.settled = settled;
    }

    fn break_key(&mut self, rec: &Rec, error: &Error) {
        let index = rec.index as usize;
        if self.pending.is_open(rec.batch, index)
            && let Some(batch) = self.pending.batch(rec.batch)
        {
            let behind = batch.behind(index, error);
            self.broken.entry(rec.key).or_insert((rec.batch, behind));
        }
    }

    /// Everything that was taken of a broken key ends with it: what was not sent has failed, the rest is indeterminate.
    /// `proven` is the run whose records on their way are known not to be stored.
    fn fail_behind(&mut self, proven: Option<usize>) {
        let broken = std::mem::take(&mut self.broken);
        let mut ended = Vec::new();
        for (number, run) in self.runs.iter_mut().enumerate() {
            let pending = &self.pending;
            if proven == Some(number) {
                for rec in run.log.take_sent(|rec| broken.contains_key(&rec.key)) {
                    ended.push((rec.batch, rec.index, broken[&rec.key].1.clone()));
                }
            }
            let (sent, queue) = run.log.all_mut();
            for rec in sent.filter(|rec| broken.contains_key(&rec.key)) {
                if rec.copy.is_none() {
                    ended.push((rec.batch, rec.index, broken[&rec.key].1.clone().indeterminate()));
                    rec.adopt(pending);
                }
            }
            queue.retain(|rec| match broken.get(&rec.key) {
                Some((_, error)) => {
                    ended.push((rec.batch, rec.index, error.clone()));
                    false
                }
                None => true,
            });
        }
        self.broken = broken;
        for (batch, index, error) in ended {
            self.note(batch, index as usize, Err(error));
        }
    }

    /// Notes an outcome, and settles the batches that are complete.
    fn note(&mut self, batch: u64, index: usize, outcome: Result<Ack>) {
        self.pending.note(batch, index, outcome);
        while let Some((number, failed)) = self.pending.complete() {
            if failed {
                self.backlog.fill_from(&self.session.door);
                self.backlog.taint_keys(self.broken.iter().filter(|(_, (from, _))| *from == number));
                self.broken.retain(|_, (from, _)| *from != number);
            }
            self.pending.settle_oldest();
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
        if outcomes.iter().any(Result::is_err) {
            self.backlog.fill_from(&self.session.door);
            self.backlog.taint(&batch, &outcomes, self.hash);
        }
        batch.settle(outcomes);
    }

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

    // ---- questions of the runs

    fn asked(&mut self, run: usize, said: Result<super::run::Said>) {
        let now = Instant::now();
        let hash = self.hash;
        match self.runs[run].said(said, now, hash, &mut self.settled) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return self.lose_topic(self.ground.gone()),
            Err(error) => {
                self.session.set_trouble(Some(error));
                self.session.hold();
            }
        }
        self.settle();
    }

    // ---- trouble

    fn break_link(&mut self, error: Error) {
        let now = Instant::now();
        self.session.lose_link(error);
        self.runs.iter_mut().for_each(|run| run.broken(now));
        if let Some(atomic) = &mut self.atomic {
            atomic.broken();
        }
    }

    fn complained(&mut self, text: &str) {
        if !text.to_ascii_lowercase().contains("permissions violation") {
            return self.session.set_trouble(Some(crate::dialer::complaint(text)));
        }
        let error = self.ground.denied(text);
        self.session.set_trouble(Some(error.clone()));
        for run in &mut self.runs {
            run.denied(&error, &mut self.settled);
        }
        self.settle();
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
        for run in &mut self.runs {
            run.forget();
        }
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
        let stuck =
            self.atomic.as_ref().and_then(Atomic::waits_since).is_some_and(|since| super::run::is_long(since, now));
        let silent = stuck || self.runs.iter().any(|run| run.is_stuck(now));
        if self.session.link.is_some() && silent {
            self.break_link(unreachable("no answer in time"));
        }
        for run in &mut self.runs {
            run.look_at_clock(now, &self.ground);
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

    /// Reports everything of a batch that has no outcome: what was not sent is definitely not stored. What may be stored is
    /// found out all the same, and holds its stream until then.
    fn report(&mut self, number: u64, error: &Error) {
        let mut ended = Vec::new();
        for run in &mut self.runs {
            let (sent, queue) = run.log.all_mut();
            for rec in sent.filter(|rec| rec.batch == number && rec.copy.is_none()) {
                ended.push((rec.index, rec.key, error.clone().indeterminate()));
                rec.adopt(&self.pending);
            }
            queue.retain(|rec| {
                if rec.batch == number {
                    ended.push((rec.index, rec.key, error.clone()));
                }
                rec.batch != number
            });
        }
        // In the order of the batch, so that of each key the first one names the deadline.
        ended.sort_by_key(|(index, ..)| *index);
        let mut outcomes = Vec::with_capacity(ended.len());
        for (index, key, error) in ended {
            let told = self.broken.get(&key).map(|(_, behind)| behind.clone());
            let outcome = match told {
                Some(behind) if error.is_definite() => behind,
                Some(behind) => behind.indeterminate(),
                None => {
                    if let Some(batch) = self.pending.batch(number) {
                        self.broken.insert(key, (number, batch.behind(index as usize, &error)));
                    }
                    error
                }
            };
            outcomes.push((index, outcome));
        }
        self.fail_behind(None);
        for (index, error) in outcomes {
            self.note(number, index as usize, Err(error));
        }
    }
}

/// What an answer's subject says: `<inbox><incarnation>-<id>.…` of a fast batch, `<inbox><number>` of an atomic one.
fn token(ground: &Ground, subject: &[u8]) -> Option<Token> {
    let rest = subject.strip_prefix(ground.inbox.as_bytes())?;
    match memchr::memchr(b'.', rest) {
        None => parse_number(rest).map(Token::Number),
        Some(dot) => {
            let id = rest[..dot].strip_prefix(ground.incarnation.as_bytes())?.strip_prefix(b"-")?;
            parse_number(id).map(Token::Course)
        }
    }
}

/// The first answer to a question of any run.
async fn answer_of_any(runs: &mut [Run]) -> (usize, Result<super::run::Said>) {
    std::future::poll_fn(|cx| {
        for (number, run) in runs.iter_mut().enumerate() {
            if let Poll::Ready(said) = run.poll_question(cx) {
                return Poll::Ready((number, said));
            }
        }
        Poll::Pending
    })
    .await
}
