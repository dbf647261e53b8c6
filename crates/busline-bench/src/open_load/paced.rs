//! One rate on one bus: published when due, followed by groups, watched, closed, judged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use busline::{Bus, Durability, Receipt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::pace::Pace;
use super::series::{LOOKS, Point, every};
use crate::clearing::leaving_nothing;
use crate::connect::CLOSE_MAX;
use crate::consuming::{Consumed, Follower, GROUP, wait_for_partitions};
use crate::dump::{Verdict, judge_driver};
use crate::latency::Latencies;
use crate::measure::{Leaked, Memory, cpu_time, descriptors, threads, threads_settled};
use crate::place::{Place, Stage};
use crate::publishing::Publishers;
use crate::runtime::{runtime, tasks_settled};
use crate::workload::Workload;

/// Everything a rate came to.
pub(super) struct Paced {
    pub(super) durability: Durability,
    pub(super) consumed: Consumed,
    pub(super) verdict: Verdict,
    pub(super) not_acked: u64,
    pub(super) to_call: Latencies,
    pub(super) to_ack: Latencies,
    pub(super) to_handler: Latencies,
    /// From the first due time to the last delivery.
    pub(super) took: Duration,
    pub(super) cpu: Duration,
    pub(super) series: Vec<Point>,
    pub(super) leaked: Leaked,
}

/// Publishes the workload at this pace, on a stage of its own.
pub(super) fn measure(place: &Place, workload: &Arc<Workload>, pace: &Arc<Pace>, duration: Duration) -> Result<Paced> {
    let stage = place.stage(workload.topics);
    leaving_nothing(&stage, || measure_on(&stage, workload, pace, duration))
}

fn measure_on(stage: &Stage, workload: &Arc<Workload>, pace: &Arc<Pace>, duration: Duration) -> Result<Paced> {
    let threads_before = threads()?;
    let memory = Memory::watch()?;
    let runtime = runtime()?;
    let descriptors_before = descriptors()?;
    let mut paced = runtime.block_on(async {
        let bus = stage.bus().await?;
        run(bus, &stage.topics, workload, pace, (memory, every(duration))).await
    })?;
    paced.leaked =
        Leaked { tasks: tasks_settled(&runtime), threads: 0, descriptors: descriptors()? - descriptors_before };
    drop(runtime);
    paced.leaked.threads = threads_settled(threads_before)? - threads_before;
    Ok(paced)
}

async fn run(
    bus: Bus,
    topics: &[String],
    workload: &Arc<Workload>,
    pace: &Arc<Pace>,
    (memory, every): (Memory, Duration),
) -> Result<Paced> {
    let publishers = Publishers::open(&bus, topics, workload.window_envelopes).await?;
    let durability = publishers.of(0).offer().durability;
    let follower = Arc::new(Follower::paced(workload, Arc::clone(pace)));
    let called = Instant::now();
    let subscriptions = follower.subscribe(&bus, topics, GROUP).await?;
    wait_for_partitions(&bus, topics, &subscriptions).await?;
    let cpu = cpu_time();
    let accepted = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let watched = Watched {
        follower: Arc::clone(&follower),
        accepted: Arc::clone(&accepted),
        over: Arc::clone(&over),
        pace: Arc::clone(pace),
        memory,
    };
    let mut watching = JoinSet::new();
    watching.spawn(watched.series(every));
    let Sent { to_call, to_ack } = publish(&publishers, workload, pace, &accepted).await?;
    follower.wait().await;
    let (cpu, took) = (cpu_time() - cpu, follower.last_arrival() - pace.began());
    over.store(true, Ordering::Release);
    let series = watching.join_next().await.context("nothing watched")?.context("the watch panicked")??;
    let consumed = follower.end(subscriptions, called, cpu).await?;
    let verdict = judge_driver(&bus, topics, workload).await?;
    let not_acked = publishers.failures();
    let ends = bus.close(CLOSE_MAX).await?;
    ensure!(ends.iter().all(|end| end.left.is_empty()), "not closed within {CLOSE_MAX:?}");
    let to_handler = follower.latencies();
    let leaked = Leaked::default();
    Ok(Paced { durability, consumed, verdict, not_acked, to_call, to_ack, to_handler, took, cpu, series, leaked })
}

/// Latencies of those who publish.
struct Sent {
    to_call: Latencies,
    to_ack: Latencies,
}

/// Publishes each envelope when it is due, or as soon as the window lets it through.
async fn publish(publishers: &Publishers, workload: &Workload, pace: &Pace, accepted: &AtomicU64) -> Result<Sent> {
    let to_ack = Arc::new(Mutex::new(Latencies::with_all_room()));
    let mut to_call = Latencies::with_all_room();
    let mut observers = JoinSet::new();
    let mut watchers = Vec::with_capacity(workload.topics);
    for _ in 0..workload.topics {
        // What the window lets through fits, so that nobody waits for an observer.
        let (watcher, watched) = mpsc::channel(workload.window_envelopes + 1);
        watchers.push(watcher);
        observers.spawn(observe(watched, Arc::clone(&to_ack)));
    }
    for (number, event) in (0..).zip(workload.events()) {
        let due = pace.due(number);
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        let envelope = workload.envelope(event);
        to_call.record(due.elapsed(), 1);
        let topic = workload.topic_of(event.aggregate);
        let receipt = publishers.of(topic).publish(envelope).await?;
        accepted.fetch_add(1, Ordering::Relaxed);
        watchers[topic].send((receipt, due)).await.context("an observer ended early")?;
    }
    drop(watchers);
    while let Some(ended) = observers.join_next().await {
        ended.context("an observer panicked")?;
    }
    let to_ack = std::mem::take(&mut *to_ack.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Sent { to_call, to_ack })
}

async fn observe(mut watched: mpsc::Receiver<(Receipt, Instant)>, to_ack: Arc<Mutex<Latencies>>) {
    while let Some((receipt, due)) = watched.recv().await {
        if receipt.await.is_ok() {
            to_ack.lock().unwrap_or_else(PoisonError::into_inner).record(due.elapsed(), 1);
        }
    }
}

/// What is looked at while it runs.
struct Watched {
    follower: Arc<Follower>,
    accepted: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    pace: Arc<Pace>,
    memory: Memory,
}

impl Watched {
    /// Looks until all is over.
    async fn series(self, every: Duration) -> Result<Vec<Point>> {
        let mut ticks = tokio::time::interval(every);
        // Looks that were missed in a standstill would all be of one moment.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Room from the start: what grows here would be taken for a leak.
        let (mut series, mut before) = (Vec::with_capacity(LOOKS as usize + 1), (0_u64, 0.0));
        ticks.tick().await;
        while !self.over.load(Ordering::Acquire) {
            ticks.tick().await;
            let at_s = self.pace.began().elapsed().as_secs_f64();
            // Read first: what is accepted meanwhile must not make the lag negative.
            let delivered = self.follower.delivered();
            let lag = self.accepted.load(Ordering::Relaxed).saturating_sub(delivered);
            let delivered_per_s = (delivered - before.0) as f64 / (at_s - before.1).max(1e-9);
            before = (delivered, at_s);
            let (memory_bytes, held_bytes) = (self.memory.above()?, self.memory.retained()?);
            series.push(Point { at_s, memory_bytes, held_bytes, lag, delivered_per_s });
        }
        // The last look is behind the end, and shorter than the others.
        series.pop();
        Ok(series)
    }
}
