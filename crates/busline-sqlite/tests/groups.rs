//! Groups over several connections to one file, each a member as another process would be.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use busline_core::{Bus, Delivery, Envelope};
use busline_sqlite::{SqliteConfig, SqliteDriver};
use tokio::sync::Notify;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const CLOSE: Duration = Duration::from_secs(5);

async fn open(path: &Path) -> Result<Bus, busline_core::Error> {
    Ok(Bus::new(Arc::new(SqliteDriver::open(SqliteConfig::new(path)).await?)))
}

/// First sightings only: what was finished behind something unfinished comes again after a hand-over (C5).
#[derive(Default)]
struct Seen {
    versions: Mutex<HashMap<String, Vec<u64>>>,
    more: Notify,
}

impl Seen {
    fn note(&self, delivery: &Delivery) {
        let mut versions = self.versions.lock().expect("no panic");
        let seen = versions.entry(delivery.envelope.aggregate_id.clone()).or_default();
        if !seen.contains(&delivery.envelope.event_version) {
            seen.push(delivery.envelope.event_version);
            self.more.notify_one();
        }
    }

    fn count(&self) -> usize {
        self.versions.lock().expect("no panic").values().map(Vec::len).sum()
    }

    async fn wait_for(&self, count: usize) {
        while self.count() < count {
            let more = tokio::time::timeout(Duration::from_secs(20), self.more.notified()).await;
            assert!(more.is_ok(), "deliveries stopped at {} of {count}", self.count());
        }
    }
}

fn handler(
    seen: &Arc<Seen>,
) -> impl Fn(Delivery) -> std::future::Ready<Result<(), busline_core::HandlerError>> + Clone + use<> {
    let seen = Arc::clone(seen);
    move |delivery: Delivery| {
        seen.note(&delivery);
        std::future::ready(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_share_a_topic_and_hand_it_over_in_order() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bus.db");
    let (first, second, third) = (open(&path).await?, open(&path).await?, open(&path).await?);
    let seen = Arc::new(Seen::default());
    let keys: Vec<String> = (0..60).map(|number| format!("key-{number}")).collect();
    let publisher = first.publisher("orders").open().await?;
    for version in 1..=50 {
        for key in &keys {
            drop(publisher.publish(Envelope::new(key, "Happened", version)).await?);
        }
    }
    publisher.flush().await;
    let one = first.subscribe("orders", "billing").handle(handler(&seen)).await?;
    seen.wait_for(60 * 20).await;
    let two = second.subscribe("orders", "billing").handle(handler(&seen)).await?;
    let three = third.subscribe("orders", "billing").handle(handler(&seen)).await?;
    let start = Instant::now();
    loop {
        let mut shares = [one.partitions().len(), two.partitions().len(), three.partitions().len()];
        shares.sort_unstable();
        if shares == [1, 1, 2] {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(15), "shares stay at {shares:?}");
        tokio::task::yield_now().await;
    }
    two.close(CLOSE).await?;
    for version in 51..=60 {
        for key in &keys {
            drop(publisher.publish(Envelope::new(key, "Happened", version)).await?);
        }
    }
    seen.wait_for(60 * 60).await;
    let versions = seen.versions.lock().unwrap().clone();
    for key in &keys {
        assert_eq!(versions[key], (1..=60).collect::<Vec<u64>>(), "key {key}");
    }
    for bus in [first, second, third] {
        bus.close(CLOSE).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_bus_is_woken_at_once() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bus.db");
    let (publishing, reading) = (open(&path).await?, open(&path).await?);
    let seen = Arc::new(Seen::default());
    let publisher = publishing.publisher("orders").open().await?;
    let subscription = reading.subscribe("orders", "billing").handle(handler(&seen)).await?;
    while subscription.partitions().len() < 4 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    for version in 1..=50 {
        publisher.publish_sync(Envelope::new("key", "Happened", version)).await?;
        seen.wait_for(version as usize).await;
    }
    // A member that looked only at its beats would need about half a second for each.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?} for 50 events", start.elapsed());
    publishing.close(CLOSE).await?;
    reading.close(CLOSE).await?;
    Ok(())
}
