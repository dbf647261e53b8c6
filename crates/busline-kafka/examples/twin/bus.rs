//! Publishing and consuming by the bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use busline_core::{Bus, Envelope, Offset, Partition, Payload, ReadRequest, Record, Result};
use tokio::sync::Notify;

use crate::run::{Run, Watch};

const KEYS: usize = 64;
const BODY: [u8; 256] = [b'x'; 256];
const SOON: Duration = Duration::from_secs(10);

/// The envelopes are made before; they are encoded, sent and acked while time is taken.
pub(crate) async fn publish(bus: &Bus, topic: &str, events: usize) -> Result<Run> {
    let publisher = bus.publisher(topic).deadline(Duration::from_secs(60)).open().await?;
    let envelopes: Vec<Envelope> = (0..events).map(envelope).collect::<Result<_>>()?;
    let watch = Watch::start();
    for envelope in envelopes {
        drop(publisher.publish(envelope).await?);
    }
    publisher.flush().await;
    let run = watch.stop(events);
    let closed = publisher.close(SOON).await;
    assert_eq!(closed.stats.acked, events as u64, "{closed:?}");
    Ok(run)
}

fn envelope(number: usize) -> Result<Envelope> {
    let version = (number / KEYS) as u64 + 1;
    let payload = Payload::bytes_of("application/octet-stream", &BODY[..])?;
    Ok(Envelope::new(format!("key-{}", number % KEYS), "Happened", version).with_payload(payload))
}

/// Some of what was stored, from all of these partitions.
pub(crate) async fn stored(bus: &Bus, topic: &str, partitions: impl Iterator<Item = Partition>) -> Result<Vec<Record>> {
    let topic = topic.parse()?;
    let mut found = Vec::new();
    for partition in partitions {
        let request =
            ReadRequest { partition, from: Offset(0), to: Offset(u64::MAX), records_max: 1_000, bytes_max: 1 << 22 };
        found.extend(bus.driver().read(&topic, request).await?);
    }
    Ok(found)
}

/// From the first to the last handler.
pub(crate) async fn consume(bus: &Bus, topic: &str, events: usize) -> Result<Run> {
    let (handled, first, last) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (counts, begun, done) = (Arc::clone(&handled), Arc::clone(&first), Arc::clone(&last));
    let handler = move |_| {
        match counts.fetch_add(1, Ordering::Relaxed) + 1 {
            1 => begun.notify_one(),
            count if count == events => done.notify_one(),
            _ => {}
        }
        std::future::ready(Ok(()))
    };
    let subscription = bus.subscribe(topic, "bus").concurrency(64).handle(handler).await?;
    first.notified().await;
    let (watch, before) = (Watch::start(), handled.load(Ordering::Relaxed));
    last.notified().await;
    let run = watch.stop(events - before);
    subscription.close(SOON).await?;
    Ok(run)
}
