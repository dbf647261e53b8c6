//! The subscription as its user holds it.

use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::engine::{Engine, SeekOrder};
use super::guarded::is_inside;
use super::outcome::{ParkingHealth, SubscriptionStats};
use super::parking::Parking;
use super::tender;
use super::watchdog::Watchdog;
use crate::bus::Claim;
use crate::error::{Error, ErrorKind, Result, escaped};
use crate::timers::with_timers;
use crate::topic::{GroupName, Offset, Partition, TopicName, offset_beyond_end};

/// One member of a group, at work on a topic.
///
/// Cloning is a counter. The end of the last handle breaks its handlers off; what was not committed comes again to
/// another member.
#[derive(Clone)]
pub struct Subscription {
    inner: Arc<SubscriptionCore>,
    handles: Arc<LastHandle>,
}

/// What the bus holds of a subscription.
pub(crate) struct SubscriptionCore {
    engine: Arc<Engine>,
    /// Stays here until all has ended, so that a close that is dropped and called again still waits for it.
    running: tokio::sync::Mutex<Running>,
    claim: Mutex<Option<Claim>>,
    closed: OnceCell<Left>,
}

/// The tasks and the thread of a subscription.
pub(crate) struct Running {
    pub(crate) watchdog: Option<Watchdog>,
    /// Reader, tender and alarm, which end when they are told.
    pub(crate) tasks: Vec<JoinHandle<()>>,
    /// Workers, which end with their handlers.
    pub(crate) workers: Vec<JoinHandle<()>>,
    /// The task that parks, which ends after the workers.
    pub(crate) keeper: Vec<JoinHandle<()>>,
}

/// The end of the last handle closes the subscription, on its runtime if that still runs.
struct LastHandle {
    core: Arc<SubscriptionCore>,
    runtime: Handle,
}

/// Time that a commit may take without being said to stand still.
const COMMIT_GRACE: Duration = Duration::from_secs(5);

/// Time that a subscription has to end whose handles were dropped.
const DROPPED_CLOSE: Duration = Duration::from_secs(1);

/// Longer deadlines of a close count as this one: no instant is further away.
const CLOSE_DEADLINE_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);

impl Drop for LastHandle {
    fn drop(&mut self) {
        if self.core.closed.initialized() {
            return;
        }
        self.core.engine.stop_starting();
        self.core.engine.cancel_running();
        let core = Arc::clone(&self.core);
        // The bus waits for the same close, so this task does not outlive it.
        self.runtime.spawn(async move { core.close(DROPPED_CLOSE).await });
    }
}

/// How a subscription ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Counts since it was opened.
    pub stats: SubscriptionStats,
    /// What could not be ended by the deadline, by name; its events come again elsewhere.
    pub left: Vec<String>,
}

/// A record that holds its partition back, and why. `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The topic.
    pub topic: TopicName,
    /// The partition whose progress stops here.
    pub partition: Partition,
    /// The record's place there, as far as it is known.
    pub offset: Option<Offset>,
    /// The key that waits; `None` if the record cannot be decoded, since then the whole partition waits.
    pub key: Option<String>,
    /// Why, in words.
    pub why: &'static str,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)?;
        if let Some(offset) = self.offset {
            write!(f, "/{offset}")?;
        }
        if let Some(key) = &self.key {
            write!(f, " key {}", escaped(key))?;
        }
        write!(f, ": {}", self.why)
    }
}

impl Subscription {
    pub(crate) fn new(engine: Arc<Engine>, running: Running, claim: Claim, runtime: Handle) -> Self {
        let inner = Arc::new(SubscriptionCore {
            engine,
            running: tokio::sync::Mutex::new(running),
            claim: Mutex::new(Some(claim)),
            closed: OnceCell::new(),
        });
        let handles = Arc::new(LastHandle { core: Arc::clone(&inner), runtime });
        Self { inner, handles }
    }

    pub(crate) fn shared(&self) -> Arc<SubscriptionCore> {
        Arc::clone(&self.inner)
    }

    /// Counts since it was opened, and what it holds at the moment.
    pub fn stats(&self) -> SubscriptionStats {
        self.inner.engine.stats()
    }

    /// What holds partitions back: keys whose attempts are used up, records that cannot be decoded.
    pub fn blocked(&self) -> Vec<Blocked> {
        self.inner.blocked()
    }

    /// What is parked in the partitions that this member holds, and how parking goes.
    pub fn parking(&self) -> ParkingHealth {
        self.inner.engine.parking.as_ref().map_or_else(ParkingHealth::default, Parking::health)
    }

    /// Why nothing more is read (the topic was deleted, a record is damaged), or what keeps the backend from giving more
    /// at the moment; `None` if nothing does.
    pub fn trouble(&self) -> Option<Error> {
        self.inner.engine.trouble()
    }

    /// The partitions that this member holds at the moment.
    pub fn partitions(&self) -> Vec<Partition> {
        self.inner.engine.with_lanes(|lanes| lanes.partitions())
    }

    /// Starts no further handler for these partitions, and keeps them until they go to another member.
    pub fn pause(&self, partitions: &[Partition]) {
        self.inner.engine.with_lanes_of(partitions, |lanes| lanes.pause(partitions));
        self.inner.engine.apply_pauses();
    }

    /// Lets paused partitions go on.
    pub fn resume(&self, partitions: &[Partition]) {
        self.inner.engine.with_lanes(|lanes| lanes.resume(partitions));
        self.inner.engine.apply_pauses();
    }

    /// Goes on at this offset in a partition that this member holds.
    ///
    /// What was handed over before counts for nothing: it is forgotten, and handlers that still run for it end without an
    /// effect on progress, while their keys wait for them. Progress goes on from this offset. So a seek forward passes
    /// over what lies between, also for the group; after a seek back the group's committed offset stays where it is until
    /// progress has come there again, and a crash before that ends the replay.
    ///
    /// # Errors
    /// `Fenced/NotOwner` if the member does not hold it; `Invalid/Offset` beyond its end, since records that come there
    /// would be passed over unseen; `Closed/Subscription` if nothing is read any more; what keeps the backend from saying
    /// where the partition ends.
    ///
    /// # Cancel safety
    /// Nothing is done before the backend has said where the partition ends; then the seek is made, whether its end is
    /// awaited or not.
    ///
    /// # Source
    /// Promise C12.
    pub async fn seek(&self, partition: Partition, offset: Offset) -> Result<()> {
        self.inner.check_within(partition, offset).await?;
        let (answer, answered) = oneshot::channel();
        self.inner.engine.order_seek(SeekOrder { partition, offset, answer });
        answered.await.unwrap_or_else(|_| Err(super::engine::source_closed()))
    }

    /// Stops fetching, lets running handlers end, commits, and leaves the group.
    ///
    /// Returns by the deadline; handlers that have not ended by then are broken off, and their events come again to
    /// another member. Idempotent: every call gives the result of the first.
    ///
    /// # Errors
    /// `Invalid/CloseInHandler` at once, if a handler of this subscription calls it: it would wait for itself.
    ///
    /// # Cancel safety
    /// A close that is dropped goes on when it is called again.
    ///
    /// # Source
    /// Promise C13.
    pub async fn close(&self, deadline: Duration) -> Result<Left> {
        if self.inner.is_in_handler() {
            return Err(close_in_handler().at("close subscription", &self.inner.engine.place.topic));
        }
        let closed = pin!(self.inner.close(deadline));
        Ok(with_timers(&self.handles.runtime, closed).await)
    }
}

impl SubscriptionCore {
    /// Tells it from the others of the process.
    pub(crate) fn number(&self) -> u64 {
        self.engine.number
    }

    pub(crate) fn place(&self) -> (GroupName, TopicName) {
        (self.engine.place.group.clone(), self.engine.place.topic.clone())
    }

    pub(crate) fn stats(&self) -> SubscriptionStats {
        self.engine.stats()
    }

    pub(crate) fn trouble(&self) -> Option<Error> {
        self.engine.trouble()
    }

    /// The partitions that it holds and that its user has not paused.
    pub(crate) fn moving(&self) -> Vec<Partition> {
        self.engine.with_lanes(|lanes| lanes.moving())
    }

    /// Longest time for which a commit may stand still while its handlers do what they may.
    pub(crate) fn patience(&self) -> Duration {
        self.engine.settings.handler_timeout + self.engine.settings.commit_interval + COMMIT_GRACE
    }

    /// Handlers that block their threads at the moment, and the partitions of what their workers run.
    pub(crate) fn blocked_handlers(&self) -> (usize, BTreeSet<Partition>) {
        let works = self.engine.slots.iter().zip(&self.engine.hands).filter(|(slot, _)| slot.is_blocked());
        let partitions: Vec<Vec<Partition>> = works.map(|(_, hand)| hand.running()).collect();
        (partitions.len(), partitions.into_iter().flatten().collect())
    }

    pub(crate) fn blocked(&self) -> Vec<Blocked> {
        let topic = &self.engine.place.topic;
        let named = |super::lanes::Blocked { partition, offset, key, why }| Blocked {
            topic: topic.clone(),
            partition,
            offset,
            key: key.map(|key| String::from_utf8_lossy(&key).into_owned()),
            why,
        };
        self.engine.blocked().into_iter().map(named).collect()
    }

    /// Refuses an offset beyond the end of a partition that is read.
    async fn check_within(&self, partition: Partition, offset: Offset) -> Result<()> {
        let (engine, topic) = (&self.engine, &self.engine.place.topic);
        if engine.is_closing() || engine.with_lanes(|lanes| lanes.generation(partition)).is_none() {
            // Whoever takes the order says why.
            return Ok(());
        }
        let end = engine.driver.bounds(topic, partition).await.map_err(|error| error.at("seek", topic))?.end;
        if offset <= end { Ok(()) } else { Err(offset_beyond_end(partition, offset, end).at("seek", topic)) }
    }

    /// Whether this thread is inside one of its handlers.
    pub(crate) fn is_in_handler(&self) -> bool {
        is_inside(self.engine.number)
    }

    pub(crate) async fn close(&self, deadline: Duration) -> Left {
        let start = Instant::now();
        self.closed.get_or_init(|| self.shut_down(start, deadline.min(CLOSE_DEADLINE_MAX))).await.clone()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.closed.initialized()
    }

    async fn shut_down(&self, start: Instant, deadline: Duration) -> Left {
        let engine = &self.engine;
        engine.stop_starting();
        let mut running = self.running.lock().await;
        // The reader may wait for records that never come.
        running.tasks.iter().for_each(JoinHandle::abort);
        join_all(&mut running.tasks).await;
        engine.reader_has_ended(None);
        let (end, kept) = (start + deadline, kept_for_ending(deadline));
        let before_end = |share: f32| end - kept.mul_f32(share);
        let mut left = Vec::new();
        if timeout_at(before_end(1.0), join_all(&mut running.workers)).await.is_err() {
            engine.cancel_running();
            if timeout_at(before_end(0.6), join_all(&mut running.workers)).await.is_err() {
                left.push(format!("handlers of {}", engine.place.topic));
                running.workers.drain(..).for_each(|worker| worker.abort());
            }
        }
        running.watchdog = None;
        self.end_parking(&mut running, before_end(0.5)).await;
        let (writer, source) = both(self.end_writer(end), self.leave(before_end(0.3), end)).await;
        left.extend(writer);
        left.extend(source);
        drop(self.claim.lock().unwrap_or_else(PoisonError::into_inner).take());
        Left { stats: engine.stats(), left }
    }
}

impl SubscriptionCore {
    /// What is queued is parked, so that progress may pass it.
    async fn end_parking(&self, running: &mut Running, until: Instant) {
        let Some(parking) = &self.engine.parking else { return };
        parking.end();
        if timeout_at(until, join_all(&mut running.keeper)).await.is_err() {
            running.keeper.drain(..).for_each(|keeper| keeper.abort());
        }
    }

    /// Lets the parking topic go; gives what does not end.
    async fn end_writer(&self, until: Instant) -> Option<String> {
        let parking = self.engine.parking.as_ref()?;
        let closed = timeout_at(until, parking.writer.close(until)).await;
        (!matches!(closed, Ok(Ok(())))).then(|| format!("the sink of {}", parking.topic.name))
    }

    /// Commits what has ended and leaves the group; gives what does not end.
    async fn leave(&self, commit_until: Instant, until: Instant) -> Option<String> {
        let engine = &self.engine;
        // The group is left even if the last commit hangs: a member that stays would keep its partitions from the others.
        if timeout_at(commit_until, tender::commit(engine)).await.is_err() {
            tracing::warn!("commit {}: no answer by the deadline", engine.place.topic);
        }
        match timeout_at(until, engine.source.close(until)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                tracing::warn!("leave the group: {error}");
                None
            }
            Err(_) => Some(format!("the source of {}", engine.place.topic)),
        }
    }
}

/// The part of a close's time that is kept for breaking handlers off, the last commit and leaving the group: a tenth, at
/// least 100 ms, at most half.
fn kept_for_ending(deadline: Duration) -> Duration {
    (deadline / 10).max(Duration::from_millis(100)).min(deadline / 2)
}

/// Runs two futures at once to their ends.
async fn both<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> (A, B) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let mut ends = (None, None);
    poll_fn(|context| {
        if ends.0.is_none() {
            ends.0 = poll_end(first.as_mut().poll(context));
        }
        if ends.1.is_none() {
            ends.1 = poll_end(second.as_mut().poll(context));
        }
        match std::mem::take(&mut ends) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            some => {
                ends = some;
                Poll::Pending
            }
        }
    })
    .await
}

fn poll_end<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(end) => Some(end),
        Poll::Pending => None,
    }
}

/// Waits for tasks; those that have ended are taken out, so that the wait can be dropped and begun again.
async fn join_all(tasks: &mut Vec<JoinHandle<()>>) {
    while let Some(task) = tasks.last_mut() {
        if let Err(error) = task.await
            && error.is_panic()
        {
            tracing::error!("a task of a subscription panicked: {error}");
        }
        tasks.pop();
    }
}

pub(crate) fn close_in_handler() -> Error {
    Error::new(ErrorKind::Invalid, "CloseInHandler")
        .cause("a handler would wait for its own end")
        .next("close from outside, or from a task of its own")
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("topic", &self.inner.engine.place.topic)
            .field("stats", &self.stats())
            .finish()
    }
}
