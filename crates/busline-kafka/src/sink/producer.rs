//! One incarnation of the client that produces.

use std::sync::Arc;
use std::time::Duration;

use busline_core::{Headers, Offset, Partition, RecordRef, Result, TopicName};
use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext};

use super::table::{Place, Report};
use super::writer::Shared;
use crate::clients::{create, log};
use crate::config::KafkaConfig;
use crate::native::{Stored, stored};

/// The client with its reports.
pub(super) type Producer = BaseProducer<Reports>;

/// Where a client's reports go: to the table of its sink.
pub(super) struct Reports(Arc<Shared>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.note_trouble(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = usize;

    // The client hands its reports over as events, so this runs outside of it and may produce.
    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let report = match result {
            Ok(message) => Report::Acked(offset(message.offset())),
            Err((error, message)) => {
                failure(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail), stored(message))
            }
        };
        let partition = match result {
            Ok(message) | Err((_, message)) => Partition(message.partition() as u32),
        };
        self.0.take_report(Place::of_number(place), partition, report, result.is_err());
    }
}

/// The status alone says what is stored: a code for "not sent" can stand at a message that was.
fn failure(code: RDKafkaErrorCode, stored: Stored) -> Report {
    match stored {
        Stored::Yes => Report::Acked(None),
        Stored::No => Report::Unstored(code),
        Stored::Perhaps => Report::Unknown(code),
    }
}

/// A message that the broker knew already is reported without its offset.
fn offset(reported: i64) -> Option<Offset> {
    u64::try_from(reported).ok().map(Offset)
}

/// Makes the client of a new incarnation.
///
/// `is_careful` sends one record in a request, to find the one that makes a broker refuse its neighbours too.
pub(super) fn open(
    config: &KafkaConfig,
    shared: &Arc<Shared>,
    message_bytes_max: usize,
    is_careful: bool,
) -> Result<Producer> {
    let mut client = config.client("busline-sink");
    let bytes_max = message_bytes_max.clamp(1_000, 1_000_000_000).to_string();
    let linger = config.properties.get("linger.ms").cloned().unwrap_or_else(|| "0".into());
    client
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("retry.backoff.ms", "20")
        .set("retry.backoff.max.ms", "500")
        .set("linger.ms", linger)
        .set("batch.size", message_bytes_max.clamp(1, 1_000_000).to_string())
        .set("message.max.bytes", bytes_max)
        .set("batch.num.messages", if is_careful { "1" } else { "10000" })
        // Far more than the publisher's window, so that the client never refuses for want of room.
        .set("queue.buffering.max.messages", "10000000")
        .set("queue.buffering.max.kbytes", "2097151");
    create(&client, |client| client.create_with_context(Reports(Arc::clone(shared))))
}

/// Waits until the client can be expected to send at once. If it cannot, the first acks are only later.
///
/// By itself a client asks for its producer id half a second after it was made; the first metadata that it is given make
/// it ask at once. The second come behind the answer to that.
///
/// # Source
/// `rd_kafka_idemp_pid_fsm` of librdkafka 2.12.
pub(super) fn warm(producer: &Producer, topic: &TopicName, patience: Duration) {
    for _ in 0..2 {
        drop(producer.client().fetch_metadata(Some(topic.as_str()), patience));
    }
}

/// Hands a record to the client, which copies it.
pub(super) fn send(
    producer: &Producer,
    topic: &TopicName,
    record: &RecordRef<'_>,
    place: Place,
) -> std::result::Result<(), RDKafkaErrorCode> {
    let mut message = BaseRecord::with_opaque_to(topic.as_str(), place.to_number())
        .partition(record.partition.0 as i32)
        .key(record.key)
        .payload(record.body);
    if !record.header_block.is_empty() {
        message = message.headers(headers(record.header_block));
    }
    producer.send(message).map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
}

fn headers(block: &[u8]) -> OwnedHeaders {
    // The publisher wrote the block itself.
    let headers = Headers::decode(Bytes::copy_from_slice(block)).unwrap_or_default();
    let list = OwnedHeaders::new_with_capacity(headers.iter().len());
    headers.iter().fold(list, |list, header| list.insert(Header { key: &header.name, value: Some(&header.value[..]) }))
}

/// Whether the client will never send again.
pub(super) fn has_failed(producer: &Producer) -> bool {
    producer.client().fatal_error().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_failed_report_counts_and_not_its_code() {
        for code in [RDKafkaErrorCode::PurgeQueue, RDKafkaErrorCode::PurgeInflight, RDKafkaErrorCode::RequestTimedOut] {
            assert_eq!(failure(code, Stored::No), Report::Unstored(code));
            assert_eq!(failure(code, Stored::Perhaps), Report::Unknown(code));
            assert_eq!(failure(code, Stored::Yes), Report::Acked(None));
        }
    }
}
