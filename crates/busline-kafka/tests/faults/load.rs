//! Publishes without pause and remembers every outcome.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use busline_conformance::FaultRun;
use busline_core::{Bus, Envelope, Error, Publisher, Receipt};
use busline_kafka::{KafkaConfig, KafkaDriver};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::plain;

pub(crate) const PARTITIONS: u32 = 4;
const KEYS: usize = 16;

/// Longest time without an ack that is waited for one.
const STANDSTILL_MAX: Duration = Duration::from_secs(60);

/// What became of one envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acked,
    Failed,
    Indeterminate,
}

/// The outcomes of each key, by version from 1.
pub(crate) type Outcomes = HashMap<String, Vec<Outcome>>;

/// A publisher at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    pub(crate) acked: Arc<AtomicU64>,
    /// The first error of a record.
    failure: Arc<OnceLock<Error>>,
    work: JoinHandle<Outcomes>,
}

pub(crate) async fn connect(bootstrap: &str) -> Bus {
    let driver = KafkaDriver::open(KafkaConfig::new(bootstrap.split(','))).await.expect("the broker answers");
    Bus::new(Arc::new(driver))
}

impl Load {
    /// Publishes to all keys in turn until it is stopped.
    pub(crate) fn start(publisher: Publisher) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Seen::default());
        let (acked, failure) = (Arc::clone(&seen.acked), Arc::clone(&seen.failure));
        let work = Handle::current().spawn(publish(publisher, Arc::clone(&stop), seen));
        Self { stop, acked, failure, work }
    }

    /// Waits until so many more were acked.
    pub(crate) async fn more(&self, count: u64) {
        let acked = || self.acked.load(Ordering::Relaxed);
        let (wanted, mut last, mut moved) = (acked() + count, acked(), Instant::now());
        while acked() < wanted {
            if acked() > last {
                (last, moved) = (acked(), Instant::now());
            }
            assert!(moved.elapsed() < STANDSTILL_MAX, "nothing more is acked; first failure: {:?}", self.failure.get());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Publishes nothing more.
    pub(crate) fn stop(self) -> Self {
        self.stop.store(true, Ordering::Relaxed);
        self
    }

    /// Stops, and waits for every outcome.
    pub(crate) async fn end(mut self) -> Outcomes {
        self.stop.store(true, Ordering::Relaxed);
        (&mut self.work).await.expect("no panic")
    }
}

impl Drop for Load {
    /// A test that fails ends, and does not wait for what publishes without end.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What is seen of a load while it runs.
#[derive(Default)]
struct Seen {
    acked: Arc<AtomicU64>,
    failure: Arc<OnceLock<Error>>,
}

async fn publish(publisher: Publisher, stop: Arc<AtomicBool>, seen: Seen) -> Outcomes {
    let mut receipts: Vec<(usize, Receipt)> = Vec::new();
    let mut version = 0;
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); KEYS];
    while !stop.load(Ordering::Relaxed) {
        version += 1;
        for number in 0..KEYS {
            let envelope = Envelope::new(format!("key-{number}"), "Happened", version);
            let Ok(receipt) = publisher.publish(envelope).await else { break };
            receipts.push((number, receipt));
        }
        // What is far behind has mostly been answered, so that this waits for the slow ones only.
        if version % 64 == 0 {
            for receipt in receipts.drain(..receipts.len() / 2) {
                settle(receipt, &mut outcomes, &seen).await;
            }
        }
    }
    for receipt in receipts {
        settle(receipt, &mut outcomes, &seen).await;
    }
    (0..KEYS).map(|number| (format!("key-{number}"), outcomes[number].clone())).collect()
}

async fn settle((key, receipt): (usize, Receipt), outcomes: &mut [Vec<Outcome>], seen: &Seen) {
    let outcome = match receipt.await {
        Ok(_) => {
            seen.acked.fetch_add(1, Ordering::Relaxed);
            Outcome::Acked
        }
        Err(error) => {
            let outcome = if error.is_definite() { Outcome::Failed } else { Outcome::Indeterminate };
            seen.failure.get_or_init(|| error);
            outcome
        }
    };
    outcomes[key].push(outcome);
}

/// Reads the topic with a plain client: acked is stored once, failed is not, all in order.
pub(crate) fn judge(bootstrap: &str, topic: &str, outcomes: &Outcomes) {
    let stored = plain::read(bootstrap, topic, PARTITIONS);
    for (key, outcomes) in outcomes {
        let versions = stored.get(key).map(Vec::as_slice).unwrap_or_default();
        let astray = versions.windows(2).find(|two| two[0] >= two[1]);
        assert_eq!(astray, None, "{key}: doubled or out of order");
        for (place, outcome) in outcomes.iter().enumerate() {
            let is_stored = versions.binary_search(&(place + 1)).is_ok();
            match outcome {
                Outcome::Acked => assert!(is_stored, "{key}: version {} was acked and is lost", place + 1),
                Outcome::Failed => assert!(!is_stored, "{key}: version {} failed and is stored", place + 1),
                Outcome::Indeterminate => {}
            }
        }
    }
}

/// Tells of a load that was judged: the seed if anything was left to chance, and what was handled again where a group read
/// along.
pub(crate) fn tell(fault: &str, times: u32, seed: Option<u64>, outcomes: &Outcomes, handled_again: Option<u64>) {
    let count = |kind| outcomes.values().flatten().filter(|outcome| **outcome == kind).count() as u64;
    let run = FaultRun {
        fault: fault.into(),
        times: times.into(),
        seed,
        acked: count(Outcome::Acked),
        failed: count(Outcome::Failed),
        indeterminate: count(Outcome::Indeterminate),
        handled_again,
    };
    run.tell();
}

/// Whether every envelope was acked.
pub(crate) fn all_acked(outcomes: &Outcomes) -> bool {
    outcomes.values().flatten().all(|outcome| *outcome == Outcome::Acked)
}
