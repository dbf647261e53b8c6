//! The burst itself: senders that publish, and observers that see the acks come.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use busline::{Bus, Durability, Envelope, Publisher, Receipt};
use tokio::runtime::{Handle, RuntimeMetrics};
use tokio::sync::{Barrier, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::latency::Latencies;
use crate::workload::{Event, Mode, Workload};

/// What a burst came to, as its client saw it.
#[derive(Debug)]
pub(crate) struct Burst {
    pub(crate) durability: Durability,
    /// From the start to the return of the last call that hands an envelope over. In the modes that wait for acks
    /// acceptance has no moment of its own.
    pub(crate) accepted_in: Option<Duration>,
    /// From the start to the last ack.
    pub(crate) acked_in: Duration,
    /// From the intended send time to the ack: a burst intends to send everything at its start.
    pub(crate) from_start: Latencies,
    /// From the call of `publish` to the ack.
    pub(crate) from_call: Latencies,
}

/// A receipt on its way to who looks at it.
pub(crate) struct Watched<R> {
    pub(crate) receipt: R,
    pub(crate) called: Instant,
}

/// The publishers of all topics, opened.
pub(crate) struct Publishers {
    by_topic: Vec<Publisher>,
    /// Envelopes that the failure handlers were given.
    failures: Arc<AtomicU64>,
}

impl Publishers {
    /// Opens them; a topic that is missing is made as by default.
    pub(crate) async fn open(bus: &Bus, topics: &[String], window_envelopes: usize) -> Result<Self> {
        let failures = Arc::new(AtomicU64::new(0));
        let mut by_topic = Vec::with_capacity(topics.len());
        for topic in topics {
            let counted = Arc::clone(&failures);
            let count = move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
            };
            let builder = bus.publisher(topic).window(window_envelopes, WINDOW_BYTES_MAX).on_failure(count);
            by_topic.push(builder.open().await?);
        }
        Ok(Self { by_topic, failures })
    }

    /// The publisher of this topic.
    pub(crate) fn of(&self, topic: usize) -> &Publisher {
        &self.by_topic[topic]
    }

    /// Envelopes that were not acked.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Publishes the whole workload and waits for the last outcome.
    pub(crate) async fn burst(&self, workload: &Arc<Workload>, start: &Start) -> Result<Burst> {
        let durability = self.by_topic.first().context("no topic")?.offer().durability;
        let (watchers, mut observers) = self.observe(workload, start);
        let mut senders = JoinSet::new();
        for number in 0..workload.senders {
            let sender = Sender {
                workload: Arc::clone(workload),
                publishers: self.by_topic.clone(),
                watchers: watchers.clone(),
                number,
                start: start.clone(),
            };
            senders.spawn(sender.run());
        }
        drop(watchers);
        let began = start.begin().await;
        let mut last_accepted = began;
        while let Some(ended) = senders.join_next().await {
            last_accepted = last_accepted.max(ended.context("a sender panicked")??);
        }
        for publisher in &self.by_topic {
            publisher.flush().await;
        }
        let acked_in = began.elapsed();
        while let Some(ended) = observers.join_next().await {
            ended.context("an observer panicked")?;
        }
        let accepted_in = (workload.mode == Mode::Async).then(|| last_accepted - began);
        let (from_start, from_call) = start.latencies();
        Ok(Burst { durability, accepted_in, acked_in, from_start, from_call })
    }

    /// One observer for each topic: the receipts of one publisher resolve in their order, so waiting for the first
    /// misses none that comes after it.
    fn observe(&self, workload: &Workload, start: &Start) -> (Vec<mpsc::Sender<Watched<Receipt>>>, JoinSet<()>) {
        let mut observers = JoinSet::new();
        let mut watchers = Vec::with_capacity(self.by_topic.len());
        if workload.mode == Mode::Async {
            for _ in &self.by_topic {
                // What the window lets through fits, so that no sender ever waits for an observer.
                let (watcher, watched) = mpsc::channel(workload.window_envelopes + 1);
                watchers.push(watcher);
                observers.spawn(observe(watched, start.clone()));
            }
        }
        (watchers, observers)
    }
}

/// Large enough that the window is counted in envelopes at every payload up to 8 KiB. Unit: bytes.
const WINDOW_BYTES_MAX: usize = 64 << 20;

/// The moment at which all senders start, and the latencies that count from it.
///
/// One place for all of them: a histogram for each of a thousand senders would be most of the memory that is measured.
#[derive(Clone)]
pub(crate) struct Start(Arc<Started>);

struct Started {
    barrier: Barrier,
    began: OnceLock<Instant>,
    latencies: Mutex<(Latencies, Latencies)>,
    /// Of the runtime that the burst is on, if it is made there.
    tasks: Option<RuntimeMetrics>,
    tasks_max: AtomicUsize,
}

impl Start {
    /// For one burst of so many senders.
    pub(crate) fn new(senders: usize) -> Self {
        let barrier = Barrier::new(senders + 1);
        let tasks = Handle::try_current().ok().map(|runtime| runtime.metrics());
        let tasks_max = AtomicUsize::new(0);
        Self(Arc::new(Started { barrier, began: OnceLock::new(), latencies: Mutex::default(), tasks, tasks_max }))
    }

    /// Looks how many tasks are alive. Senders do so behind every call: each look is two loads.
    pub(crate) fn look_at_tasks(&self) {
        let alive = self.0.tasks.as_ref().map_or(0, RuntimeMetrics::num_alive_tasks);
        if alive > self.0.tasks_max.load(Ordering::Relaxed) {
            self.0.tasks_max.fetch_max(alive, Ordering::Relaxed);
        }
    }

    /// The most tasks that were alive at one of the looks.
    pub(crate) fn peak_tasks(&self) -> u64 {
        self.0.tasks_max.load(Ordering::Relaxed) as u64
    }

    /// Waits for the others and gives the moment that all of them count from.
    pub(crate) async fn begin(&self) -> Instant {
        self.0.barrier.wait().await;
        self.began()
    }

    pub(crate) fn began(&self) -> Instant {
        *self.0.began.get_or_init(Instant::now)
    }

    /// Takes down that so many envelopes that were published at `called` are acked at this moment.
    pub(crate) fn acked(&self, called: Instant, envelopes: u64) {
        self.acked_at(called, Instant::now(), envelopes);
    }

    /// The same of an ack that came at another moment.
    pub(crate) fn acked_at(&self, called: Instant, acked: Instant, envelopes: u64) {
        let mut latencies = self.0.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.0.record(acked - self.began(), envelopes);
        latencies.1.record(acked - called, envelopes);
    }

    pub(crate) fn latencies(&self) -> (Latencies, Latencies) {
        std::mem::take(&mut self.0.latencies.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Awaits each receipt and takes its latency down.
pub(crate) async fn observe<T, E>(
    mut watched: mpsc::Receiver<Watched<impl Future<Output = Result<T, E>>>>,
    start: Start,
) {
    while let Some(Watched { receipt, called }) = watched.recv().await {
        if receipt.await.is_ok() {
            start.acked(called, 1);
        }
    }
}

/// Runs work that blocks on a thread of its own, which is gone afterwards; one of the runtime's would stay for a while.
async fn on_a_thread(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let (ended, end) = oneshot::channel();
    let run = move || {
        work();
        // Nobody waits any more if the bench was broken off.
        let _ = ended.send(());
    };
    let thread = thread::Builder::new().name("bench-sender".into()).spawn(run)?;
    end.await.context("a sender panicked")?;
    thread.join().map_err(|_| anyhow!("a sender panicked"))
}

struct Sender {
    workload: Arc<Workload>,
    publishers: Vec<Publisher>,
    watchers: Vec<mpsc::Sender<Watched<Receipt>>>,
    number: usize,
    start: Start,
}

impl Sender {
    /// Publishes all of the sender's events; gives when it was done.
    async fn run(self) -> Result<Instant> {
        self.start.begin().await;
        match self.workload.mode {
            Mode::Async => self.publish_async().await?,
            Mode::Sync => self.publish_sync().await?,
            Mode::Batch => self.publish_batches().await?,
            Mode::Blocking => on_a_thread(move || self.publish_blocking()).await?,
        }
        Ok(Instant::now())
    }

    fn publisher(&self, event: Event) -> &Publisher {
        &self.publishers[self.workload.topic_of(event.aggregate)]
    }

    /// A receipt that nobody looks at is dropped: its failure would reach the handler all the same.
    async fn publish_async(&self) -> Result<()> {
        let sample = self.workload.latency_sample;
        for (count, event) in (0_u64..).zip(self.workload.events_of(self.number)) {
            let envelope = self.workload.envelope(event);
            let watched = count % sample == 0;
            let called = if watched { Some(Instant::now()) } else { None };
            let receipt = self.publisher(event).publish(envelope).await?;
            self.start.look_at_tasks();
            if let Some(called) = called {
                let watcher = &self.watchers[self.workload.topic_of(event.aggregate)];
                watcher.send(Watched { receipt, called }).await.context("an observer ended early")?;
            }
        }
        Ok(())
    }

    /// An envelope that is not acked is counted by the failure handler.
    async fn publish_sync(&self) -> Result<()> {
        for event in self.workload.events_of(self.number) {
            let envelope = self.workload.envelope(event);
            let called = Instant::now();
            if self.publisher(event).publish_sync(envelope).await.is_ok() {
                self.start.acked(called, 1);
            }
            self.start.look_at_tasks();
        }
        Ok(())
    }

    /// As `publish_sync`, on a thread that runs no tasks.
    fn publish_blocking(&self) {
        for event in self.workload.events_of(self.number) {
            let envelope = self.workload.envelope(event);
            let called = Instant::now();
            if self.publisher(event).publish_blocking(envelope).is_ok() {
                self.start.acked(called, 1);
            }
            self.start.look_at_tasks();
        }
    }

    /// Hands the sender's events over in batches of one topic each.
    async fn publish_batches(&self) -> Result<()> {
        let mut by_topic: Vec<Vec<Envelope>> = vec![Vec::new(); self.publishers.len()];
        for event in self.workload.events_of(self.number) {
            let topic = self.workload.topic_of(event.aggregate);
            by_topic[topic].push(self.workload.envelope(event));
            if by_topic[topic].len() == self.workload.batch_envelopes {
                let batch = std::mem::take(&mut by_topic[topic]);
                self.publish_batch(topic, batch).await?;
            }
        }
        for (topic, rest) in by_topic.into_iter().enumerate() {
            self.publish_batch(topic, rest).await?;
        }
        Ok(())
    }

    async fn publish_batch(&self, topic: usize, batch: Vec<Envelope>) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let called = Instant::now();
        let outcomes = self.publishers[topic].publish_batch(batch).await?;
        self.start.look_at_tasks();
        self.start.acked(called, outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64);
        Ok(())
    }
}
