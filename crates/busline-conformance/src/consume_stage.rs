//! Handlers that follow a script, and a log of what they saw.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use busline_core::{
    Delivery, Handler, HandlerError, Offset, Partition, Retry, Subscription, SubscriptionBuilder, TopicSpec,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::envelopes::envelope;
use crate::stage::{SOON, Stage, within};

pub(crate) const GROUP: &str = "readers";

/// One run of a handler, as it saw itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) key: String,
    pub(crate) version: u64,
    pub(crate) attempt: u32,
    pub(crate) partition: Partition,
    pub(crate) offset: Offset,
    pub(crate) at: Instant,
    /// Whether it handled the event.
    pub(crate) is_ok: bool,
}

/// What handlers saw: beginnings and ends, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Seen>);

struct Seen {
    calls: Mutex<Calls>,
    count: watch::Sender<(usize, usize)>,
}

#[derive(Default)]
struct Calls {
    starts: Vec<Call>,
    ends: Vec<Call>,
    running: usize,
    running_max: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self { calls: Mutex::default(), count: watch::channel((0, 0)).0 }
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Calls)) {
        let mut calls = self.lock();
        change(&mut calls);
        let count = (calls.starts.len(), calls.ends.len());
        drop(calls);
        self.0.count.send_replace(count);
    }

    pub(crate) fn start(&self, delivery: &Delivery) {
        self.note(|calls| {
            calls.starts.push(call(delivery, false));
            calls.running += 1;
            calls.running_max = calls.running_max.max(calls.running);
        });
    }

    pub(crate) fn end(&self, delivery: &Delivery, is_ok: bool) {
        self.note(|calls| {
            calls.ends.push(call(delivery, is_ok));
            calls.running -= 1;
        });
    }

    pub(crate) fn starts(&self) -> Vec<Call> {
        self.lock().starts.clone()
    }

    pub(crate) fn ends(&self) -> Vec<Call> {
        self.lock().ends.clone()
    }

    /// Most handlers that ran at once.
    pub(crate) fn running_max(&self) -> usize {
        self.lock().running_max
    }

    /// Version, attempt and success of each call of a key.
    pub(crate) fn of(&self, key: &str) -> Vec<(u64, u32, bool)> {
        let ends = self.ends();
        ends.iter().filter(|call| call.key == key).map(|call| (call.version, call.attempt, call.is_ok)).collect()
    }

    /// Versions of a key that were handled.
    pub(crate) fn handled(&self, key: &str) -> Vec<u64> {
        self.of(key).into_iter().filter(|(.., is_ok)| *is_ok).map(|(version, ..)| version).collect()
    }

    pub(crate) async fn started(&self, count: usize) {
        let mut seen = self.0.count.subscribe();
        let reached = seen.wait_for(|(starts, _)| *starts >= count);
        let what = format!("the start of {count} handlers (there are {})", self.lock().starts.len());
        within(&what, reached).await.expect("the sender lives");
    }

    pub(crate) async fn ended(&self, count: usize) {
        let mut seen = self.0.count.subscribe();
        let reached = seen.wait_for(|(_, ends)| *ends >= count);
        within(&format!("the end of {count} handlers"), reached).await.expect("the sender lives");
    }
}

fn call(delivery: &Delivery, is_ok: bool) -> Call {
    Call {
        key: delivery.envelope.aggregate_id.clone(),
        version: delivery.envelope.event_version,
        attempt: delivery.attempt,
        partition: delivery.partition,
        offset: delivery.offset,
        at: Instant::now(),
        is_ok,
    }
}

/// What a handler does with one delivery.
#[derive(Clone)]
pub(crate) enum Step {
    Ok,
    Fail,
    Skip,
    Park,
    Panic,
    /// Handles it once the gate is open.
    At(Gate),
    /// Takes this long, and handles it.
    Take(Duration),
    Never,
}

/// A handler that follows a script.
pub(crate) fn scripted<S>(log: &Log, script: S) -> impl Handler + use<S>
where
    S: Fn(&Delivery) -> Step + Send + Sync + 'static,
{
    let (log, script) = (log.clone(), Arc::new(script));
    move |delivery: Delivery| {
        let (log, script) = (log.clone(), Arc::clone(&script));
        async move { play(&log, script(&delivery), &delivery).await }
    }
}

/// A handler that always succeeds.
pub(crate) fn easy(log: &Log) -> impl Handler + use<> {
    scripted(log, |_| Step::Ok)
}

/// Ends a call in the log also if its handler is dropped.
struct Ending<'a> {
    log: &'a Log,
    delivery: &'a Delivery,
    is_ok: bool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.log.end(self.delivery, self.is_ok);
    }
}

async fn play(log: &Log, step: Step, delivery: &Delivery) -> Result<(), HandlerError> {
    log.start(delivery);
    let mut ending = Ending { log, delivery, is_ok: false };
    match step {
        Step::Ok => {}
        Step::Fail => return Err(HandlerError::from("not yet")),
        Step::Skip => return Err(HandlerError::skip("not wanted")),
        Step::Park => return Err(HandlerError::park("hopeless")),
        // Without the hook, which would print each of them.
        Step::Panic => std::panic::resume_unwind(Box::new("a defect")),
        Step::At(gate) => gate.passed().await,
        Step::Take(time) => tokio::time::sleep(time).await,
        Step::Never => std::future::pending().await,
    }
    ending.is_ok = true;
    Ok(())
}

/// A gate on which handlers wait.
#[derive(Clone)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub(crate) fn shut() -> Self {
        Self(Arc::new(watch::channel(false).0))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    async fn passed(&self) {
        self.0.subscribe().wait_for(|open| *open).await.expect("the gate is there");
    }
}

/// A retry whose pauses hold no test up.
pub(crate) fn quick_retry(attempts_max: u32) -> Retry {
    Retry::exponential(attempts_max).backoff(Duration::from_millis(1), Duration::from_millis(2))
}

impl Stage {
    /// A subscription's builder on the topic.
    pub(crate) fn subscribe(&self) -> SubscriptionBuilder {
        self.bus.subscribe(&self.topic, GROUP)
    }

    /// A topic of one partition, so that the test knows which offsets its events have.
    pub(crate) async fn one_partition(&self) {
        let spec = TopicSpec { partitions: 1, ..TopicSpec::default() };
        self.driver().create_topic(&self.name(), &spec).await.expect("a new topic");
    }

    /// Publishes versions 1 to `versions` of each key, interleaved, and waits until all are acked.
    pub(crate) async fn publish(&self, keys: &[&str], versions: u64) {
        self.publish_from(keys, 1, versions).await;
    }

    pub(crate) async fn publish_from(&self, keys: &[&str], first: u64, last: u64) {
        let publisher = self.publisher().await;
        let mut receipts = Vec::new();
        for version in first..=last {
            for key in keys {
                receipts.push(publisher.publish(envelope(key, version)).await.expect("accepted"));
            }
        }
        for receipt in receipts {
            within("an ack", receipt).await.expect("the backend works");
        }
    }

    pub(crate) async fn committed(&self) -> Vec<Option<Offset>> {
        let group = GROUP.parse().expect("a legal name");
        self.driver().committed(&group, &self.name()).await.expect("the topic exists")
    }

    /// The offsets of what a partition holds, and its end.
    pub(crate) async fn offsets(&self, partition: Partition) -> Vec<Offset> {
        let stored = self.stored().await;
        let records = stored.records().iter().filter(|record| record.partition == partition);
        let mut offsets: Vec<Offset> = records.map(|record| record.offset).collect();
        offsets.push(self.driver().bounds(&self.name(), partition).await.expect("the partition exists").end);
        offsets
    }

    /// The offset of the record at this place of a partition, counted from 0. Backends number as they like.
    pub(crate) async fn offset(&self, partition: Partition, place: usize) -> Offset {
        self.offsets(partition).await[place]
    }

    /// Waits until the group has finished all that is stored now.
    pub(crate) async fn drained(&self) {
        let (group, topic) = (GROUP.parse().expect("a legal name"), self.name());
        let end = Instant::now() + SOON * 3;
        loop {
            let lag = self.driver().lag(&group, &topic).await.expect("the topic exists");
            if lag.iter().all(|lag| lag.records == 0 && lag.committed.is_some()) {
                return;
            }
            assert!(Instant::now() < end, "progress stays at {lag:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Waits until the subscription holds so many partitions.
pub(crate) async fn holds(subscription: &Subscription, partitions: usize) {
    until("the assignment", || subscription.partitions().len() == partitions).await;
}

/// Waits for something that nothing announces.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Keys that all fall into this partition of four.
pub(crate) fn keys_of(partition: Partition, count: usize) -> Vec<String> {
    let all = (0..).map(|number| format!("key-{number}"));
    all.filter(|key| busline_core::partition_of(key.as_bytes(), 4) == partition).take(count).collect()
}
