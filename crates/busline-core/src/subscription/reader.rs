//! The task that takes records and assignment changes from the source.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::engine::{Engine, SeekOrder};
use super::lanes::Lanes;
use crate::driver::SourceEvent;
use crate::error::{Error, ErrorKind, Result};
use crate::topic::{Partition, not_owner};

/// Reads until the subscription closes or the source ends.
pub(crate) async fn read(engine: Arc<Engine>) {
    let why = read_on(&engine).await.err();
    if let Some(error) = why.as_ref().filter(|error| error.kind() != ErrorKind::Closed) {
        tracing::error!("read {}: {error}", engine.place.topic);
    }
    engine.reader_has_ended(why);
}

async fn read_on(engine: &Engine) -> Result<()> {
    while !engine.is_closing() {
        seek(engine).await;
        engine.apply_pauses();
        // Without room only changes of the assignment are taken: a loss must not wait behind a full window.
        let (records, bytes) = engine.room_to_read().unwrap_or((0, 0));
        if let Some(event) = next(engine, records, bytes).await? {
            take(engine, event);
        }
    }
    Ok(())
}

/// The source's next event; `None` if the reader is wanted elsewhere first. Nothing is lost then: the source gives it later.
async fn next(engine: &Engine, records: usize, bytes: usize) -> Result<Option<SourceEvent>> {
    let mut next = engine.source.next(records, bytes);
    let mut wanted = pin!(engine.reader.notified());
    poll_fn(|context| {
        if let Poll::Ready(event) = next.as_mut().poll(context) {
            return Poll::Ready(event.map(Some));
        }
        wanted.as_mut().poll(context).map(|()| Ok(None))
    })
    .await
}

/// Makes the seeks that were asked for. Only the reader does, because it knows that it holds nothing read before.
async fn seek(engine: &Engine) {
    for order in engine.take_seeks() {
        let sought = match engine.with_lanes(|lanes| lanes.generation(order.partition)) {
            Some(generation) => match engine.source.seek(order.partition, generation, order.offset).await {
                Ok(()) if sought(engine, &order, generation) => Ok(()),
                Ok(()) => Err(not_owner(order.partition)),
                Err(error) => Err(error),
            },
            None => Err(not_owner(order.partition)),
        };
        // Whoever asked may be gone.
        drop(order.answer.send(sought.map_err(|error: Error| error.at("seek", &engine.place.topic))));
    }
}

fn sought(engine: &Engine, order: &SeekOrder, generation: u64) -> bool {
    let seek = |lanes: &mut Lanes| lanes.seek(order.partition, generation, order.offset);
    let sought = engine.with_lanes_of(&[order.partition], seek);
    if let Some(parking) = engine.parking.as_ref().filter(|_| sought) {
        parking.seek(order.partition, order.offset);
    }
    sought
}

fn take(engine: &Engine, event: SourceEvent) {
    match event {
        SourceEvent::Records { generation, records } => engine.deliver(generation, records),
        SourceEvent::Assigned(assignments) => {
            let partitions: Vec<Partition> = assignments.iter().map(|assignment| assignment.partition).collect();
            engine.with_lanes_of(&partitions, |lanes| {
                for assignment in &assignments {
                    lanes.assign(assignment);
                    if engine.parking.is_some() {
                        lanes.await_parking(assignment.partition);
                    }
                }
            });
            if let Some(parking) = &engine.parking {
                parking.wake.notify_one();
            }
        }
        SourceEvent::Revoking(partitions) => {
            engine.with_lanes_of(&partitions, |lanes| lanes.revoke(&partitions));
            engine.tender.notify_one();
        }
        SourceEvent::Lost(partitions) => engine.lose(&partitions),
        SourceEvent::Gap { partition, from, to } => {
            engine.count(|stats| {
                stats.gaps += 1;
                stats.gap_positions += to.0.saturating_sub(from.0);
            });
            tracing::warn!("{}/{partition}: offsets {from} to {to} are missing", engine.place.topic);
        }
    }
}
