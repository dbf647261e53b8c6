//! The writing end of a topic: what it offers, and its task.

use std::sync::Arc;

use busline_core::{
    AckPositions, Batch, BoxFuture, Durability, Error, ErrorKind, Medium, Result, Sink, SinkOffer, SinkRequest,
    no_runtime, topic_not_found,
};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::admin::Admin;
use crate::config::Strategy;
use crate::dialer::Dialer;
use crate::server::Server;
use crate::topics::{StreamInfo, stream_info};

mod answer;
mod atomic;
mod backlog;
mod door;
mod ground;
mod heads;
mod key_hash;
mod pending;
mod pipelined;
mod session;
mod tail;

use door::Door;
use ground::Ground;
use pipelined::Pipelined;

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
    door: Arc<Door>,
    offer: SinkOffer,
    task: AbortHandle,
    /// Its sender lives in the task.
    ended: watch::Receiver<()>,
}

/// Opens the sink that fits the request and the server.
///
/// # Errors
/// `NotFound/Topic`; `Unsupported/Strategy`, `Unsupported/Deduplicate`; `Denied/…`, `Unavailable/Server`.
pub(crate) async fn open(
    admin: &Admin,
    dialer: &Arc<Dialer>,
    server: &Server,
    strategy: Strategy,
    request: SinkRequest,
) -> Result<Arc<dyn Sink>> {
    let name = request.topic.name.clone();
    let opened = open_on(admin, dialer, server, strategy, request).await;
    opened.map_err(|error| error.at("open a sink", name))
}

async fn open_on(
    admin: &Admin,
    dialer: &Arc<Dialer>,
    server: &Server,
    _strategy: Strategy,
    request: SinkRequest,
) -> Result<Arc<dyn Sink>> {
    if request.deduplicate.is_some() {
        return Err(Error::new(ErrorKind::Unsupported, "Deduplicate")
            .cause("nats tells no second publish of an id from a first in this version")
            .next("publish without deduplicate"));
    }
    let streams = streams(admin, &request).await?;
    let durability = durability(server, &streams);
    let ground = Arc::new(Ground::new(request.topic, admin.clone(), Arc::clone(dialer), durability));
    let link = Arc::clone(&ground).dial().await?;
    let door = Arc::new(Door::default());
    let floors = streams.iter().map(|stream| stream.state.last_seq).collect();
    let positions = AckPositions::Always;
    let task = Pipelined::new(Arc::clone(&ground), Arc::clone(&door), link, floors).run();
    let (end, ended) = watch::channel(());
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| no_runtime())?;
    let task = runtime.spawn(async move {
        task.await;
        drop(end);
    });
    let offer = SinkOffer {
        durability,
        positions,
        batches_in_flight_max: BATCHES_IN_FLIGHT_MAX,
        batch_records_max: BATCH_RECORDS_MAX,
        batch_bytes_max: BATCH_BYTES_MAX,
    };
    Ok(Arc::new(NatsSink { ground, door, offer, task: task.abort_handle(), ended }))
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

impl Sink for NatsSink {
    fn offer(&self) -> SinkOffer {
        self.offer
    }

    fn publish(&self, batch: Batch) {
        if let Some(refused) = self.door.push(batch) {
            refused.settle_all(&self.ground.closed());
        }
    }

    fn trouble(&self) -> Option<Error> {
        self.door.trouble()
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.door.close(deadline);
        let mut ended = self.ended.clone();
        Box::pin(async move {
            // The task looks at its clock at least once a second; its end drops the sender.
            drop(ended.changed().await);
            Ok(())
        })
    }
}

impl Drop for NatsSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}
