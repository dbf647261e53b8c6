//! What the publisher sees: batches go to the client on the caller's thread.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use busline_core::{
    AckPositions, Batch, BoxFuture, Durability, Error, ErrorKind, Medium, Offset, Partition, Positions, Result, Sink,
    SinkOffer, TopicInfo, sink_closed,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::flight::{Entry, Finished, Report, behind_failed};
use super::keeper;
use super::producer::{self, Producer};
use super::table::{Place, Table};
use crate::clients::Clients;
use crate::error;
use crate::native::Reported;
use crate::topics::Topic;

/// The topic as its sink was opened on it.
#[derive(Debug, Clone)]
pub(crate) struct SinkTopic {
    pub(crate) info: TopicInfo,
    pub(crate) durability: Durability,
    pub(crate) message_bytes_max: usize,
    /// Requests that a broker is sent before it has answered the first.
    pub(crate) requests_max: usize,
    /// Whether each ack must carry its offset.
    pub(crate) positions: Positions,
}

impl SinkTopic {
    /// What the topic's settings attest.
    pub(crate) fn new(topic: Topic, positions: Positions) -> Self {
        Self {
            durability: durability_of(&topic),
            message_bytes_max: topic.settings.message_bytes_max,
            requests_max: requests_max(topic.info.spec.partitions as usize, topic.leaders),
            positions,
            info: topic.info,
        }
    }
}

/// What an ack is worth, as the topic's settings attest it.
pub(crate) fn durability_of(topic: &Topic) -> Durability {
    let settings = &topic.settings;
    let medium = if settings.flush_messages == 1 { Medium::Synced } else { Medium::Written };
    // A lagging replica that may become leader takes acked records with it, whatever the others had.
    let in_sync = if settings.is_unclean { 1 } else { settings.min_in_sync };
    Durability { medium, copies: in_sync.min(topic.info.spec.replicas).max(1) }
}

/// Half as many requests as a broker leads partitions, at most the five that keep their order when they are sent again.
///
/// A request has records of one partition, and the client begins the next of that partition once the one before is
/// answered. While every partition with something to send has a request on its way, the client's thread for the broker
/// looks for room without a pause and takes a processor for that; while one of them waits for its turn, it rests. So there
/// are fewer turns than partitions. A broker works on one request of a connection at a time: what is more than the next
/// waits in its socket.
///
/// # Source
/// `rd_kafka_toppar_producer_serve` of librdkafka 2.12; the figures stand in docs/decisions/0017.
fn requests_max(partitions: usize, leaders: usize) -> usize {
    (partitions / leaders.max(1) / 2).clamp(1, 5)
}

/// Batches in the client at once: few, so that batches grow in the publisher meanwhile and become few, large requests.
const BATCHES_IN_FLIGHT_MAX: usize = 4;

/// Records of one batch: less than 1 ms of producing on the caller's thread.
const BATCH_RECORDS_MAX: usize = 4_096;
const BATCH_BYTES_MAX: usize = 4 << 20;

/// What a broker adds to a record at most, besides key, headers and body.
const RECORD_OVERHEAD: usize = 100;

/// Records of a batch that are not sent at once, by index: with their errors, or without one if the table knows what becomes
/// of them.
type Kept = HashMap<usize, Option<Error>>;

/// The writing end of a topic.
pub(crate) struct KafkaSink {
    shared: Arc<Shared>,
}

/// What the publisher's threads and the keeper's share.
pub(crate) struct Shared {
    pub(super) topic: SinkTopic,
    pub(super) clients: Arc<Clients>,
    state: Mutex<State>,
    /// Nothing more may be sent at the moment, not even the rest of a batch that is being sent.
    stopped: AtomicBool,
    ended: AtomicBool,
    end: Notify,
}

pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) producer: Option<Arc<Producer>>,
    pub(super) table: Table<Batch>,
    /// A thread hands a batch to the client.
    pub(super) is_sending: bool,
    /// Keys with a record that is perhaps stored: nothing newer of them is sent until that is known.
    pub(super) held: HashSet<Vec<u8>>,
    /// Records that brokers refused for good, with their codes.
    pub(super) refused: Vec<(Place, RDKafkaErrorCode)>,
    /// For each partition one after the newest record that was acked: what is not acked lies at it or behind it.
    pub(super) anchors: Vec<Offset>,
    /// Where to look for the doubtful records of a partition.
    pub(super) tails: HashMap<Partition, Offset>,
    /// A record has become doubtful that the keeper has not seen.
    pub(super) has_new_doubt: bool,
    pub(super) closing: Option<Instant>,
    pub(super) trouble: Option<Error>,
}

/// What becomes of a batch that arrives.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// It is sent.
    Running,
    /// It waits: a report failed, and the client is being ended.
    Failing,
    /// It fails with this error.
    Ended(Error),
}

impl KafkaSink {
    /// Opens the sink, with a client of its own.
    pub(crate) fn open(clients: Arc<Clients>, topic: SinkTopic, anchors: Vec<Offset>) -> Result<Self> {
        let shared = Arc::new(Shared {
            topic,
            clients,
            state: Mutex::new(State {
                phase: Phase::Failing,
                producer: None,
                table: Table::default(),
                is_sending: false,
                held: HashSet::new(),
                refused: Vec::new(),
                anchors,
                tails: HashMap::new(),
                has_new_doubt: false,
                closing: None,
                trouble: None,
            }),
            stopped: AtomicBool::new(true),
            ended: AtomicBool::new(false),
            end: Notify::new(),
        });
        // Here, so that settings which the client refuses are an error of opening.
        let producer = producer::open(&shared, false)?;
        producer.warm(shared.clients.patience());
        shared.go_on_with(Arc::new(producer));
        keeper::start(&shared)?;
        Ok(Self { shared })
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes reports of the client.
    pub(super) fn take_reports(&self, reports: impl IntoIterator<Item = Reported>) {
        let mut state = self.state();
        for reported in reports {
            self.take_report(&mut state, &reported);
        }
    }

    fn take_report(&self, state: &mut State, reported: &Reported) {
        let report = match producer::report(reported) {
            // Stored, and where is found by reading.
            Report::Acked(None) if self.topic.positions == Positions::Required => {
                Report::Unknown(RDKafkaErrorCode::DuplicateSequenceNumber)
            }
            other => other,
        };
        let place = Place::of_number(reported.tag);
        state.table.report(place, report);
        match report {
            Report::Unknown(_) => {
                let anchor = state.anchors.get(reported.partition.0 as usize).copied().unwrap_or(Offset(0));
                state.tails.entry(reported.partition).or_insert(anchor);
                state.has_new_doubt = true;
            }
            Report::Acked(Some(offset)) => {
                if let Some(anchor) = state.anchors.get_mut(reported.partition.0 as usize) {
                    *anchor = offset.next();
                }
            }
            Report::Unstored(code) if is_for_good(code) => state.refused.push((place, code)),
            _ => {}
        }
        if reported.failure.is_some() {
            self.stop(state);
        } else if state.trouble.is_some() {
            state.trouble = None;
        }
    }

    /// Sends nothing more with this client.
    pub(super) fn stop(&self, state: &mut State) {
        self.stopped.store(true, Ordering::Release);
        if matches!(state.phase, Phase::Running) {
            state.phase = Phase::Failing;
        }
    }

    /// Sends what waits, in order, and then what comes, with a new client.
    pub(super) fn go_on_with(&self, producer: Arc<Producer>) {
        let mut state = self.state();
        state.producer = Some(producer);
        state.phase = Phase::Running;
        self.stopped.store(false, Ordering::Release);
        self.send_waiting(&mut state);
    }

    /// Sends what waits and is not held.
    pub(super) fn send_waiting(&self, state: &mut State) {
        let Some(producer) = state.producer.clone().filter(|_| matches!(state.phase, Phase::Running)) else { return };
        let State { table, held, .. } = state;
        let mut refused = Vec::new();
        for slot in table.in_order() {
            let send = |batch: &Batch, wanted: &[usize]| {
                let unsent = producer.send(batch, slot, wanted.iter().copied(), || true);
                let for_good = unsent.refused.filter(|(_, code)| is_for_good(*code));
                refused.extend(for_good.map(|(index, code)| (Place { slot, index }, code)));
                unsent.indexes
            };
            // What was refused keeps its place: nothing may overtake it.
            if !table.send_waiting(slot, send, |key| held.contains(key)) {
                break;
            }
        }
        if !refused.is_empty() {
            state.refused.append(&mut refused);
            self.stop(state);
        }
    }

    /// Gives batches their outcomes, oldest first. By the keeper's thread only, so that no ack overtakes the failure that it
    /// stands behind.
    pub(super) fn settle_finished(&self) {
        // One by one: settling may publish the next batch, which must not pass the failures of those that are to follow.
        while let Some(finished) = self.finish_next() {
            let outcomes = finished.outcomes(self.topic.durability);
            let Finished { batch, entries, .. } = finished;
            self.state().table.take_back(entries);
            batch.settle(outcomes);
        }
    }

    fn finish_next(&self) -> Option<Finished<Batch>> {
        self.state().table.finish_next()
    }

    pub(super) fn note_trouble(&self, error: &KafkaError, reason: &str) {
        let name = &self.topic.info.name;
        tracing::debug!("publish {name}: {error}: {reason}");
        self.state().trouble = Some(error::of(error).at("publish", name));
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The keeper's thread ends: everything is settled and the client is gone.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.end.notify_waiters();
    }

    pub(super) fn close_error(&self) -> Error {
        sink_closed(&self.topic.info.name)
    }

    /// Records that are not to be sent, with their errors or without one if they have to wait or stand behind a failed one.
    fn screen(&self, batch: &Batch, state: &State) -> Kept {
        let (held, failed) = (&state.held, state.table.broken());
        let may_be_kept = !held.is_empty() || !failed.is_empty();
        let mut kept = HashMap::new();
        let mut broken: HashMap<&[u8], Error> = HashMap::new();
        for (index, record) in batch.records().enumerate() {
            let size = record.key.len() + record.header_block.len() + record.body.len() + RECORD_OVERHEAD;
            if size > self.topic.message_bytes_max {
                let error = self.too_large(size);
                broken.entry(record.key).or_insert_with(|| error.clone());
                kept.insert(index, Some(error));
            } else if let Some(first) = broken.get(record.key) {
                kept.insert(index, Some(behind_failed(first)));
            } else if may_be_kept && (held.contains(record.key) || failed.contains_key(record.key)) {
                kept.insert(index, None);
            }
        }
        kept
    }

    fn too_large(&self, size: usize) -> Error {
        Error::new(ErrorKind::TooLarge, "Record")
            .cause(format!(
                "{size} bytes with what the broker adds, where {} are allowed",
                self.topic.message_bytes_max
            ))
            .next("make the record smaller, or raise the topic's max.message.bytes")
            .at("publish", &self.topic.info.name)
    }

    /// Takes a slot for the batch; the client is given if it may be sent at once.
    fn begin(&self, batch: &Batch) -> Result<(usize, Option<Arc<Producer>>, Kept)> {
        let mut state = self.state();
        if let Phase::Ended(error) = &state.phase {
            return Err(error.clone());
        }
        if state.closing.is_some() {
            return Err(self.close_error());
        }
        let kept = self.screen(batch, &state);
        // What waits because the client refused it must not be overtaken; what waits for its held key may be.
        let may_send = matches!(state.phase, Phase::Running) && (!state.table.has_waiting() || !state.held.is_empty());
        let producer = state.producer.clone().filter(|_| may_send);
        let slot = state.table.begin(batch.len());
        state.is_sending = producer.is_some();
        Ok((slot, producer, kept))
    }

    /// Gives the records that were not sent.
    fn send_all(&self, producer: &Producer, batch: &Batch, slot: usize, kept: &Kept) -> Vec<usize> {
        let wanted = (0..batch.len()).filter(|index| kept.is_empty() || !kept.contains_key(index));
        producer.send(batch, slot, wanted, || !self.stopped.load(Ordering::Acquire)).indexes
    }
}

impl Sink for KafkaSink {
    fn offer(&self) -> SinkOffer {
        SinkOffer {
            durability: self.shared.topic.durability,
            positions: match self.shared.topic.positions {
                Positions::Any => AckPositions::Sometimes,
                Positions::Required => AckPositions::Always,
            },
            batches_in_flight_max: BATCHES_IN_FLIGHT_MAX,
            batch_records_max: BATCH_RECORDS_MAX,
            batch_bytes_max: BATCH_BYTES_MAX,
        }
    }

    fn publish(&self, batch: Batch) {
        let shared = &self.shared;
        let (slot, producer, kept) = match shared.begin(&batch) {
            Ok(begun) => begun,
            Err(error) => return batch.settle_all(&error),
        };
        let unsent = match &producer {
            Some(producer) => shared.send_all(producer, &batch, slot, &kept),
            None => (0..batch.len()).collect(),
        };
        // Before the lock: the last one of a client that is being ended ends it.
        drop(producer);
        let mut state = shared.state();
        state.table.attach(slot, batch, unsent.into_iter().chain(kept.keys().copied()));
        state.is_sending = false;
        if !kept.is_empty() || state.table.has_failed() {
            state.table.decide(|of, index, _| {
                let error = kept.get(&index).filter(|_| of == slot)?;
                error.clone().map(Entry::Failed)
            });
        }
        if let Some(producer) = state.producer.as_ref().filter(|_| state.table.has_finished()) {
            producer.wake_keeper();
        }
    }

    fn trouble(&self) -> Option<Error> {
        let state = self.shared.state();
        match &state.phase {
            Phase::Ended(error) => Some(error.clone()),
            // What connections that nobody needs ran into is no trouble, and no report would ever end it.
            _ if state.table.is_settled() => None,
            _ => state.trouble.clone(),
        }
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.shared.state().closing.get_or_insert(deadline);
        Box::pin(async move {
            loop {
                let mut end = std::pin::pin!(self.shared.end.notified());
                end.as_mut().enable();
                if self.shared.has_ended() {
                    return Ok(());
                }
                if timeout_at(deadline, end).await.is_err() {
                    // Every record has its outcome; only the client is left, and its thread ends it.
                    if self.shared.state().table.is_settled() {
                        return Ok(());
                    }
                    return Err(Error::new(ErrorKind::Timeout, "Close")
                        .cause("the client has not ended by the deadline")
                        .next("nothing: it ends by itself")
                        .at("close sink", &self.shared.topic.info.name));
                }
            }
        })
    }
}

impl Drop for KafkaSink {
    /// A sink that was dropped instead of closed ends all the same, by its thread.
    fn drop(&mut self) {
        self.shared.state().closing.get_or_insert_with(|| Instant::now() + DROPPED_CLOSE);
    }
}

/// Time that a sink has to end which nobody closed.
const DROPPED_CLOSE: Duration = Duration::from_secs(1);

/// Whether the brokers would refuse the record again.
fn is_for_good(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::MessageSizeTooLarge
            | Code::MessageBatchTooLarge
            | Code::InvalidRecord
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::InvalidTimestamp
            | Code::InvalidRequiredAcks
            | Code::UnsupportedForMessageFormat
            | Code::PolicyViolation
    )
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("topic", &self.shared.topic.info.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_waits_for_its_turn_wherever_a_broker_leads_several() {
        for (partitions, leaders, expected) in [(4, 1, 2), (2, 1, 1), (12, 1, 5), (12, 3, 2), (4, 3, 1), (1_024, 3, 5)]
        {
            assert_eq!(requests_max(partitions, leaders), expected, "{partitions} partitions on {leaders} brokers");
        }
        assert_eq!(requests_max(1, 1), 1, "one request has all that waits");
        assert_eq!(requests_max(4, 0), 2, "nobody leads at the moment");
    }
}
