//! The twin of the NATS driver: raw async-nats, one loop, one connection, one message and one ack for each envelope.
//!
//! It publishes the bytes that the bus publishes to the subjects of topics made by the driver, by the client's futures:
//! as many acks are awaited at once as the bus's windows hold together. It sends no message ids, resends nothing and
//! keeps no order across a failure: what the bus does beyond this is what the comparison is about. The driver's fast
//! ingest, where the server has it, needs fewer acks than one for each message, so the bus may be the faster one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_nats::HeaderMap;
use async_nats::jetstream::Context as JetStream;
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture, PublishError};
use busline::{Bus, Driver, NatsConfig, NatsDriver};

use super::came_to::{Bodies, TwinRun};
use super::made::Made;
use super::on_server::{Window, stored_by};
use crate::connect::CLOSE_MAX;
use crate::latency::Latencies;
use crate::place::Stage;
use crate::workload::Workload;

/// Longest wait for an ack: that of the bus.
const ACK_MAX: Duration = Duration::from_secs(30);

/// Stores the workload's events on topics of its own, has them judged as those of the bus are, and deletes the topics.
///
/// # Errors
/// An ack that does not come; anything lost, doubled or reordered.
pub(crate) async fn run(stage: &Stage, workload: &Workload, bodies: Bodies) -> Result<TwinRun> {
    let driver = Arc::new(NatsDriver::open(NatsConfig::from_url(&stage.url)?).await?);
    let bus = Bus::new(Arc::clone(&driver) as Arc<dyn Driver>);
    let stored = stored_by(&bus, stage, workload, bodies, || Ok(Acks::new(&driver, &stage.topics, workload))).await;
    bus.close(CLOSE_MAX).await?;
    stored
}

/// The acks that are awaited, the first one sent in front.
struct Acks<'t> {
    jetstream: JetStream,
    topics: &'t [String],
    size: usize,
    pending: VecDeque<(Instant, PublishAckFuture)>,
    latencies: Latencies,
}

impl<'t> Acks<'t> {
    fn new(driver: &NatsDriver, topics: &'t [String], workload: &Workload) -> Self {
        let size = if workload.mode.waits_for_each() { 1 } else { workload.window_envelopes * workload.topics };
        let client = driver.as_nats().clone();
        let jetstream = ContextBuilder::new().max_ack_inflight(size + 1).ack_timeout(ACK_MAX).build(client);
        Self { jetstream, topics, size, pending: VecDeque::new(), latencies: Latencies::default() }
    }

    async fn wait_for_first(&mut self) -> Result<()> {
        if let Some((called, ack)) = self.pending.pop_front() {
            ack.await.context("the twin's ack")?;
            self.latencies.record(called.elapsed(), 1);
        }
        Ok(())
    }
}

/// Sends one message, with its headers if it has any.
pub(crate) async fn publish(
    jetstream: &JetStream,
    topics: &[String],
    made: Made,
) -> Result<PublishAckFuture, PublishError> {
    let subject = format!("{}.{}", topics[made.topic], made.partition);
    if made.headers.is_empty() {
        return jetstream.publish(subject, made.body).await;
    }
    let mut headers = HeaderMap::new();
    for header in made.headers.iter() {
        // The benchmark makes no value that is not text.
        headers.append(header.name.as_str(), String::from_utf8_lossy(&header.value).as_ref());
    }
    jetstream.publish_with_headers(subject, headers, made.body).await
}

impl Window for Acks<'_> {
    async fn send_all(&mut self, made: impl Iterator<Item = Made>) -> Result<u64> {
        let mut sent = 0;
        for made in made {
            if self.pending.len() == self.size {
                self.wait_for_first().await?;
            }
            let called = Instant::now();
            let ack = publish(&self.jetstream, self.topics, made).await.context("the twin's publish")?;
            self.pending.push_back((called, ack));
            sent += 1;
        }
        Ok(sent)
    }

    async fn wait_for_all(&mut self) -> Result<()> {
        while !self.pending.is_empty() {
            self.wait_for_first().await?;
        }
        Ok(())
    }

    fn latencies(self) -> Latencies {
        self.latencies
    }
}
