//! The writing end of a topic: what it offers, and its task.

use std::sync::Arc;
use std::time::Duration;

use busline_core::{
    AckPositions, Batch, BoxFuture, Durability, Error, ErrorKind, Medium, Positions, Result, Sink, SinkOffer,
    SinkRequest, no_runtime, topic_not_found,
};
use tokio::time::Instant;

use crate::admin::Admin;
use crate::config::Strategy;
use crate::dialer::Dialer;
use crate::server::Server;
use crate::topics::{StreamInfo, stream_info};

mod answer;
mod atomic;
mod backlog;
mod course;
mod door;
mod fast;
mod ground;
mod heads;
mod key_hash;
mod line;
mod log;
mod mend;
mod pending;
mod pipelined;
mod rec;
mod run;
mod session;
mod tail;
mod task;
mod work;

use door::Door;
use fast::Fast;
use ground::Ground;
use line::Line;
use pipelined::Pipelined;
use task::Task;
pub(crate) use task::Tasks;
use work::Work;

/// Most records of one atomic batch, a limit of the server.
pub(crate) const ATOMIC_RECORDS_MAX: usize = 1_000;

/// Batches in flight, and their size: together the publisher's whole default window, far below what a server queues.
const BATCHES_IN_FLIGHT_MAX: usize = 16;
const BATCH_RECORDS_MAX: usize = 512;
const BATCH_BYTES_MAX: usize = 4 << 20;

/// The writing end of a topic.
#[derive(Debug)]
struct NatsSink {
    ground: Arc<Ground>,
    offer: SinkOffer,
    task: Task,
}

/// Opens the sink that fits the request and the server; its task is one of `tasks`.
///
/// # Errors
/// `NotFound/Topic`; `Unsupported/Strategy`, `Unsupported/Deduplicate`; `Denied/…`, `Unavailable/Server`.
pub(crate) async fn open(
    admin: &Admin,
    dialer: &Arc<Dialer>,
    server: &Server,
    strategy: Strategy,
    request: SinkRequest,
    tasks: &Tasks,
) -> Result<Arc<dyn Sink>> {
    let name = request.topic.name.clone();
    let opened = open_on(admin, dialer, server, strategy, request).await;
    opened
        .inspect(|sink| tasks.add(sink.task.clone()))
        .map(|sink| Arc::new(sink) as Arc<dyn Sink>)
        .map_err(|error| error.at("open a sink", name))
}

async fn open_on(
    admin: &Admin,
    dialer: &Arc<Dialer>,
    server: &Server,
    strategy: Strategy,
    request: SinkRequest,
) -> Result<NatsSink> {
    if request.deduplicate.is_some() {
        return Err(Error::new(ErrorKind::Unsupported, "Deduplicate")
            .cause("nats tells no second publish of an id from a first in this version")
            .next("publish without deduplicate"));
    }
    let streams = streams(admin, &request).await?;
    let fast = is_fast(server, strategy, &request, &streams)?;
    let durability = durability(server, &streams);
    let ground = Ground::new(request.topic, admin.clone(), Arc::clone(dialer), durability, ids_known_for(&streams));
    let ground = Arc::new(ground);
    let link = Arc::clone(&ground).dial().await?;
    let door = Arc::new(Door::default());
    let line = Line::new(Arc::clone(&ground), Arc::clone(&door), link);
    let work: BoxFuture<'static, ()> = if fast {
        let streams = streams.iter().map(|stream| (stream.state.last_seq, stream.config.num_replicas));
        Box::pin(Work::new(line, Fast::new(streams, BATCHES_IN_FLIGHT_MAX)).run())
    } else {
        let floors = streams.iter().map(|stream| stream.state.last_seq).collect();
        Box::pin(Work::new(line, Pipelined::new(floors)).run())
    };
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| no_runtime())?;
    let task = Task::start(&runtime, door, work);
    let positions = if fast { AckPositions::Sometimes } else { AckPositions::Always };
    let offer = SinkOffer {
        durability,
        positions,
        batches_in_flight_max: BATCHES_IN_FLIGHT_MAX,
        batch_records_max: BATCH_RECORDS_MAX,
        batch_bytes_max: BATCH_BYTES_MAX,
    };
    Ok(NatsSink { ground, offer, task })
}

/// Whether the fast sink is the one; the pipelined one serves every server and every request.
///
/// The bus's own topics have entries of one body under several keys. The fast sink knows its records by their bodies.
fn is_fast(server: &Server, strategy: Strategy, request: &SinkRequest, streams: &[StreamInfo]) -> Result<bool> {
    let offered = server.features.fast && streams.iter().all(|stream| stream.config.allow_batched);
    match strategy {
        _ if request.topic.name.is_own() => Ok(false),
        Strategy::Pipelined => Ok(false),
        Strategy::Best => Ok(offered && request.positions == Positions::Any),
        Strategy::Fast if request.positions == Positions::Required => Ok(false),
        Strategy::Fast if offered => Ok(true),
        Strategy::Fast => Err(Error::new(ErrorKind::Unsupported, "Strategy")
            .cause("the server or the topic's stream has no fast ingest")
            .next("use the strategy 'best' or 'pipelined', or a server of 2.14 or later")),
    }
}

/// The streams of the topic, as they are now.
async fn streams(admin: &Admin, request: &SinkRequest) -> Result<Vec<StreamInfo>> {
    let mut streams = Vec::new();
    for number in 0..request.topic.spec.streams {
        let stream = crate::names::stream(&request.topic.name, request.topic.spec.streams, number);
        let found = stream_info(admin, &stream).await?;
        streams.push(found.ok_or_else(|| topic_not_found(&request.topic.name))?);
    }
    Ok(streams)
}

/// What every ack is worth at least: a majority of the copies has the record.
fn durability(server: &Server, streams: &[StreamInfo]) -> Durability {
    let medium = streams.iter().map(|stream| server.medium(&stream.config)).min().unwrap_or(Medium::Memory);
    let copies = streams.iter().map(|stream| stream.config.num_replicas / 2 + 1).min().unwrap_or(1);
    Durability { medium, copies }
}

/// The time for which all streams know a message's id.
fn ids_known_for(streams: &[StreamInfo]) -> Duration {
    let nanos = streams.iter().map(|stream| stream.config.duplicate_window).min();
    Duration::from_nanos(nanos.unwrap_or_default())
}

impl Sink for NatsSink {
    fn offer(&self) -> SinkOffer {
        self.offer
    }

    fn publish(&self, batch: Batch) {
        if let Some(refused) = self.task.push(batch) {
            refused.settle_all(&self.ground.closed());
        }
    }

    fn trouble(&self) -> Option<Error> {
        self.task.door().trouble()
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
        // Told at once: a future that nobody polls ends the task as well.
        self.task.door().close(deadline);
        let task = self.task.clone();
        Box::pin(async move {
            task.end(deadline).await;
            Ok(())
        })
    }
}

impl Drop for NatsSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}
