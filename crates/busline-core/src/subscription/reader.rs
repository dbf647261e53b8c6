//! The task that takes records and assignment changes from the source.

use std::sync::Arc;

use super::engine::Engine;
use crate::driver::SourceEvent;
use crate::error::ErrorKind;

/// Most records asked of the source at once, so that workers begin before a long piece is routed.
const READ_RECORDS_MAX: usize = 512;

/// Reads until the subscription closes or the source ends.
pub(crate) async fn read(engine: Arc<Engine>) {
    while !engine.is_closing() {
        let Some((records, bytes)) = engine.room_to_read() else {
            engine.room.notified().await;
            continue;
        };
        match engine.source.next(records.min(READ_RECORDS_MAX), bytes).await {
            Ok(event) => take(&engine, event),
            Err(error) if error.kind() == ErrorKind::Closed => break,
            Err(error) => {
                tracing::error!("read {}: {error}", engine.place.topic);
                break;
            }
        }
    }
}

fn take(engine: &Engine, event: SourceEvent) {
    match event {
        SourceEvent::Records { generation, records } => engine.deliver(generation, records),
        SourceEvent::Assigned(assignments) => {
            engine.with_lanes(|lanes| assignments.iter().for_each(|assignment| lanes.assign(assignment)));
        }
        SourceEvent::Revoking(partitions) => {
            engine.with_lanes(|lanes| lanes.revoke(&partitions));
            engine.stir.notify_one();
        }
        SourceEvent::Lost(partitions) => engine.lose(&partitions),
        SourceEvent::Gap { partition, from, to } => {
            engine.count(|stats| stats.gaps += 1);
            tracing::warn!("{}/{partition}: offsets {from} to {to} are missing", engine.place.topic);
        }
    }
}
