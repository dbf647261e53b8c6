//! The bus, as its users see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use busline_core::{Bus, ParkingPolicy, SubscriptionSettings, TopicName, TopicSpec};
use busline_nats::{NatsConfig, NatsDriver};
use tokio::sync::Notify;

use crate::lap::{Lap, Watch};
use crate::stage::{Failed, Stage, percentile};

const CLOSE: Duration = Duration::from_secs(10);

pub(crate) async fn bus(stage: &Stage, strategy: &str) -> Result<Bus, Failed> {
    let config = NatsConfig::from_url(&format!("{}?strategy={strategy}", stage.server.url()))?;
    Ok(Bus::new(Arc::new(NatsDriver::open(config).await?)))
}

/// Publishes all records to a topic made for it, and waits for their outcomes.
pub(crate) async fn publish(stage: &Stage, strategy: &str, topic: &str, spec: &TopicSpec) -> Result<Lap, Failed> {
    let bus = bus(stage, strategy).await?;
    create(stage, topic, spec).await?;
    let publisher = bus.publisher(topic).open().await?;
    let watch = Watch::start(&stage.server);
    for number in 0..stage.records {
        drop(publisher.publish(stage.envelope(number)?).await?);
    }
    publisher.flush().await;
    let lap = watch.end(stage.records);
    let stats = publisher.stats();
    bus.close(CLOSE).await?;
    if stats.acked == stage.records { Ok(lap) } else { Err(format!("not all acked: {stats:?}").into()) }
}

/// One `publish_sync` after the other: the median in microseconds.
pub(crate) async fn publish_sync(stage: &Stage, strategy: &str, topic: &str) -> Result<Lap, Failed> {
    let bus = bus(stage, strategy).await?;
    create(stage, topic, &one_partition()).await?;
    let publisher = bus.publisher(topic).open().await?;
    let mut took = Vec::new();
    let watch = Watch::start(&stage.server);
    for number in 0..stage.records {
        let called = Instant::now();
        publisher.publish_sync(stage.envelope(number)?).await?;
        took.push(called.elapsed());
    }
    let lap = Lap { figure: percentile(&mut took, 50), ..watch.end(stage.records) };
    bus.close(CLOSE).await?;
    Ok(lap)
}

/// Reads all records of a topic by a group whose handler counts.
pub(crate) async fn consume(stage: &Stage, topic: &str, group: &str) -> Result<Lap, Failed> {
    let bus = bus(stage, "best").await?;
    let (seen, done) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let (count, end, records) = (Arc::clone(&seen), Arc::clone(&done), stage.records);
    let settings = SubscriptionSettings { parking: ParkingPolicy::Off, ..SubscriptionSettings::default() };
    let watch = Watch::start(&stage.server);
    let handler = move |_| {
        if count.fetch_add(1, Ordering::AcqRel) + 1 == records {
            end.notify_one();
        }
        std::future::ready(Ok(()))
    };
    let subscription = bus.subscribe(topic, group).settings(settings).handle(handler).await?;
    done.notified().await;
    let lap = watch.end(stage.records);
    subscription.close(CLOSE).await?;
    bus.close(CLOSE).await?;
    Ok(lap)
}

/// Makes a topic, of the bus or of a twin: both have streams with the same settings.
pub(crate) async fn create(stage: &Stage, topic: &str, spec: &TopicSpec) -> Result<(), Failed> {
    let bus = bus(stage, "best").await?;
    bus.driver().create_topic(&TopicName::new(topic)?, spec).await?;
    bus.close(CLOSE).await?;
    Ok(())
}

pub(crate) async fn delete(stage: &Stage, topic: &str) -> Result<(), Failed> {
    let bus = bus(stage, "best").await?;
    bus.driver().delete_topic(&TopicName::new(topic)?).await?;
    bus.close(CLOSE).await?;
    Ok(())
}

pub(crate) fn one_partition() -> TopicSpec {
    TopicSpec { partitions: 1, ..TopicSpec::default() }
}
