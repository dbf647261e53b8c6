//! The backend itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::groups::Group;
use super::sink::MemorySink;
use super::source::MemorySource;
use super::store::Store;
use crate::capabilities::{AckPositions, Capabilities, Gaps, Integrity};
use crate::clock::{Clock, SystemClock};
use crate::driver::{BoxFuture, Driver, Lag, Member, ReadRequest, Sink, SinkRequest, Source, SourceRequest};
use crate::error::Result;
use crate::record::{RECORD_BYTES_MAX, Record};
use crate::topic::{Bounds, GroupName, Offset, Partition, TopicInfo, TopicName, TopicSpec};

pub(super) const BATCH_RECORDS_MAX: usize = 4_096;
pub(super) const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A bus inside one process, for tests of handlers and of the bus itself.
///
/// Durability is [`Medium::Memory`](crate::Medium::Memory): the end of the process takes everything.
#[derive(Debug)]
pub struct MemoryDriver {
    capabilities: Capabilities,
    shared: Arc<Shared>,
}

/// What the driver and its sinks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Arc<dyn Clock>,
    store: Mutex<Store>,
    /// Something was stored, or a group changed: whoever waits looks again.
    pub(super) changed: Notify,
    closed: AtomicBool,
}

impl Shared {
    pub(super) fn store(&self) -> Result<MutexGuard<'_, Store>> {
        if self.closed.load(Ordering::Acquire) {
            return Err(crate::bus::bus_closed());
        }
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.let_go(&*self.clock);
        Ok(store)
    }
}

impl MemoryDriver {
    /// An empty backend on the system's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty backend on this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let capabilities = Capabilities {
            backend: "memory",
            ack_positions: AckPositions::Always,
            gaps: Gaps::Exact,
            deduplicate_max: None,
            integrity: Integrity::None,
            atomic_batch_max: BATCH_RECORDS_MAX,
            groups: true,
            persistent: false,
            record_bytes_max: RECORD_BYTES_MAX,
        };
        let shared = Shared { clock, store: Mutex::default(), changed: Notify::new(), closed: AtomicBool::new(false) };
        Self { capabilities, shared: Arc::new(shared) }
    }

    fn answer<'a, T: Send + 'a>(&self, ask: impl FnOnce(&mut Store) -> Result<T>) -> BoxFuture<'a, Result<T>> {
        let answer = self.shared.store().and_then(|mut store| ask(&mut store));
        Box::pin(async move { answer })
    }
}

impl Default for MemoryDriver {
    fn default() -> Self {
        Self::new()
    }
}

impl Driver for MemoryDriver {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    fn create_topic<'a>(&'a self, name: &'a TopicName, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo>> {
        self.answer(|store| store.create(name, spec))
    }

    fn update_topic<'a>(&'a self, name: &'a TopicName, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo>> {
        self.answer(|store| store.update(name, spec))
    }

    fn topic<'a>(&'a self, name: &'a TopicName) -> BoxFuture<'a, Result<TopicInfo>> {
        self.answer(|store| store.info(name))
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>>> {
        self.answer(|store| Ok(store.infos()))
    }

    fn delete_topic<'a>(&'a self, name: &'a TopicName) -> BoxFuture<'a, Result<()>> {
        self.answer(|store| store.delete(name))
    }

    fn trim<'a>(&'a self, topic: &'a TopicName, partition: Partition, below: Offset) -> BoxFuture<'a, Result<Offset>> {
        self.answer(|store| store.trim(topic, partition, below))
    }

    fn sink(&self, request: SinkRequest) -> BoxFuture<'_, Result<Arc<dyn Sink>>> {
        let sink =
            MemorySink { shared: Arc::clone(&self.shared), topic: request.topic, closed: AtomicBool::new(false) };
        self.answer(|_| Ok(Arc::new(sink) as Arc<dyn Sink>))
    }

    fn source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Arc<dyn Source>>> {
        let joined = MemorySource::join(Arc::clone(&self.shared), request);
        Box::pin(async move { joined.map(|source| Arc::new(source) as Arc<dyn Source>) })
    }

    fn read<'a>(&'a self, topic: &'a TopicName, request: ReadRequest) -> BoxFuture<'a, Result<Vec<Record>>> {
        self.answer(|store| store.read(topic, &request))
    }

    fn bounds<'a>(&'a self, topic: &'a TopicName, partition: Partition) -> BoxFuture<'a, Result<Bounds>> {
        self.answer(|store| store.bounds(topic, partition))
    }

    fn offset_at<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        time: Timestamp,
    ) -> BoxFuture<'a, Result<Offset>> {
        self.answer(|store| store.offset_at(topic, partition, time))
    }

    fn committed<'a>(
        &'a self,
        group: &'a GroupName,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<Option<Offset>>>> {
        self.answer(|store| {
            let partitions = store.info(topic)?.spec.partitions as usize;
            Ok(store.find_group(group, topic)?.map_or_else(|| vec![None; partitions], Group::committed))
        })
    }

    fn lag<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Lag>>> {
        self.answer(|store| store.lag(group, topic))
    }

    fn move_committed<'a>(
        &'a self,
        group: &'a GroupName,
        topic: &'a TopicName,
        to: &'a [(Partition, Offset)],
    ) -> BoxFuture<'a, Result<()>> {
        self.answer(|store| store.move_committed(group, topic, to))
    }

    fn delete_group<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<()>> {
        self.answer(|store| store.delete_group(group, topic))
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<(GroupName, TopicName)>>> {
        self.answer(|store| Ok(store.groups()))
    }

    fn members<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Member>>> {
        self.answer(|store| Ok(store.find_group(group, topic)?.map_or_else(Vec::new, Group::members)))
    }

    fn probe(&self) -> BoxFuture<'_, Result<()>> {
        self.answer(|_| Ok(()))
    }

    fn close(&self, _deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.changed.notify_waiters();
        Box::pin(async { Ok(()) })
    }
}
