//! Buses whose stores or deliveries break one envelope in a thousand; everything else goes straight through.

use std::sync::{Arc, Mutex, PoisonError};

use busline::{
    BoxFuture, Bus, Commit, Driver, Error, MemoryDriver, Offset, Partition, Record, Result, Sink, Source, SourceEvent,
};
use busline_bench::Connect;
use tokio::time::Instant;

use super::fault::{Breaker, Fault};
use super::wrapped::Wrap;

/// Where envelopes are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In what is found stored.
    Store,
    /// On the way to a group.
    Delivery,
}

/// Opens a broken bus in memory for each run.
#[derive(Debug)]
pub(crate) struct BrokenBuses {
    pub(crate) place: Place,
    pub(crate) fault: Option<Fault>,
}

impl Connect for BrokenBuses {
    fn connect<'a>(&'a self, _url: &'a str) -> BoxFuture<'a, Result<Bus>> {
        Box::pin(async {
            let at = |place| Arc::new(Spot::new(self.fault.filter(|_| self.place == place)));
            let inner: Arc<dyn Driver> = Arc::new(MemoryDriver::new());
            let wrap = Breaking { store: at(Place::Store), delivery: at(Place::Delivery) };
            Ok(wrap.bus(inner))
        })
    }
}

/// A spot that records pass.
#[derive(Debug)]
struct Spot(Option<Mutex<Breaker>>);

impl Spot {
    fn new(fault: Option<Fault>) -> Self {
        Self(fault.map(|fault| Mutex::new(Breaker::new(fault))))
    }

    fn pass(&self, records: &mut Vec<Record>) {
        if let Some(breaker) = &self.0 {
            breaker.lock().unwrap_or_else(PoisonError::into_inner).pass(records);
        }
    }
}

/// Breaks what is found stored, or what is on the way to a group.
#[derive(Debug)]
struct Breaking {
    store: Arc<Spot>,
    delivery: Arc<Spot>,
}

impl Wrap for Breaking {
    fn sink(&self, inner: Arc<dyn Sink>) -> Arc<dyn Sink> {
        inner
    }

    fn source(&self, inner: Arc<dyn Source>) -> Arc<dyn Source> {
        Arc::new(BrokenSource { inner, breaker: Arc::clone(&self.delivery) })
    }

    fn read(&self, records: &mut Vec<Record>) {
        self.store.pass(records);
    }
}

#[derive(Debug)]
struct BrokenSource {
    inner: Arc<dyn Source>,
    breaker: Arc<Spot>,
}

impl Source for BrokenSource {
    fn next(&self, records_max: usize, bytes_max: usize) -> BoxFuture<'_, Result<SourceEvent>> {
        Box::pin(async move {
            loop {
                let mut event = self.inner.next(records_max, bytes_max).await?;
                let SourceEvent::Records { records, .. } = &mut event else { return Ok(event) };
                self.breaker.pass(records);
                if !records.is_empty() {
                    return Ok(event);
                }
            }
        })
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'_, Vec<Result<()>>> {
        self.inner.commit(commits)
    }

    fn pause(&self, partitions: &[(Partition, u64)]) {
        self.inner.pause(partitions);
    }

    fn resume(&self, partitions: &[(Partition, u64)]) {
        self.inner.resume(partitions);
    }

    fn seek(&self, partition: Partition, generation: u64, offset: Offset) -> BoxFuture<'_, Result<()>> {
        self.inner.seek(partition, generation, offset)
    }

    fn holds_until(&self) -> Option<Instant> {
        self.inner.holds_until()
    }

    fn release(&self, partitions: Vec<(Partition, u64)>) -> BoxFuture<'_, Result<()>> {
        self.inner.release(partitions)
    }

    fn trouble(&self) -> Option<Error> {
        self.inner.trouble()
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.inner.close(deadline)
    }
}
