//! What twins of servers have in common: topics of their own, and a verdict on what they stored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use busline::{Bus, TopicName};

use super::came_to::{Bodies, TwinRun};
use super::made::{Made, Maker};
use crate::clearing;
use crate::dump::judge_driver;
use crate::latency::Latencies;
use crate::measure::cpu_time;
use crate::place::Stage;
use crate::workload::Workload;

/// A native client that publishes.
pub(super) trait Window {
    /// Sends these in their order; gives how many they were. Waits only while as many acks as it holds are missing.
    async fn send_all(&mut self, made: impl Iterator<Item = Made>) -> Result<u64>;

    /// Waits until everything is acked.
    async fn wait_for_all(&mut self) -> Result<()>;

    /// The latencies from call to ack, if it has any.
    fn latencies(self) -> Latencies;
}

/// Makes the topics of the stage by the driver, has what `open` gives publish to them, judges what is stored as that of the
/// bus is judged, and deletes them.
///
/// Opened once the topics are there: a client that has looked for a topic in vain looks again only a second later.
pub(super) async fn stored_by<W: Window>(
    bus: &Bus,
    stage: &Stage,
    workload: &Workload,
    bodies: Bodies,
    open: impl FnOnce() -> Result<W>,
) -> Result<TwinRun> {
    let topics = &stage.topics;
    stage.note();
    stage.plan.make(bus, &stage.url, topics).await?;
    let stored = match open() {
        Ok(window) => publish(topics, workload, bodies, window).await,
        Err(error) => Err(error),
    };
    let verdict = judge_driver(bus, topics, workload).await;
    let names = topics.iter().map(|topic| TopicName::new(topic)).collect::<busline::Result<Vec<_>>>()?;
    clearing::delete(bus, names).await?;
    stage.cleared();
    let (stored, verdict) = (stored?, verdict?);
    ensure!(verdict.is_perfect(0) && verdict.stored == stored.envelopes, "the twin is wrong: {verdict:?}");
    Ok(stored)
}

/// Records made beforehand at once, as with the twin of SQLite.
const BLOCK_RECORDS: usize = 32_768;

async fn publish<W: Window>(topics: &[String], workload: &Workload, bodies: Bodies, mut window: W) -> Result<TwinRun> {
    let maker = Maker::new(Arc::new(workload.clone()), topics);
    let mut events = workload.events();
    let (mut stored_in, mut cpu_used, mut envelopes) = (Duration::ZERO, Duration::ZERO, 0);
    loop {
        let made: Vec<Made> = match bodies {
            Bodies::Encoded => Vec::new(),
            Bodies::Premade => events.by_ref().take(BLOCK_RECORDS).map(|event| maker.make(event)).collect(),
        };
        let (start, cpu) = (Instant::now(), cpu_time());
        envelopes += match bodies {
            Bodies::Encoded => window.send_all(events.by_ref().map(|event| maker.make(event))).await?,
            Bodies::Premade => window.send_all(made.into_iter()).await?,
        };
        window.wait_for_all().await?;
        stored_in += start.elapsed();
        cpu_used += cpu_time() - cpu;
        if envelopes == workload.envelopes {
            return Ok(TwinRun { envelopes, stored_in, cpu: cpu_used, latencies: window.latencies() });
        }
    }
}
