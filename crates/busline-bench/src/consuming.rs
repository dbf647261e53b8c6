//! Groups that read what a run published, and what arrives at their handlers.
//!
//! Each run is read twice: a *drain* begins when all is stored and measures consuming alone; a *followed* burst is read
//! while it is published and measures the way from `publish` to the handler. The burst whose publishing is measured is
//! neither, because readers would take processors from it.

use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use busline::{Bus, Delivery, Subscription};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::arrivals::{Arrivals, Arrived, Ends};
use crate::at_once::at_once;
use crate::latency::Latencies;
use crate::measure::cpu_time;
use crate::open_load::Pace;
use crate::place::Stage;
use crate::publishing::Start;
use crate::spans::Spans;
use crate::strategy::{Opened, Variant};
use crate::workload::{Workload, aggregate_of};

/// Handlers that run at once, over all topics of a run.
const CONCURRENCY: usize = 64;

/// Handlers that run at once on each topic.
pub(crate) fn concurrency_of(topics: usize) -> usize {
    (CONCURRENCY / topics).max(1)
}

/// What consuming came to.
#[derive(Debug)]
pub(crate) struct Consumed {
    pub(crate) arrived: Arrived,
    /// Handlers that ended well, as the subscriptions count them.
    pub(crate) handled: u64,
    /// From the call of the first `subscribe` to the first record at a handler.
    pub(crate) joined_in: Duration,
    /// From the first record at a handler to the last, without times in which no topic's records were coming.
    pub(crate) consumed_in: Duration,
    /// From the first `subscribe` to the last record, the whole process.
    pub(crate) cpu: Duration,
}

impl Consumed {
    /// Whether each planned envelope came once and in order, but for so many that were refused.
    pub(crate) fn is_perfect(&self, workload: &Workload, refused: u64) -> bool {
        let accepted = workload.envelopes - refused;
        let whole = Arrived { delivered: accepted, missing: refused, ..Arrived::default() };
        self.arrived == whole && self.handled == accepted
    }
}

/// A burst that was read while it was published.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) consumed: Consumed,
    /// From the burst's start to the handler.
    pub(crate) to_handler: Latencies,
    /// From the burst's start to the last record at a handler.
    pub(crate) delivered_in: Duration,
    /// Envelopes whose outcome was another than acked.
    pub(crate) not_acked: u64,
    /// Envelopes that were not accepted.
    pub(crate) rejected: u64,
}

/// Reads all of these topics by a fresh group from the earliest record, with handlers that do nothing but look whether
/// the order is right.
///
/// So many of the workload's envelopes were `refused`, and are not there.
pub(crate) async fn drain(
    bus: &Bus,
    topics: &[String],
    group: &str,
    workload: &Workload,
    refused: u64,
) -> Result<Consumed> {
    let follower = Arc::new(Follower::new(workload, None).lacking(refused > 0));
    follower.lacks(refused);
    let (called, cpu) = (Instant::now(), cpu_time());
    let subscriptions = follower.subscribe(bus, topics, group).await?;
    follower.wait().await;
    let cpu = cpu_time() - cpu;
    follower.end(subscriptions, called, cpu).await
}

/// Publishes the workload to topics on which groups wait already.
pub(crate) async fn follow(bus: &Bus, stage: &Stage, variant: Variant, workload: &Arc<Workload>) -> Result<Followed> {
    let topics = &stage.followed_topics;
    let publishers = Opened::open(bus, stage, topics, variant, workload).await?;
    let start = Start::new(workload.senders);
    let follower = Follower::new(workload, Some(start.clone())).lacking(variant.strategy.refuses());
    let follower = Arc::new(follower);
    let (called, cpu) = (Instant::now(), cpu_time());
    let subscriptions = follower.subscribe(bus, topics, GROUP).await?;
    wait_for_partitions(bus, topics, &subscriptions).await?;
    publishers.burst(workload, &start).await?;
    follower.lacks(publishers.rejected());
    follower.wait().await;
    let cpu = cpu_time() - cpu;
    let consumed = follower.end(subscriptions, called, cpu).await?;
    let to_handler = follower.latencies();
    let delivered_in = follower.last_known().map_or(Duration::ZERO, |last| last - start.began());
    let (not_acked, rejected) = (publishers.failures(), publishers.rejected());
    publishers.close().await?;
    Ok(Followed { consumed, to_handler, delivered_in, not_acked, rejected })
}

/// Waits until every subscription has all partitions of its topic, so that joining is in no latency.
pub(crate) async fn wait_for_partitions(bus: &Bus, topics: &[String], subscriptions: &[Subscription]) -> Result<()> {
    let until = Instant::now() + JOIN_MAX;
    for (topic, subscription) in topics.iter().zip(subscriptions) {
        let partitions = bus.driver().topic(&busline::TopicName::new(topic)?).await?.spec.partitions as usize;
        while subscription.partitions().len() < partitions {
            ensure!(Instant::now() < until, "the group of {topic} did not get its partitions within {JOIN_MAX:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

/// Longest wait for the partitions of a group that has one member.
const JOIN_MAX: Duration = Duration::from_secs(30);

/// Longest wait for the next record before the rest counts as lost.
const STALL_MAX: Duration = Duration::from_secs(20);

/// Longest wait for subscriptions to close.
const CLOSE_MAX: Duration = Duration::from_secs(30);

pub(crate) const GROUP: &str = "bench";

/// When an envelope was to be published.
enum Due {
    /// Nobody asks.
    Unknown,
    /// All at the start of a burst.
    AtStart(Start),
    /// Each at its own time.
    Paced(Arc<Pace>),
}

impl Due {
    fn of(&self, aggregate: usize, version: u64) -> Option<Instant> {
        match self {
            Self::Unknown => None,
            Self::AtStart(start) => Some(start.began()),
            Self::Paced(pace) => Some(pace.due_of(aggregate, version.max(1))),
        }
    }
}

/// What is not to come, and what stands for the last arrival then.
struct Lack {
    refused: AtomicU64,
    made: Instant,
    /// The latest arrival. Unit: nanoseconds since `made`.
    latest_ns: AtomicU64,
}

/// Between two looks at what has come.
const LOOK: Duration = Duration::from_millis(2);

/// What all handlers of a pass share.
pub(crate) struct Follower {
    arrivals: Arrivals,
    spans: Spans,
    /// Only where something may not come because it was refused.
    lack: Option<Lack>,
    done: Notify,
    /// What latencies count from, and of how many versions of an aggregate one has its latency taken.
    due: Due,
    latency_sample: u64,
    latencies: Mutex<Latencies>,
}

impl Follower {
    pub(crate) fn new(workload: &Workload, start: Option<Start>) -> Self {
        Self::of(workload, start.map_or(Due::Unknown, Due::AtStart), Arrivals::new(workload))
    }

    /// Follows a load that is published at this pace.
    pub(crate) fn paced(workload: &Workload, pace: Arc<Pace>) -> Self {
        let latencies = Mutex::new(Latencies::with_all_room());
        Self { latencies, ..Self::of(workload, Due::Paced(pace), Arrivals::new(workload)) }
    }

    /// Follows the aggregates from this number on.
    #[cfg(feature = "sqlite")]
    pub(crate) fn behind(workload: &Workload, first: usize) -> Self {
        Self::of(workload, Due::Unknown, Arrivals::behind(workload, first))
    }

    fn of(workload: &Workload, due: Due, arrivals: Arrivals) -> Self {
        Self {
            arrivals,
            spans: Spans::new(workload.topics),
            lack: None,
            done: Notify::new(),
            due,
            latency_sample: workload.latency_sample,
            latencies: Mutex::default(),
        }
    }

    /// The same where a strategy may refuse some: how many is said by [`lacks`](Self::lacks) before it waits.
    fn lacking(self, lacking: bool) -> Self {
        let lack = || Lack { refused: AtomicU64::new(0), made: Instant::now(), latest_ns: AtomicU64::new(0) };
        Self { lack: lacking.then(lack), ..self }
    }

    /// So many were refused, and are not to come.
    fn lacks(&self, refused: u64) {
        self.lack.iter().for_each(|lack| lack.refused.store(refused, Ordering::Release));
    }

    /// Envelopes that are to come.
    pub(crate) fn planned(&self) -> u64 {
        let arrived = self.arrivals.arrived();
        arrived.delivered + arrived.missing
    }

    /// Notes that a record comes, before its handler does anything: its time counts from here if it is the first.
    #[cfg(feature = "sqlite")]
    pub(crate) fn begin(&self, delivery: &Delivery) {
        if let Some(number) = aggregate_of(&delivery.envelope.aggregate_id) {
            self.spans.begin(self.arrivals.topic_of(number));
        }
    }

    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        bus: &Bus,
        topics: &[String],
        group: &str,
    ) -> Result<Vec<Subscription>> {
        let joining = topics.iter().map(|topic| {
            let follower = Arc::clone(self);
            let handler = move |delivery: Delivery| {
                follower.take(&delivery);
                ready(Ok(()))
            };
            bus.subscribe(topic, group).concurrency(concurrency_of(topics.len())).handle(handler)
        });
        // One by one the first would be at work before the last one has joined.
        at_once(joining).await
    }

    /// Different envelopes that have come.
    pub(crate) fn delivered(&self) -> u64 {
        self.arrivals.arrived().delivered
    }

    /// When the last one came, or now if it has not.
    pub(crate) fn last_arrival(&self) -> Instant {
        self.last_known().unwrap_or_else(Instant::now)
    }

    /// When the last one came, if it has.
    fn last_known(&self) -> Option<Instant> {
        let latest = |lack: &Lack| lack.made + Duration::from_nanos(lack.latest_ns.load(Ordering::Acquire));
        let all_came = || self.spans.last().filter(|_| self.arrivals.arrived().missing == 0);
        self.lack.as_ref().map(latest).or_else(all_came)
    }

    /// The latencies, which are taken out.
    pub(crate) fn latencies(&self) -> Latencies {
        std::mem::take(&mut self.latencies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The handler, or its end.
    pub(crate) fn take(&self, delivery: &Delivery) {
        self.note(&delivery.envelope.aggregate_id, delivery.envelope.event_version);
    }

    /// Notes that the event of this version of an aggregate has come.
    pub(crate) fn note(&self, key: &str, version: u64) {
        let Some(number) = aggregate_of(key) else { return self.arrivals.foreign() };
        let topic = self.arrivals.topic_of(number);
        self.spans.begin(topic);
        if version.is_multiple_of(self.latency_sample)
            && let Some(due) = self.due.of(number, version)
        {
            self.latencies.lock().unwrap_or_else(PoisonError::into_inner).record(due.elapsed(), 1);
        }
        if let Some(lack) = &self.lack {
            lack.latest_ns.fetch_max(lack.made.elapsed().as_nanos() as u64, Ordering::AcqRel);
        }
        let ends = self.arrivals.arrive(number, version);
        if ends != Ends::Nothing {
            self.spans.end(topic);
        }
        if ends == Ends::All {
            self.done.notify_one();
        }
    }

    /// Waits for the last record, or until none has come for long.
    pub(crate) async fn wait(&self) {
        if let Some(lack) = &self.lack {
            return self.wait_for_all_but(lack.refused.load(Ordering::Acquire)).await;
        }
        let mut delivered = self.arrivals.arrived().delivered;
        while timeout(STALL_MAX, self.done.notified()).await.is_err() {
            let now = self.arrivals.arrived().delivered;
            if now == delivered {
                return;
            }
            delivered = now;
        }
    }

    /// The same where the last versions of some aggregates do not come, so that no arrival says that it is the last.
    async fn wait_for_all_but(&self, refused: u64) {
        let wanted = self.planned().saturating_sub(refused);
        let (mut delivered, mut since) = (self.delivered(), Instant::now());
        while delivered < wanted && since.elapsed() < STALL_MAX {
            tokio::time::sleep(LOOK).await;
            let now = self.delivered();
            if now > delivered {
                (delivered, since) = (now, Instant::now());
            }
        }
    }

    /// Closes the subscriptions; the last record counts, or the end of waiting for it.
    pub(crate) async fn end(
        &self,
        subscriptions: Vec<Subscription>,
        called: Instant,
        cpu: Duration,
    ) -> Result<Consumed> {
        let closing = subscriptions.into_iter().map(|subscription| async move { subscription.close(CLOSE_MAX).await });
        let mut handled = 0;
        for left in at_once(closing).await? {
            ensure!(left.left.is_empty(), "not closed within {CLOSE_MAX:?}: {:?}", left.left);
            handled += left.stats.handled;
        }
        let joined_in = self.spans.first().map_or(Duration::ZERO, |first| first - called);
        let consumed_in = self.spans.busy(self.last_arrival());
        Ok(Consumed { arrived: self.arrivals.arrived(), handled, joined_in, consumed_in, cpu })
    }
}
