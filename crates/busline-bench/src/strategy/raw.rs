//! The raw strategies: the native client, and what waits for each ack.
//!
//! ```text
//! sender ─→ way: a permit, or none ─→ client ─→ ack ─┬─→ observer of its partition ─→ counts, latency
//!                                                   └─→ task with a timer ─→ channel ─→ observer
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use busline::Durability;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::{Ack, Client};
use super::name::Strategy;
use crate::place::Stage;
use crate::publishing::{Burst, Start};
use crate::twin::Maker;
use crate::workload::{Event, Mode, Workload};

/// Longest wait for an ack: that of the bus.
pub(super) const ACK_MAX: Duration = Duration::from_secs(30);

/// Messages in flight at once with `capped-256`.
const CAPPED: usize = 256;

/// How a message gets its place in flight, and who waits for its ack.
enum Way {
    /// The client's own bound; a task of its own waits.
    TaskPerMessage,
    /// A place, or an error.
    Capped(Arc<Semaphore>),
    /// A place, waited for.
    Window(Arc<Semaphore>),
}

impl Way {
    fn of(strategy: Strategy, workload: &Workload) -> Self {
        match strategy {
            Strategy::TaskPerMessage => Self::TaskPerMessage,
            Strategy::Capped256 => Self::Capped(Arc::new(Semaphore::new(CAPPED))),
            Strategy::Fast | Strategy::Pipelined => {
                Self::Window(Arc::new(Semaphore::new(workload.window_envelopes * workload.topics)))
            }
        }
    }
}

/// What was heard of messages, by all senders and observers.
#[derive(Default)]
struct Counts {
    acked: AtomicU64,
    rejected: AtomicU64,
}

/// A raw strategy on topics that are made already.
pub(crate) struct Raw {
    shared: Arc<Shared>,
    durability: Durability,
}

struct Shared {
    client: Client,
    way: Way,
    topics: Vec<String>,
    maker: Maker,
    workload: Arc<Workload>,
    counts: Counts,
}

/// What comes of a message that was sent.
enum Outcome {
    /// The ack itself; its place in flight is free once it has come.
    Ack(Ack, OwnedSemaphorePermit),
    /// What the message's own task says: when it was acked, if it was.
    Told(oneshot::Receiver<Option<Instant>>),
}

impl Outcome {
    /// When the message was acked; none if it was not.
    async fn acked_at(self) -> Option<Instant> {
        match self {
            // The client gives up by itself: no timer is made here.
            Self::Ack(ack, _place) => ack.stored().await.is_ok().then(Instant::now),
            Self::Told(told) => told.await.ok().flatten(),
        }
    }
}

/// An outcome on its way to who counts it.
struct Watched {
    outcome: Outcome,
    called: Instant,
    /// Whether its latency is taken.
    sampled: bool,
}

impl Raw {
    /// Connects. `durability` is what acks on these topics attest.
    pub(crate) async fn open(
        strategy: Strategy,
        backend: &str,
        stage: &Stage,
        topics: &[String],
        workload: &Arc<Workload>,
        durability: Durability,
    ) -> Result<Self> {
        let shared = Shared {
            client: Client::connect(backend, stage, topics, workload).await?,
            way: Way::of(strategy, workload),
            topics: topics.to_vec(),
            maker: Maker::new(Arc::clone(workload), topics),
            workload: Arc::clone(workload),
            counts: Counts::default(),
        };
        Ok(Self { shared: Arc::new(shared), durability })
    }

    /// Messages that found no place in flight.
    pub(crate) fn rejected(&self) -> u64 {
        self.shared.counts.rejected.load(Ordering::Relaxed)
    }

    /// Messages that were sent and not acked, once the burst is over.
    pub(crate) fn failures(&self) -> u64 {
        let counts = &self.shared.counts;
        let settled = counts.acked.load(Ordering::Relaxed) + counts.rejected.load(Ordering::Relaxed);
        self.shared.workload.envelopes.saturating_sub(settled)
    }

    /// Publishes the whole workload and waits for the last outcome.
    pub(crate) async fn burst(&self, start: &Start) -> Result<Burst> {
        let workload = &self.shared.workload;
        let (watchers, mut observers) = self.observe(start);
        let mut senders = JoinSet::new();
        for number in 0..workload.senders {
            let (shared, watchers) = (Arc::clone(&self.shared), watchers.clone());
            senders.spawn(Sender { shared, watchers, number, start: start.clone() }.run());
        }
        drop(watchers);
        let began = start.begin().await;
        let mut last_accepted = began;
        while let Some(ended) = senders.join_next().await {
            last_accepted = last_accepted.max(ended.context("a sender panicked")??);
        }
        while let Some(ended) = observers.join_next().await {
            ended.context("an observer panicked")?;
        }
        let acked_in = began.elapsed();
        let accepted_in = (workload.mode == Mode::Async).then(|| last_accepted - began);
        let (from_start, from_call) = start.latencies();
        Ok(Burst { durability: self.durability, accepted_in, acked_in, from_start, from_call })
    }

    /// One observer for each partition of each topic: the acks of one partition come in their order.
    fn observe(&self, start: &Start) -> (Vec<mpsc::Sender<Watched>>, JoinSet<()>) {
        let (mut observers, mut watchers) = (JoinSet::new(), Vec::new());
        if self.shared.workload.mode == Mode::Async {
            for _ in 0..self.shared.topics.len() * self.shared.maker.partitions() {
                let (watcher, watched) = mpsc::channel(self.shared.workload.window_envelopes + 1);
                watchers.push(watcher);
                observers.spawn(observe(watched, Arc::clone(&self.shared), start.clone()));
            }
        }
        (watchers, observers)
    }

    /// Ends the connection, once nobody publishes any more.
    ///
    /// # Errors
    /// Those of the client.
    pub(crate) async fn close(self) -> Result<()> {
        let shared = Arc::into_inner(self.shared).context("a sender has not ended")?;
        shared.client.close().await
    }
}

async fn observe(mut watched: mpsc::Receiver<Watched>, shared: Arc<Shared>, start: Start) {
    while let Some(Watched { outcome, called, sampled }) = watched.recv().await {
        let Some(acked) = outcome.acked_at().await else { continue };
        shared.counts.acked.fetch_add(1, Ordering::Relaxed);
        if sampled {
            start.acked_at(called, acked, 1);
        }
    }
}

struct Sender {
    shared: Arc<Shared>,
    watchers: Vec<mpsc::Sender<Watched>>,
    number: usize,
    start: Start,
}

impl Sender {
    /// Publishes all of the sender's events; gives when it was done.
    async fn run(self) -> Result<Instant> {
        self.start.begin().await;
        match self.shared.workload.mode {
            Mode::Async => self.publish_async().await?,
            // The native clients have no call that blocks a thread.
            Mode::Sync | Mode::Blocking => self.publish_batches(1).await?,
            Mode::Batch => self.publish_batches(self.shared.workload.batch_envelopes).await?,
        }
        Ok(Instant::now())
    }

    async fn publish_async(&self) -> Result<()> {
        let workload = &self.shared.workload;
        for (count, event) in (0_u64..).zip(workload.events_of(self.number)) {
            let called = Instant::now();
            let Some((outcome, observer)) = self.hand_over(event).await? else { continue };
            let watched = Watched { outcome, called, sampled: count % workload.latency_sample == 0 };
            self.watchers[observer].send(watched).await.context("an observer ended early")?;
        }
        Ok(())
    }

    /// Hands so many over at once and waits for all of them.
    async fn publish_batches(&self, size: usize) -> Result<()> {
        let mut events = self.shared.workload.events_of(self.number).peekable();
        while events.peek().is_some() {
            let called = Instant::now();
            let mut outcomes = Vec::new();
            for event in events.by_ref().take(size) {
                outcomes.extend(self.hand_over(event).await?);
            }
            let mut acked = 0;
            for (outcome, _) in outcomes {
                acked += u64::from(outcome.acked_at().await.is_some());
            }
            self.shared.counts.acked.fetch_add(acked, Ordering::Relaxed);
            if acked > 0 {
                self.start.acked_at(called, Instant::now(), acked);
            }
        }
        Ok(())
    }

    /// Sends one message; gives what comes of it and the number of its observer, or nothing if it was refused.
    async fn hand_over(&self, event: Event) -> Result<Option<(Outcome, usize)>> {
        let Shared { client, way, topics, maker, counts, .. } = &*self.shared;
        let place = match way {
            Way::TaskPerMessage => None,
            Way::Window(places) => Some(Arc::clone(places).acquire_owned().await.context("no places")?),
            Way::Capped(places) => match Arc::clone(places).try_acquire_owned() {
                Ok(place) => Some(place),
                Err(_) => {
                    counts.rejected.fetch_add(1, Ordering::Relaxed);
                    return Ok(None);
                }
            },
        };
        let made = maker.make(event);
        let observer = made.topic * maker.partitions() + made.partition;
        let ack = client.send(topics, made).await?;
        let outcome = match place {
            Some(place) => Outcome::Ack(ack, place),
            None => watched_by_a_task(ack),
        };
        self.start.look_at_tasks();
        Ok(Some((outcome, observer)))
    }
}

/// A task, a timer and a channel for one message.
fn watched_by_a_task(ack: Ack) -> Outcome {
    let (tell, told) = oneshot::channel();
    // Nobody joins it, as nobody did before: it ends with its ack, or by its timer.
    Handle::current().spawn(async move {
        let stored = timeout(ACK_MAX, ack.stored()).await.is_ok_and(|stored| stored.is_ok());
        // Who asked may have given up: then nobody is to be told.
        tell.send(stored.then(Instant::now)).ok();
    });
    Outcome::Told(told)
}
