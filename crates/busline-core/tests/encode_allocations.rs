//! Encoding allocates nothing if the buffer has room.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use busline_core::{Envelope, OccurredAt, Payload, Wire};

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

struct Counting;

#[expect(unsafe_code, reason = "an allocator that counts cannot be written without it")]
// SAFETY: every call goes to the system's allocator with the caller's own arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from `alloc` above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn encoding_into_a_buffer_with_room_allocates_nothing() {
    let envelope = Envelope {
        occurred_at: OccurredAt::parse("2026-11-25T08:00:00.5-09:30").expect("time"),
        tenant: Some("acme\n".into()),
        ..Envelope::new("order-42", "OrderPlaced", 7).with_attribute("retries", 3).with_attribute("region", "eu")
    };
    let binary = Payload::bytes_of("image/png", vec![0; 100]).expect("bytes");
    let mut out = Vec::with_capacity(4_096);
    for envelope in [envelope.clone().json(&["book"]).expect("JSON"), envelope.with_payload(binary)] {
        for wire in [Wire::CloudEvents, Wire::Flat] {
            out.clear();
            let before = ALLOCATIONS.get();
            wire.encode(&envelope, "/busline/orders", &mut out);
            assert_eq!(ALLOCATIONS.get(), before, "{wire}");
        }
    }
}
