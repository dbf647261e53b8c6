//! A group that reads all the time, and what it handled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use busline_core::{Bus, Delivery, Error, Subscription};

use crate::load::Outcomes;

/// Longest time without a new event that is waited for one.
const STANDSTILL_MAX: Duration = Duration::from_secs(90);

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

    /// How many different events were handled.
    fn distinct(&self) -> u64 {
        self.highest.values().sum()
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

    /// How many different events were handled until now.
    pub(crate) fn distinct(&self) -> u64 {
        self.handled.lock().expect("no panic").distinct()
    }

    /// Why nothing comes, as the subscription says it.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.subscription.trouble()
    }

    /// Waits until more than so many different events were handled.
    pub(crate) async fn goes_beyond(&self, distinct: u64) {
        let start = Instant::now();
        while self.distinct() <= distinct {
            assert!(start.elapsed() < STANDSTILL_MAX, "nothing more is handled");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until everything is handled, each key in order. Gives how many were handled more than once.
    ///
    /// All outcomes must be acks.
    pub(crate) async fn judge(self, outcomes: &Outcomes) -> u64 {
        let (mut last, mut moved) = (self.distinct(), Instant::now());
        while let Some(missing) = self.missing(outcomes) {
            if self.distinct() > last {
                (last, moved) = (self.distinct(), Instant::now());
            }
            assert!(moved.elapsed() < STANDSTILL_MAX, "not handled: {missing}");
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
