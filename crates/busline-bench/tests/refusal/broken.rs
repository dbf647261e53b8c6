//! Buses whose stores or deliveries break one envelope in a thousand; everything else goes straight through.

use std::sync::{Arc, Mutex, PoisonError};

use busline::{BoxFuture, Bus, Driver, MemoryDriver, Record, Result, Source, SourceEvent, SourceLayer};
use busline_bench::Connect;

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
    fn source(&self, inner: Arc<dyn Source>) -> Arc<dyn Source> {
        BrokenSource(Arc::clone(&self.delivery)).over(inner)
    }

    fn read(&self, records: &mut Vec<Record>) {
        self.store.pass(records);
    }
}

#[derive(Debug)]
struct BrokenSource(Arc<Spot>);

impl SourceLayer for BrokenSource {
    fn next<'a>(&'a self, inner: &'a dyn Source, records: usize, bytes: usize) -> BoxFuture<'a, Result<SourceEvent>> {
        Box::pin(async move {
            loop {
                let mut event = inner.next(records, bytes).await?;
                let SourceEvent::Records { records, .. } = &mut event else { return Ok(event) };
                self.0.pass(records);
                if !records.is_empty() {
                    return Ok(event);
                }
            }
        })
    }
}
