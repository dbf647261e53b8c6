//! The twin of the NATS driver: raw async-nats, one loop, one connection, one message and one ack for each envelope.
//!
//! It publishes the bytes that the bus publishes to the subjects of topics made by the driver, by the client's futures:
//! as many acks are awaited at once as the bus's windows hold together. It sends no message ids, resends nothing and
//! keeps no order across a failure: what the bus does beyond this is what the comparison is about. The driver's fast
//! ingest, where the server has it, needs fewer acks than one for each message, so the bus may be the faster one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::Context as JetStream;
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture};
use busline::{Bus, Driver, NatsConfig, NatsDriver, TopicName, TopicSpec, Wire};
use bytes::Bytes;

use super::came_to::{Bodies, TwinRun};
use super::murmur2::partition_of;
use crate::dump::judge_driver;
use crate::latency::Latencies;
use crate::measure::cpu_time;
use crate::workload::{Event, Mode, Workload};

/// Longest wait for an ack: that of the bus.
const ACK_MAX: Duration = Duration::from_secs(30);

const CLOSE_MAX: Duration = Duration::from_secs(60);

/// Stores the workload's events on topics of its own, has them judged as those of the bus are, and deletes the topics.
///
/// # Errors
/// An ack that does not come; anything lost, doubled or reordered.
pub(crate) async fn run(url: &str, topics: &[String], workload: &Workload, bodies: Bodies) -> Result<TwinRun> {
    let driver = Arc::new(NatsDriver::open(NatsConfig::from_url(url)?).await?);
    let bus = Bus::new(Arc::clone(&driver) as Arc<dyn Driver>);
    for topic in topics {
        driver.create_topic(&TopicName::new(topic)?, &TopicSpec::default()).await?;
    }
    let stored = publish(&driver, topics, workload, bodies).await;
    let verdict = judge_driver(&bus, topics, workload).await;
    for topic in topics {
        driver.delete_topic(&TopicName::new(topic)?).await?;
    }
    bus.close(CLOSE_MAX).await?;
    let (stored, verdict) = (stored?, verdict?);
    ensure!(verdict.is_perfect() && verdict.stored == stored.envelopes, "the twin is wrong: {verdict:?}");
    Ok(stored)
}

async fn publish(driver: &NatsDriver, topics: &[String], workload: &Workload, bodies: Bodies) -> Result<TwinRun> {
    let partitions = TopicSpec::default().partitions as usize;
    let subjects = topics.iter().map(|topic| (0..partitions).map(|number| format!("{topic}.{number}")).collect());
    let sources = topics.iter().map(|topic| format!("/busline/{topic}")).collect();
    let maker = Maker { workload, subjects: subjects.collect(), sources, partitions };
    let mut window = Window::new(driver, workload);
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
            return Ok(TwinRun { envelopes, stored_in, cpu: cpu_used, latencies: window.latencies });
        }
    }
}

/// Records made beforehand at once, as with the twin of SQLite.
const BLOCK_RECORDS: usize = 32_768;

/// One message, made.
struct Made {
    subject: String,
    body: Bytes,
}

struct Maker<'w> {
    workload: &'w Workload,
    /// By topic and partition.
    subjects: Vec<Vec<String>>,
    sources: Vec<String>,
    partitions: usize,
}

impl Maker<'_> {
    fn make(&self, event: Event) -> Made {
        let envelope = self.workload.envelope(event);
        let topic = self.workload.topic_of(event.aggregate);
        let mut body = Vec::new();
        Wire::CloudEvents.encode(&envelope, &self.sources[topic], &mut body);
        let partition = partition_of(envelope.aggregate_id.as_bytes(), self.partitions);
        Made { subject: self.subjects[topic][partition].clone(), body: body.into() }
    }
}

/// The acks that are awaited, the first one sent in front.
struct Window {
    jetstream: JetStream,
    size: usize,
    pending: VecDeque<(Instant, PublishAckFuture)>,
    latencies: Latencies,
}

impl Window {
    fn new(driver: &NatsDriver, workload: &Workload) -> Self {
        let size = if workload.mode == Mode::Sync { 1 } else { workload.window_envelopes * workload.topics };
        let client = driver.as_nats().clone();
        let jetstream = ContextBuilder::new().max_ack_inflight(size + 1).ack_timeout(ACK_MAX).build(client);
        Self { jetstream, size, pending: VecDeque::new(), latencies: Latencies::default() }
    }

    /// Sends these in their order; gives how many they were.
    async fn send_all(&mut self, made: impl Iterator<Item = Made>) -> Result<u64> {
        let mut sent = 0;
        for Made { subject, body } in made {
            if self.pending.len() == self.size {
                self.wait_for_first().await?;
            }
            let called = Instant::now();
            let ack = self.jetstream.publish(subject, body).await.context("the twin's publish")?;
            self.pending.push_back((called, ack));
            sent += 1;
        }
        Ok(sent)
    }

    async fn wait_for_first(&mut self) -> Result<()> {
        if let Some((called, ack)) = self.pending.pop_front() {
            ack.await.context("the twin's ack")?;
            self.latencies.record(called.elapsed(), 1);
        }
        Ok(())
    }

    async fn wait_for_all(&mut self) -> Result<()> {
        while !self.pending.is_empty() {
            self.wait_for_first().await?;
        }
        Ok(())
    }
}
