//! One incarnation of the client that produces.

use std::sync::Arc;
use std::time::Duration;

use busline_core::{Batch, Headers, Offset, Partition, RecordRef, Result, TopicName};
use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, PurgeConfig};
use tokio::time::Instant;

use super::flight::Report;
use super::table::Place;
use super::writer::Shared;
use crate::clients::{create, log};
use crate::native::{Event, Events, Message, Reported, Stored, Target, stored};

/// The client with its topic and its events.
pub(super) struct Producer {
    // Dropped in this order: the client is the last.
    target: Target,
    events: Events,
    client: BaseProducer<Reports>,
    shared: Arc<Shared>,
}

/// Where reports go that come while a client is dropped: to the table of its sink, like all others.
struct Reports(Arc<Shared>);

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

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let (message, failure) = match result {
            Ok(message) => (message, None),
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                (message, Some((code, stored(message))))
            }
        };
        let partition = Partition(message.partition() as u32);
        let offset = u64::try_from(message.offset()).ok().map(Offset);
        self.0.take_reports([Reported { tag, partition, offset, failure }]);
    }
}

/// The status alone says what is stored: a code for "not sent" can stand at a message that was.
pub(super) fn report(reported: &Reported) -> Report {
    match reported.failure {
        None => Report::Acked(reported.offset),
        Some((_, Stored::Yes)) => Report::Acked(None),
        Some((code, Stored::No)) => Report::Unstored(code),
        Some((code, Stored::Perhaps)) => Report::Unknown(code),
    }
}

/// What a client did not take of a batch.
#[derive(Default)]
pub(super) struct Unsent {
    pub(super) indexes: Vec<usize>,
    /// The first of them and the reason, if it was refused.
    pub(super) refused: Option<(usize, RDKafkaErrorCode)>,
}

impl Producer {
    /// Takes what the client has to say until this time is over, and settles what is complete with it.
    pub(super) fn poll(&self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            match self.events.next(until.saturating_duration_since(Instant::now())) {
                // The reports are no callback of the client, so hearing of them may produce.
                Some(Event::Reports(reports)) => self.shared.take_reports(reports),
                Some(Event::Error { code, reason }) => self.shared.note_trouble(&KafkaError::Global(code), &reason),
                Some(Event::Log { level, facility, text }) => log(log_level(level), &facility, &text),
                Some(Event::Other) | None => {}
            }
            self.shared.settle_finished();
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// Lets the keeper's poll look at what can be settled.
    pub(super) fn wake_keeper(&self) {
        self.events.wake();
    }

    /// Waits until every record has its report, for at most this time.
    pub(super) fn flush(&self, time: Duration) {
        const LOOK_AGAIN: Duration = Duration::from_millis(10);
        let until = Instant::now() + time;
        while self.client.flush(Duration::ZERO).is_err() && Instant::now() < until {
            self.poll(LOOK_AGAIN.min(until.saturating_duration_since(Instant::now())));
        }
    }

    /// Takes from the client what it has not sent.
    pub(super) fn purge_queue(&self) {
        self.client.purge(PurgeConfig::default().queue());
    }

    /// Takes from the client what it has sent and has no answer for.
    pub(super) fn purge_requests(&self) {
        self.client.purge(PurgeConfig::default().inflight());
    }

    /// Whether a record has no report.
    pub(super) fn holds_records(&self) -> bool {
        self.client.in_flight_count() > 0
    }

    /// Whether the client will never send again.
    pub(super) fn has_failed(&self) -> bool {
        self.client.client().fatal_error().is_some()
    }

    /// Waits until the client can be expected to send at once. If it cannot, the first acks are only later.
    ///
    /// By itself a client asks for its producer id half a second after it was made; the first metadata that it is given
    /// make it ask at once. The second come behind the answer to that.
    ///
    /// # Source
    /// `rd_kafka_idemp_pid_fsm` of librdkafka 2.12.
    pub(super) fn warm(&self, patience: Duration) {
        for _ in 0..2 {
            drop(self.client.client().fetch_metadata(Some(self.topic().as_str()), patience));
        }
    }

    /// Hands records of a batch to the client, which copies them: those of a partition in order, one partition after
    /// another, as long as `may_go_on` and until one is refused.
    pub(super) fn send(
        &self,
        batch: &Batch,
        slot: usize,
        wanted: impl Iterator<Item = usize>,
        may_go_on: impl Fn() -> bool,
    ) -> Unsent {
        let mut order: Vec<(Partition, usize)> = wanted.map(|index| (batch.record(index).partition, index)).collect();
        // Keeps the order within a partition.
        order.sort_by_key(|(partition, _)| *partition);
        let mut unsent = Unsent::default();
        for run in order.chunk_by(|left, right| left.0 == right.0) {
            let mut sent = 0;
            if unsent.refused.is_none() && may_go_on() {
                let outcome = self.send_run(batch, slot, run);
                sent = outcome.map_or_else(|(at, _)| at, |()| run.len());
                unsent.refused = outcome.err().map(|(at, code)| (run[at].1, code));
            }
            unsent.indexes.extend(run[sent..].iter().map(|(_, index)| *index));
        }
        unsent
    }

    /// Records of one partition; gives the place in `run` of the first that was refused.
    fn send_run(
        &self,
        batch: &Batch,
        slot: usize,
        run: &[(Partition, usize)],
    ) -> std::result::Result<(), (usize, RDKafkaErrorCode)> {
        let has_headers = |index: usize| !batch.record(index).header_block.is_empty();
        let mut sent = 0;
        for piece in run.chunk_by(|left, right| !has_headers(left.1) && !has_headers(right.1)) {
            let (partition, first) = piece[0];
            if has_headers(first) {
                self.send_with_headers(&batch.record(first), Place { slot, index: first })
                    .map_err(|code| (sent, code))?;
            } else {
                let messages = piece.iter().map(|(_, index)| {
                    let record = batch.record(*index);
                    Message { key: record.key, body: record.body, tag: Place { slot, index: *index }.to_number() }
                });
                self.target.produce(partition, messages).map_err(|stopped| (sent + stopped.at, stopped.code))?;
            }
            sent += piece.len();
        }
        Ok(())
    }

    fn send_with_headers(&self, record: &RecordRef<'_>, place: Place) -> std::result::Result<(), RDKafkaErrorCode> {
        let message = BaseRecord::with_opaque_to(self.topic().as_str(), place.to_number())
            .partition(record.partition.0 as i32)
            .key(record.key)
            .payload(record.body)
            .headers(headers(record.header_block));
        self.client.send(message).map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
    }

    fn topic(&self) -> &TopicName {
        &self.shared.topic.info.name
    }
}

/// Levels of the client are those of syslog.
fn log_level(level: i32) -> RDKafkaLogLevel {
    match level {
        ..=3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 => RDKafkaLogLevel::Notice,
        6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    }
}

/// Makes the client of a new incarnation.
///
/// `is_careful` sends one record in a request, to find the one that makes a broker refuse its neighbours too.
pub(super) fn open(shared: &Arc<Shared>, is_careful: bool) -> Result<Producer> {
    let (config, topic) = (&shared.clients.config, &shared.topic);
    let mut client = config.client("busline-sink");
    let bytes_max = topic.message_bytes_max.clamp(1_000, 1_000_000_000).to_string();
    let linger = config.properties.get("linger.ms").cloned().unwrap_or_else(|| "0".into());
    client
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("retry.backoff.ms", "20")
        .set("retry.backoff.max.ms", "500")
        .set("linger.ms", linger)
        .set("max.in.flight.requests.per.connection", topic.requests_max.to_string())
        .set("batch.size", topic.message_bytes_max.clamp(1, 1_000_000).to_string())
        .set("message.max.bytes", bytes_max)
        .set("batch.num.messages", if is_careful { "1" } else { "10000" })
        // Far more than the publisher's window, so that the client never refuses for want of room.
        .set("queue.buffering.max.messages", "10000000")
        .set("queue.buffering.max.kbytes", "2097151");
    let client: BaseProducer<Reports> =
        create(&client, |client| client.create_with_context(Reports(Arc::clone(shared))))?;
    Ok(Producer {
        target: Target::new(&client, &topic.info.name)?,
        events: Events::of(&client)?,
        client,
        shared: Arc::clone(shared),
    })
}

fn headers(block: &[u8]) -> OwnedHeaders {
    // The publisher wrote the block itself.
    let headers = Headers::decode(Bytes::copy_from_slice(block)).unwrap_or_default();
    let list = OwnedHeaders::new_with_capacity(headers.iter().len());
    headers.iter().fold(list, |list, header| list.insert(Header { key: &header.name, value: Some(&header.value[..]) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_failed_report_counts_and_not_its_code() {
        let of = |failure| report(&Reported { tag: 0, partition: Partition(0), offset: None, failure });
        for code in [RDKafkaErrorCode::PurgeQueue, RDKafkaErrorCode::PurgeInflight, RDKafkaErrorCode::RequestTimedOut] {
            assert_eq!(of(Some((code, Stored::No))), Report::Unstored(code));
            assert_eq!(of(Some((code, Stored::Perhaps))), Report::Unknown(code));
            assert_eq!(of(Some((code, Stored::Yes))), Report::Acked(None));
        }
        assert_eq!(of(None), Report::Acked(None), "the broker knew it already");
    }
}
