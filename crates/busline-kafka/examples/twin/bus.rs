//! Publishing and consuming by the bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use busline_core::{Bus, Envelope, Result};
use tokio::sync::Notify;

use crate::run::{Broker, Run, Watch};

const SOON: Duration = Duration::from_secs(10);

/// The envelopes are made before; they are encoded, sent and acked while time is taken.
pub(crate) async fn publish(bus: &Bus, broker: Broker, topic: &str, envelopes: Vec<Envelope>) -> Result<Run> {
    let publisher = bus.publisher(topic).deadline(Duration::from_secs(60)).open().await?;
    let events = envelopes.len();
    let watch = Watch::start(broker);
    for envelope in envelopes {
        drop(publisher.publish(envelope).await?);
    }
    publisher.flush().await;
    let run = watch.stop(events);
    let closed = publisher.close(SOON).await;
    assert_eq!(closed.stats.acked, events as u64, "{closed:?}");
    Ok(run)
}

/// One at a time, each awaited.
pub(crate) async fn publish_sync(bus: &Bus, broker: Broker, topic: &str, envelopes: Vec<Envelope>) -> Result<Run> {
    let publisher = bus.publisher(topic).open().await?;
    let mut watch = Watch::start(broker);
    let events = envelopes.len();
    for envelope in envelopes {
        let sent = Instant::now();
        publisher.publish_sync(envelope).await?;
        watch.took(sent.elapsed());
    }
    let run = watch.stop(events);
    publisher.close(SOON).await;
    Ok(run)
}

/// From the first to the last handler.
pub(crate) async fn consume(bus: &Bus, broker: Broker, topic: &str, events: usize) -> Result<Run> {
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
    let (watch, before) = (Watch::start(broker), handled.load(Ordering::Relaxed));
    last.notified().await;
    let run = watch.stop(events - before);
    subscription.close(SOON).await?;
    Ok(run)
}
