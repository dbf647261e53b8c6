//! What waits behind a stall is late, though no call was slow: latencies count from the time an envelope is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use busline::{Batch, BoxFuture, Bus, Driver, Error, MemoryDriver, Result, Sink, SinkOffer};
use busline_bench::{Connect, OpenRequest, Quiet, Rates, open_load_on, write_open_load};
use tokio::time::Instant;

use super::broken::{BrokenBuses, Place};
use super::fault::Fault;
use super::wrapped::Wrap;

const STALL: Duration = Duration::from_millis(600);

/// Opens buses in memory that stand still once.
#[derive(Debug)]
struct StalledBuses;

impl Connect for StalledBuses {
    fn connect<'a>(&'a self, _url: &'a str) -> BoxFuture<'a, Result<Bus>> {
        let inner: Arc<dyn Driver> = Arc::new(MemoryDriver::new());
        Box::pin(std::future::ready(Ok(Stalls.bus(inner))))
    }
}

#[derive(Debug)]
struct Stalls;

impl Wrap for Stalls {
    fn sink(&self, inner: Arc<dyn Sink>) -> Arc<dyn Sink> {
        Arc::new(StallingSink { inner, stalled: AtomicBool::new(false) })
    }
}

#[derive(Debug)]
struct StallingSink {
    inner: Arc<dyn Sink>,
    stalled: AtomicBool,
}

impl Sink for StallingSink {
    fn offer(&self) -> SinkOffer {
        self.inner.offer()
    }

    fn publish(&self, batch: Batch) {
        #[expect(clippy::disallowed_methods, reason = "a backend that stands still")]
        if !self.stalled.swap(true, Ordering::AcqRel) {
            std::thread::sleep(STALL);
        }
        self.inner.publish(batch);
    }

    fn trouble(&self) -> Option<Error> {
        self.inner.trouble()
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.inner.close(deadline)
    }
}

fn request(rate: f64) -> OpenRequest {
    OpenRequest {
        buses: vec!["memory:".into()],
        rates: Rates::Each(vec![rate]),
        duration: Duration::from_secs(2),
        topics: 1,
        ..OpenRequest::default()
    }
}

#[test]
fn what_was_due_during_a_stall_is_late() {
    let connect: Arc<dyn Connect> = Arc::new(StalledBuses);
    let report = open_load_on(&request(500.0), &connect, &mut Quiet).expect("it runs");
    let result = &report.results[0];
    assert!(report.is_sound() && !result.held, "{result:?}");
    assert_eq!(result.due_to_handler_ns.samples(), 1_000);
    // 300 of 1,000 envelopes were due in the 600 ms that the bus stood still. A client that waits would have seen one.
    let late: u64 = result.due_to_handler_ns.0.iter().filter(|(nanos, _)| *nanos > 100_000_000).map(|it| it.1).sum();
    assert!(late >= 240, "{late} of 1,000 came 100 ms late or later");
    let mut table = Vec::new();
    write_open_load(&report, &mut table).expect("memory takes all");
    let table = String::from_utf8(table).expect("text");
    assert!(table.contains("memory: no rate held") && table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn a_rate_on_a_broken_bus_is_named_first_and_does_not_hold() {
    for (place, wanted) in [(Place::Store, "2 lost"), (Place::Delivery, "not delivered")] {
        let connect: Arc<dyn Connect> = Arc::new(BrokenBuses { place, fault: Some(Fault::Drop) });
        let report = open_load_on(&request(1_000.0), &connect, &mut Quiet).expect("it runs");
        assert!(!report.is_sound() && !report.results[0].held && report.results[0].delivered_per_s.is_none());
        let mut table = Vec::new();
        write_open_load(&report, &mut table).expect("memory takes all");
        let table = String::from_utf8(table).expect("text");
        let first = table.lines().next().expect("a line");
        assert!(first.starts_with("WRONG: memory at 1000/s: ") && first.contains(wanted), "{table}");
    }
}
