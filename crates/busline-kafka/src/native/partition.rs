//! The messages of one partition, many by one call.

#![expect(
    unsafe_code,
    reason = "the wrapper takes messages one by one, with an event and four looks at the clock each"
)]

use std::any::Any;
use std::ffi::{CString, c_void};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use busline_core::{Partition, TopicName};
use rdkafka::bindings as c;

use super::ask::Native;
use super::fetched::Fetched;

/// What is read ahead of one partition. From when it is made on, its messages come here alone.
pub(crate) struct PartitionQueue {
    queue: NonNull<c::rd_kafka_queue_t>,
    /// Called by threads of the client until the queue is told to forget it.
    _ring: Box<dyn Any + Send + Sync>,
    /// Behind the queue, which must be gone before its client is.
    _client: Arc<dyn Native>,
}

// SAFETY: queues of the C library may be used from any thread.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    /// Parts the messages of this partition from the client's others. `ring` is called when there are some after none.
    ///
    /// `None` for a topic that the client cannot name.
    pub(crate) fn split<F: Fn() + Send + Sync + 'static>(
        client: Arc<dyn Native>,
        topic: &TopicName,
        partition: Partition,
        ring: F,
    ) -> Option<Self> {
        let name = CString::new(topic.as_str()).ok()?;
        let ring = Box::new(ring);
        // SAFETY: the client is kept with the queue, and the closure too, whose place on the heap does not move.
        unsafe {
            let queue = c::rd_kafka_queue_get_partition(client.pointer(), name.as_ptr(), partition.0 as i32);
            let queue = NonNull::new(queue)?;
            c::rd_kafka_queue_forward(queue.as_ptr(), null_mut());
            let opaque = (&raw const *ring).cast_mut().cast::<c_void>();
            c::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(call::<F>), opaque);
            Some(Self { queue, _ring: ring, _client: client })
        }
    }

    /// At most so many messages that are there, in order. Never waits.
    pub(crate) fn take(&self, most: usize) -> Taken {
        let mut messages = Vec::with_capacity(most);
        // SAFETY: the queue is ours until drop, and there is room for so many; what it writes is ours to free.
        unsafe {
            let count = c::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, messages.as_mut_ptr(), most);
            messages.set_len(usize::try_from(count).unwrap_or_default());
        }
        Taken(messages)
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: the closure is not called any more once this has returned; the queue is freed only here.
        unsafe {
            c::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, null_mut());
            c::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

unsafe extern "C" fn call<F: Fn()>(_: *mut c::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the closure that was given with this function, which outlives the queue's use of it.
    unsafe { (*opaque.cast::<F>())() }
}

/// Messages that were taken and are freed together. To be dropped before their client.
pub(crate) struct Taken(Vec<*mut c::rd_kafka_message_t>);

impl Taken {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Fetched<'_>> {
        // SAFETY: they come from a consumer's queue and are ours until drop, which the borrow stands before.
        self.0.iter().map(|message| unsafe { Fetched::new(&**message) })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        for message in &self.0 {
            // SAFETY: ours, and freed only here.
            unsafe { c::rd_kafka_message_destroy(*message) }
        }
    }
}
