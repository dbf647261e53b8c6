//! Publishing costs no allocation per message: what a batch costs is shared by its envelopes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use busline_conformance::{Faulty, Shape};
use busline_core::{Bus, Envelope, MemoryDriver, Publisher};

/// Counts the allocations of threads that ask for it.
struct Counting;

thread_local! {
    /// Allocations of this thread since it was set; `None` while nothing is counted.
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

#[expect(unsafe_code, reason = "an allocator is an unsafe trait; this one hands everything on to the system's")]
// SAFETY: every call goes to `System` unchanged, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(memory, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    COUNT.set(COUNT.get().map(|count| count + 1));
}

/// The allocations of this thread while `act` runs.
fn allocations(act: impl FnOnce()) -> u64 {
    COUNT.set(Some(0));
    act();
    COUNT.replace(None).unwrap_or(0)
}

const ENVELOPES: usize = 100_000;

/// Envelopes that collect in the publisher before the sink is free again.
const BATCH: usize = 4_096;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_publish_costs_no_allocation() {
    let (driver, faults) = Faulty::wrap(Arc::new(MemoryDriver::new()), Shape::one_at_a_time());
    let bus = Bus::new(driver);
    let publisher = bus.publisher("allocations").open().await.expect("opens");
    let mut envelopes = envelopes().into_iter();
    // The first batches make the memory that later ones use again.
    for _ in 0..4 {
        round(&publisher, &faults, (0..BATCH).map(|n| envelope(n as u64)).collect()).await;
    }
    let mut counted = 0;
    loop {
        let batch: Vec<_> = envelopes.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        counted += round(&publisher, &faults, batch).await;
    }
    let each = counted as f64 / ENVELOPES as f64;
    println!("{counted} allocations in {ENVELOPES} publishes: {each:.4} each");
    assert!(each <= 0.05, "{each:.4} allocations per publish, 0.05 are allowed");
}

/// Publishes a batch while the sink holds the one before, lets both go, and gives the allocations of publishing.
async fn round(publisher: &Publisher, faults: &busline_conformance::Faults, batch: Vec<Envelope>) -> u64 {
    faults.hold();
    let counted = allocations(|| batch.into_iter().for_each(|envelope| publish(publisher, envelope)));
    faults.release();
    publisher.flush().await;
    counted
}

/// Publishes in one poll: the window has room.
fn publish(publisher: &Publisher, envelope: Envelope) {
    let mut call = pin!(publisher.publish(envelope));
    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(receipt) => drop(receipt.expect("accepted")),
        Poll::Pending => panic!("the window has room"),
    }
}

fn envelopes() -> Vec<Envelope> {
    (0..ENVELOPES as u64).map(envelope).collect()
}

fn envelope(number: u64) -> Envelope {
    Envelope::new(format!("order-{}", number % 1_000), "OrderPlaced", number / 1_000 + 1)
        .json(&["a payload of some length that is written into the body of the record", "and another one"])
        .expect("texts are JSON")
}
