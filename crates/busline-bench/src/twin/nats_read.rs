//! The reading twin of the NATS driver: raw async-nats, a pull consumer for each stream, one loop.
//!
//! It decodes each envelope with busline-core's codec. It keeps no order, runs no handler, acks nothing and stores no
//! progress.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_nats::jetstream::Context as JetStream;
use async_nats::jetstream::consumer::pull::{MessagesError, MessagesErrorKind};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::ContextBuilder;
use busline::{NatsConfig, NatsDriver};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::came_to::TwinRead;
use crate::measure::cpu_time;
use crate::place::Stage;

/// Messages of one request.
const REQUEST_MESSAGES: usize = 1_000;

/// Longest wait for a message before the rest counts as not there.
const STALL_MAX: Duration = Duration::from_secs(20);

/// How long a request stands before the client makes another one: one that is answered in part, or not at all, must not look
/// like records that are not there.
const EXPIRES: Duration = Duration::from_secs(5);

/// Reads so many records of these topics, from the first one at hand to the last.
///
/// # Errors
/// What the client or the codec refuses.
pub(crate) async fn read(stage: &Stage, records: u64) -> Result<TwinRead> {
    let driver = NatsDriver::open(NatsConfig::from_url(&stage.url)?).await?;
    let jetstream = ContextBuilder::new().build(driver.as_nats().clone());
    let end = Instant::now() + STALL_MAX;
    let read = loop {
        match read_by_new_consumers(&jetstream, stage, records).await {
            Err(error) if is_unheard_of(&error) && Instant::now() < end => {}
            read => break read,
        }
    };
    busline::Bus::new(std::sync::Arc::new(driver)).close(STALL_MAX).await?;
    read
}

/// Whether nobody took a request: on a cluster the client's server may not know yet where a new consumer lives.
fn is_unheard_of(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<MessagesError>();
    error.is_some_and(|error| error.kind() == MessagesErrorKind::NoResponders)
}

async fn read_by_new_consumers(jetstream: &JetStream, stage: &Stage, records: u64) -> Result<TwinRead> {
    let mut streams = Vec::new();
    for name in streams_of(stage) {
        let stream = jetstream.get_stream(name).await.context("the stream of the twin")?;
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            inactive_threshold: STALL_MAX * 2,
            memory_storage: true,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.context("the consumer of the twin")?;
        streams.push(consumer.stream().max_messages_per_batch(REQUEST_MESSAGES).expires(EXPIRES).messages().await?);
    }
    let mut messages = futures_util::stream::select_all(streams);
    let (mut read, mut from) = (0, None);
    while read < records {
        let Ok(Some(message)) = timeout(STALL_MAX, messages.next()).await else { break };
        let message = message.context("the twin's message")?;
        from.get_or_insert_with(|| (Instant::now(), cpu_time()));
        black_box(busline::decode(&message.payload, String::new)?);
        read += 1;
    }
    let (start, cpu) = from.unwrap_or_else(|| (Instant::now(), cpu_time()));
    Ok(TwinRead { records: read, read_in: start.elapsed(), cpu: cpu_time() - cpu })
}

/// The streams of a run's topics, as docs/decisions/0003 names them. The topics' own names hold no dot.
fn streams_of(stage: &Stage) -> Vec<String> {
    let streams = stage.plan.spec.streams;
    let of = |topic: &String| match streams {
        1 => vec![topic.clone()],
        _ => (0..streams).map(|number| format!("{topic}=={number}")).collect(),
    };
    stage.topics.iter().flat_map(of).collect()
}
