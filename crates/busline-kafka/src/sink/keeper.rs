//! The thread of a sink: it polls the client, keeps deadlines, ends clients and begins new ones.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use busline_core::{Error, ErrorKind, Offset, Result};
use rdkafka::error::RDKafkaErrorCode;
use tokio::time::Instant;

use super::flight::Entry;
use super::producer::{self, Producer};
use super::table::Place;
use super::tail;
use super::writer::{Phase, Shared, State};
use crate::clients::pause;
use crate::error;
use crate::identity::Identity;

/// Longest time between two looks at deadlines and at what is wanted of the sink. Reports do not wait for it.
const TICK: Duration = Duration::from_millis(25);

/// What the end of a client may take.
#[derive(Debug, Clone, Copy)]
struct Ending {
    /// Until it has answered for what is on its way; the rest is taken from it.
    drain: Duration,
    /// Until what was queued, and then what was sent, is taken from it: so long for each.
    purge: Duration,
}

const ORDERLY: Ending = Ending { drain: Duration::from_millis(1_500), purge: Duration::from_millis(500) };

/// A topic that is gone takes nothing more, however long it is waited for.
const AT_ONCE: Ending = Ending { drain: Duration::ZERO, ..ORDERLY };

/// Within `CLOSE_MARGIN`, so that a close says itself what is not known.
const LATE: Ending = Ending { drain: Duration::from_millis(50), purge: Duration::from_millis(100) };

/// Pause between two purges of its queue.
const PURGE_AGAIN: Duration = Duration::from_millis(10);

/// Time before the deadline of a close at which the client is ended with what it holds.
const CLOSE_MARGIN: Duration = Duration::from_millis(400);

/// Pauses between two clients, and between two looks at the log or at the topic.
const BEGIN_AGAIN: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Starts the thread.
pub(super) fn start(shared: &Arc<Shared>) -> Result<()> {
    let keeper =
        Keeper { shared: Arc::clone(shared), identity: Identity::default(), looked: Instant::now(), is_careful: false };
    let thread = std::thread::Builder::new().name("busline-sink".into()).spawn(move || keeper.run());
    thread
        .map(drop)
        .map_err(|error| Error::new(ErrorKind::Unavailable, "Threads").because(error).next("allow more threads"))
}

struct Keeper {
    shared: Arc<Shared>,
    identity: Identity,
    looked: Instant,
    /// The client sends one record in a request.
    is_careful: bool,
}

impl Keeper {
    fn run(mut self) {
        while !self.tick() {}
        self.shared.end();
    }

    /// Gives whether the sink has ended.
    fn tick(&mut self) -> bool {
        self.poll();
        self.check_identity();
        let phase = self.shared.state().phase.clone();
        match phase {
            Phase::Running => self.look_for_doubtful(),
            Phase::Failing => self.begin_again(),
            Phase::Ended(error) => self.give_up(&error),
        }
        self.keep_deadlines(Instant::now());
        self.close()
    }

    fn poll(&self) {
        let producer = self.shared.state().producer.clone();
        match producer {
            Some(producer) => {
                producer.poll(TICK);
                if producer.has_failed() {
                    self.shared.stop(&mut self.shared.state());
                }
            }
            None => pause(TICK),
        }
    }

    /// Ends the client and goes on with a new one.
    fn begin_again(&mut self) {
        self.end_client(ORDERLY);
        self.judge_refused();
        self.hold_doubtful();
        self.shared.settle_finished();
        if self.shared.state().closing.is_some_and(|deadline| Instant::now() + CLOSE_MARGIN >= deadline) {
            return;
        }
        let shared = &self.shared;
        match producer::open(shared, self.is_careful) {
            Ok(producer) => shared.go_on_with(Arc::new(producer)),
            Err(error) => {
                tracing::warn!("publish {}: {error}", shared.topic.info.name);
                shared.state().trouble = Some(error);
            }
        }
        pause(BEGIN_AGAIN);
    }

    /// Ends the client: afterwards every record has its report, or none will come.
    fn end_client(&self, ending: Ending) {
        while self.shared.state().is_sending {
            pause(Duration::from_millis(1));
        }
        let Some(mut producer) = self.shared.state().producer.take() else { return };
        let producer: Producer = loop {
            match Arc::try_unwrap(producer) {
                Ok(alone) => break alone,
                Err(shared) => producer = shared,
            }
            pause(Duration::from_millis(1));
        };
        tracing::info!("publish {}: the client ends; a new one follows", self.shared.topic.info.name);
        // What is on its way is mostly answered in time, and then there is no doubt about it.
        producer.flush(ending.drain);
        // A record that the broker refuses for the moment goes back and forth. Taken out of the queue it is certainly not
        // stored, taken out of a request it perhaps is: so it is waited for in the queue.
        let until = Instant::now() + ending.purge;
        while producer.holds_records() && Instant::now() < until {
            producer.purge_queue();
            producer.flush(PURGE_AGAIN);
        }
        producer.purge_queue();
        producer.purge_requests();
        producer.flush(ending.purge);
        drop(producer);
        self.shared.state().table.client_has_ended();
    }

    /// Fails the records that brokers refuse for good. One of a batch may be guilty and the others not, so they are sent
    /// one by one before any of them fails for its size or content.
    fn judge_refused(&mut self) {
        let mut state = self.shared.state();
        let refused: HashMap<(usize, usize), RDKafkaErrorCode> =
            state.refused.drain(..).map(|(Place { slot, index }, code)| ((slot, index), code)).collect();
        if refused.is_empty() {
            return;
        }
        let is_careful = self.is_careful;
        let name = &self.shared.topic.info.name;
        state.table.decide(|slot, index, entry| {
            let code = refused.get(&(slot, index)).filter(|_| matches!(entry, Entry::Waiting))?;
            let error = error::of_code(*code).at("publish", name);
            (is_careful || error.kind() == ErrorKind::Denied).then_some(Entry::Failed(error))
        });
        self.is_careful = true;
    }

    /// Holds the keys of doubtful records, remembers where to look for those, and sends what is not held any more.
    fn hold_doubtful(&mut self) {
        let mut guard = self.shared.state();
        let state = &mut *guard;
        state.held.clear();
        state.has_new_doubt = false;
        let State { table, held, anchors, tails, .. } = state;
        let known = std::mem::take(tails);
        table.each_doubtful(|_, partition, key| {
            held.insert(key.to_vec());
            let anchor = anchors.get(partition.0 as usize).copied().unwrap_or(Offset(0));
            tails.entry(partition).or_insert_with(|| known.get(&partition).copied().unwrap_or(anchor));
        });
        if state.table.has_waiting() {
            self.shared.send_waiting(state);
        }
    }

    /// Looks for doubtful records in the log, about once a second, until their deadlines.
    fn look_for_doubtful(&mut self) {
        if self.shared.state().has_new_doubt {
            self.hold_doubtful();
            self.looked = Instant::now() - LOOK_AGAIN;
        }
        let tails = self.shared.state().tails.clone();
        if !tails.is_empty() && self.looked.elapsed() >= LOOK_AGAIN {
            match tail::look(&self.shared, &tails) {
                Ok(found) => {
                    self.take_found(&found.into_iter().map(|(place, at)| ((place.slot, place.index), at)).collect())
                }
                Err(error) => tracing::debug!("look for what is perhaps stored: {error}"),
            }
            self.looked = Instant::now();
        } else if self.is_careful && self.shared.state().table.is_settled() {
            // The guilty one was found.
            self.is_careful = false;
            self.shared.stop(&mut self.shared.state());
        } else if self.shared.state().table.has_waiting() {
            self.shared.send_waiting(&mut self.shared.state());
        }
    }

    fn take_found(&mut self, found: &HashMap<(usize, usize), Offset>) {
        self.shared.state().table.decide(|slot, index, entry| {
            let offset = found.get(&(slot, index)).filter(|_| matches!(entry, Entry::Doubtful(_)))?;
            Some(Entry::Acked(Some(*offset)))
        });
        self.hold_doubtful();
        self.shared.settle_finished();
    }

    /// Reports what is past its deadline.
    fn keep_deadlines(&mut self, now: Instant) {
        let mut state = self.shared.state();
        let is_overdue = |slot: &usize| state.table.batch(*slot).is_some_and(|batch| batch.deadline() <= now);
        let overdue: Vec<usize> = state.table.in_order().into_iter().filter(is_overdue).collect();
        if overdue.is_empty() {
            return;
        }
        let error = self.deadline_error(state.trouble.as_ref());
        state.table.decide(|slot, _, entry| overdue.contains(&slot).then(|| failed(entry, &error)));
        drop(state);
        self.hold_doubtful();
        self.shared.settle_finished();
    }

    fn deadline_error(&self, trouble: Option<&Error>) -> Error {
        let why = trouble.map_or_else(String::new, |trouble| format!(": {trouble}"));
        Error::new(ErrorKind::Timeout, "Deadline")
            .cause(format!("the brokers gave no answer in time{why}"))
            .next("see the bus's health; raise the deadline if the brokers are only slow")
            .at("publish", &self.shared.topic.info.name)
    }

    /// Ends the client for good, and fails everything.
    fn give_up(&mut self, error: &Error) {
        self.end_client(AT_ONCE);
        self.fail_everything(error);
    }

    fn fail_everything(&self, error: &Error) {
        self.shared.state().table.decide(|_, _, entry| Some(failed(entry, error)));
        self.shared.settle_finished();
    }

    /// Ends the sink if that is wanted and everything is settled, or its time is over.
    fn close(&mut self) -> bool {
        let state = self.shared.state();
        let Some(deadline) = state.closing else { return false };
        let is_settled = state.table.is_settled();
        drop(state);
        let is_late = Instant::now() + CLOSE_MARGIN >= deadline;
        if is_settled || is_late {
            self.shared.stop(&mut self.shared.state());
            self.end_client(if is_settled { ORDERLY } else { LATE });
            self.fail_everything(&self.shared.close_error());
        }
        is_settled || is_late
    }

    fn check_identity(&mut self) {
        let Some(error) = self.identity.check(&self.shared.clients, &self.shared.topic.info) else { return };
        tracing::warn!("{error}");
        let mut state = self.shared.state();
        self.shared.stop(&mut state);
        state.phase = Phase::Ended(error);
    }
}

/// What becomes of a record that is given up: what no client holds or held in vain is certainly not stored.
fn failed(entry: &Entry, error: &Error) -> Entry {
    match entry {
        Entry::Waiting => Entry::Failed(error.clone()),
        _ => Entry::Failed(error.clone().indeterminate()),
    }
}
