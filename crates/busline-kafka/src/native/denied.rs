//! Why brokers let a client not in, which no request is told: it fails as if nobody were there.

#![expect(unsafe_code, reason = "the wrapper polls no main queue of this client; queue and events are freed once")]

use std::ffi::CStr;
use std::sync::Arc;

use busline_core::Error;
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::ask::Native;
use crate::error;

/// Longest text of a broker that is shown, in characters.
const SHOWN_MAX: usize = 400;

/// The last refusal among the errors that the client has reported since the last call, with the broker's own words.
///
/// # Source
/// `rdkafka_broker.c`: a broker that fails at the level of an error is told to the main queue.
pub(crate) fn denied(client: &Arc<dyn Native>) -> Option<Error> {
    let mut last = None;
    // SAFETY: the client lives as long as its `Arc`; each event is read before it is destroyed, and the queue last.
    unsafe {
        let queue = c::rd_kafka_queue_get_main(client.pointer());
        loop {
            let event = c::rd_kafka_queue_poll(queue, 0);
            if event.is_null() {
                break;
            }
            let code: Code = c::rd_kafka_event_error(event).into();
            if matches!(code, Code::Authentication | Code::SSL | Code::SaslAuthenticationFailed) {
                let says = CStr::from_ptr(c::rd_kafka_event_error_string(event)).to_string_lossy();
                last = Some(error::of_code(code).cause(on_one_line(&says)));
            }
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_queue_destroy(queue);
    }
    last
}

fn on_one_line(text: &str) -> String {
    text.chars().take(SHOWN_MAX).map(|one| if one.is_control() { ' ' } else { one }).collect()
}
