//! A group that reads all the time, and what it handled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use busline_core::{Bus, Delivery, Subscription};

use crate::load::Outcomes;

/// What a group has handled.
#[derive(Default)]
struct Handled {
    /// The highest version of each key.
    highest: HashMap<String, u64>,
    count: u64,
    /// The first event that came before one that it follows.
    early: Option<String>,
}

pub(crate) struct Group {
    subscription: Subscription,
    handled: Arc<Mutex<Handled>>,
}

impl Handled {
    fn add(&mut self, key: String, version: u64) {
        self.count += 1;
        let highest = self.highest.entry(key.clone()).or_default();
        // What comes again came before; what is new is the next one.
        if version > *highest + 1 && self.early.is_none() {
            self.early = Some(format!("{key}: {version} came after {highest}"));
        }
        *highest = version.max(*highest);
    }

    /// A key with acked events that were not handled; all of its events were acked.
    fn missing(&self, outcomes: &Outcomes) -> Option<String> {
        outcomes.iter().find_map(|(key, outcomes)| {
            let highest = self.highest.get(key).copied().unwrap_or_default();
            (highest < outcomes.len() as u64).then(|| format!("{key}: {highest} of {}", outcomes.len()))
        })
    }
}

impl Group {
    pub(crate) async fn join(bus: &Bus, topic: &str) -> Self {
        let handled = Arc::<Mutex<Handled>>::default();
        let seen = Arc::clone(&handled);
        let handler = move |delivery: Delivery| {
            seen.lock().expect("no panic").add(delivery.envelope.aggregate_id, delivery.envelope.event_version);
            std::future::ready(Ok(()))
        };
        let subscription = bus.subscribe(topic, "readers").handle(handler).await.expect("subscribes");
        Self { subscription, handled }
    }

    /// Waits until everything is handled, each key in order. Gives how many were handled more than once.
    ///
    /// All outcomes must be acks.
    pub(crate) async fn judge(self, outcomes: &Outcomes) -> u64 {
        let start = Instant::now();
        while let Some(missing) = self.missing(outcomes) {
            assert!(start.elapsed() < Duration::from_secs(90), "not handled: {missing}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.subscription.close(Duration::from_secs(30)).await.expect("closes");
        let handled = self.handled.lock().expect("no panic");
        assert_eq!(handled.early, None, "out of order");
        handled.count - outcomes.values().map(|outcomes| outcomes.len() as u64).sum::<u64>()
    }

    fn missing(&self, outcomes: &Outcomes) -> Option<String> {
        self.handled.lock().expect("no panic").missing(outcomes)
    }
}
