//! The subscription as its user holds it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::engine::{Engine, SubscriptionStats};
use super::tender;
use super::watchdog::Watchdog;
use crate::error::{Result, escaped};
use crate::topic::{Offset, Partition, TopicName};

/// One member of a group, at work on a topic.
///
/// Cloning is a counter. The end of the last handle breaks its handlers off; what was not committed comes again to
/// another member.
#[derive(Clone)]
pub struct Subscription {
    inner: Arc<SubscriptionCore>,
    _handles: Arc<LastHandle>,
}

/// What the bus holds of a subscription.
pub(crate) struct SubscriptionCore {
    engine: Arc<Engine>,
    running: Mutex<Option<Running>>,
    closed: OnceCell<Left>,
}

struct Running {
    _watchdog: Watchdog,
    tasks: Vec<JoinHandle<()>>,
}

/// The end of the last handle closes the subscription, on its runtime if that still runs.
struct LastHandle {
    core: Arc<SubscriptionCore>,
    runtime: Handle,
}

/// Time that a subscription has to end whose handles were dropped.
const DROPPED_CLOSE: Duration = Duration::from_secs(1);

impl Drop for LastHandle {
    fn drop(&mut self) {
        if self.core.closed.initialized() {
            return;
        }
        self.core.engine.stop_starting();
        self.core.engine.cancel_running();
        let core = Arc::clone(&self.core);
        // The bus waits for the same close, so this task does not outlive it.
        self.runtime.spawn(async move { core.close(DROPPED_CLOSE).await });
    }
}

/// How a subscription ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Counts since it was opened.
    pub stats: SubscriptionStats,
    /// What could not be ended by the deadline, by name; its events come again elsewhere.
    pub left: Vec<String>,
}

/// A record that holds its partition back, and why. `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The topic.
    pub topic: TopicName,
    /// The partition whose progress stops here.
    pub partition: Partition,
    /// The record's place there, as far as it is known.
    pub offset: Option<Offset>,
    /// The key that waits; `None` if the record cannot be decoded, since then the whole partition waits.
    pub key: Option<String>,
    /// Why, in words.
    pub why: &'static str,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)?;
        if let Some(offset) = self.offset {
            write!(f, "/{offset}")?;
        }
        if let Some(key) = &self.key {
            write!(f, " key {}", escaped(key))?;
        }
        write!(f, ": {}", self.why)
    }
}

impl Subscription {
    pub(crate) fn new(engine: Arc<Engine>, watchdog: Watchdog, tasks: Vec<JoinHandle<()>>, runtime: Handle) -> Self {
        let running = Mutex::new(Some(Running { _watchdog: watchdog, tasks }));
        let inner = Arc::new(SubscriptionCore { engine, running, closed: OnceCell::new() });
        let handles = Arc::new(LastHandle { core: Arc::clone(&inner), runtime });
        Self { inner, _handles: handles }
    }

    pub(crate) fn shared(&self) -> Arc<SubscriptionCore> {
        Arc::clone(&self.inner)
    }

    /// Counts since it was opened.
    pub fn stats(&self) -> SubscriptionStats {
        self.inner.engine.stats()
    }

    /// What holds partitions back: keys whose attempts are used up, records that cannot be decoded.
    pub fn blocked(&self) -> Vec<Blocked> {
        let topic = &self.inner.engine.place.topic;
        let named = |super::lanes::Blocked { partition, offset, key, why }| Blocked {
            topic: topic.clone(),
            partition,
            offset,
            key: key.map(|key| String::from_utf8_lossy(&key).into_owned()),
            why,
        };
        self.inner.engine.blocked().into_iter().map(named).collect()
    }

    /// The partitions that this member holds at the moment.
    pub fn partitions(&self) -> Vec<Partition> {
        self.inner.engine.with_lanes(|lanes| lanes.partitions())
    }

    /// Starts no further handler for these partitions, and keeps them.
    pub fn pause(&self, partitions: &[Partition]) {
        let held = self.inner.engine.with_lanes(|lanes| lanes.pause(partitions));
        self.inner.engine.source.pause(&held);
    }

    /// Lets paused partitions go on.
    pub fn resume(&self, partitions: &[Partition]) {
        let held = self.inner.engine.with_lanes(|lanes| lanes.resume(partitions));
        self.inner.engine.source.resume(&held);
        self.inner.engine.room.notify_one();
    }

    /// Goes on at this offset in a partition that this member holds.
    ///
    /// # Errors
    /// `Fenced/NotOwner` if the member does not hold it.
    pub async fn seek(&self, partition: Partition, offset: Offset) -> Result<()> {
        let engine = &self.inner.engine;
        let generation = engine.with_lanes(|lanes| lanes.generation(partition)).unwrap_or(0);
        engine.source.seek(partition, generation, offset).await
    }

    /// Stops fetching, lets running handlers end, commits, and leaves the group.
    ///
    /// Returns by the deadline; handlers that have not ended by then are broken off, and their events come again to
    /// another member. Idempotent: every call gives the result of the first.
    ///
    /// # Source
    /// Promise C13.
    pub async fn close(&self, deadline: Duration) -> Left {
        self.inner.close(deadline).await
    }
}

impl SubscriptionCore {
    pub(crate) async fn close(&self, deadline: Duration) -> Left {
        let start = Instant::now();
        self.closed.get_or_init(|| self.shut_down(start, deadline)).await.clone()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_none_or(|running| running.tasks.iter().all(JoinHandle::is_finished))
    }

    async fn shut_down(&self, start: Instant, deadline: Duration) -> Left {
        let engine = &self.engine;
        engine.stop_starting();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut left = Vec::new();
        if let Some(mut running) = running {
            // Reader and tender first: the reader may wait for records that never come.
            for task in running.tasks.drain(..2) {
                task.abort();
                drop(task.await);
            }
            if timeout_at(start + deadline.mul_f32(0.9), join_all(&mut running.tasks)).await.is_err() {
                engine.cancel_running();
                let grace = start + deadline.mul_f32(0.95);
                if timeout_at(grace, join_all(&mut running.tasks)).await.is_err() {
                    left.push(format!("handlers of {}", engine.place.topic));
                    running.tasks.iter().for_each(JoinHandle::abort);
                }
            }
        }
        let end = async {
            tender::commit(engine).await;
            engine.source.close(start + deadline).await
        };
        match timeout_at(start + deadline, end).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("leave the group: {error}"),
            Err(_) => left.push(format!("the source of {}", engine.place.topic)),
        }
        Left { stats: engine.stats(), left }
    }
}

async fn join_all(tasks: &mut Vec<JoinHandle<()>>) {
    while let Some(task) = tasks.last_mut() {
        if let Err(error) = task.await
            && error.is_panic()
        {
            tracing::error!("a worker panicked: {error}");
        }
        tasks.pop();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("topic", &self.inner.engine.place.topic)
            .field("stats", &self.stats())
            .finish()
    }
}
