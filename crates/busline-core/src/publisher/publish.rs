//! The publisher as its user holds it.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::encoded::{Encoded, Encoder};
use super::line::{Before, Caller, Line, publisher_closed};
use super::receipt::Receipt;
use super::stats::PublisherStats;
use crate::ack::Ack;
use crate::batch::behind_failed;
use crate::driver::SinkOffer;
use crate::envelope::Envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::timers::with_timers;
use crate::topic::{TopicInfo, TopicName};

/// Most envelopes of one call of [`Publisher::publish_batch`].
pub const BATCH_ITEMS_MAX: usize = 1_000_000;

/// Publishes envelopes to one topic, in order per key.
///
/// Cloning is a counter; all clones share one window, one order and one close. Besides the memory of the batches, which
/// is used again, one publish allocates nothing; a batch costs about five allocations, whatever its size.
///
/// # Source
/// Promises P1 to P9.
#[derive(Clone)]
pub struct Publisher {
    inner: Arc<Inner>,
    /// Shared by the user's handles only, so that the bus can hold the rest without keeping it open.
    _handles: Arc<LastHandle>,
}

/// The end of the last handle closes the publisher to new envelopes; what was accepted is settled in the background.
struct LastHandle(Arc<Line>);

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.0.refuse_further(publisher_closed(self.0.subject()));
    }
}

/// What all handles of one publisher share.
pub(crate) struct Inner {
    number: u64,
    line: Arc<Line>,
    encoder: Encoder,
    topic: TopicInfo,
    offer: SinkOffer,
    atomic: AtomicLimits,
    /// `None` once its end was seen.
    keeper: Mutex<Option<JoinHandle<()>>>,
    runtime: Handle,
    closed: OnceCell<Closed>,
}

/// Publishers that the process has opened, to tell them from each other.
static PUBLISHERS: AtomicU64 = AtomicU64::new(0);

/// Limits of an atomic batch: what backend and window both hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtomicLimits {
    pub(crate) records_max: usize,
    pub(crate) bytes_max: usize,
}

/// How a publisher ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// What became of all it ever accepted; `accepted` is the sum of the three outcomes.
    pub stats: PublisherStats,
    /// What could not be ended by the deadline, by name. Empty after an orderly close.
    pub left: Vec<String>,
}

/// Why [`Publisher::try_publish`] did not accept an envelope.
#[derive(Debug, Clone)]
pub enum TryPublishError {
    /// The window is full: here is the envelope back.
    Full(Box<Envelope>),
    /// The envelope is refused for good, or the publisher is closed.
    Refused(Error),
}

impl fmt::Display for TryPublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(envelope) => write!(f, "the window is full; envelope {} was handed back", envelope.id),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TryPublishError {}

impl Publisher {
    pub(crate) fn new(
        line: Arc<Line>,
        encoder: Encoder,
        topic: TopicInfo,
        offer: SinkOffer,
        atomic: AtomicLimits,
        keeper: JoinHandle<()>,
        runtime: Handle,
    ) -> Self {
        let keeper = Mutex::new(Some(keeper));
        let handles = Arc::new(LastHandle(Arc::clone(&line)));
        let number = PUBLISHERS.fetch_add(1, Ordering::Relaxed);
        let inner =
            Arc::new(Inner { number, line, encoder, topic, offer, atomic, keeper, runtime, closed: OnceCell::new() });
        Self { inner, _handles: handles }
    }

    pub(crate) fn shared(&self) -> Arc<Inner> {
        Arc::clone(&self.inner)
    }

    /// The topic, as it exists.
    pub fn topic(&self) -> &TopicInfo {
        &self.inner.topic
    }

    /// What the backend gives this publisher, its durability among it.
    pub fn offer(&self) -> SinkOffer {
        self.inner.offer
    }

    /// Counts since it was opened.
    pub fn stats(&self) -> PublisherStats {
        self.inner.line.stats()
    }

    /// Accepts an envelope into the window and gives its receipt; waits only while the window is full.
    ///
    /// Envelopes are accepted in the order in which these calls return.
    ///
    /// # Errors
    /// All are definite, and nothing was accepted: `Invalid/…` as [`Envelope::validate`], `TooLarge/Record`,
    /// `Closed/Publisher`, `Closed/RuntimeGone`, and `Closed/ForkedProcess` in a child of the process that opened it.
    ///
    /// # Cancel safety
    /// A dropped future has accepted nothing: acceptance is the last thing it does.
    ///
    /// # Source
    /// Promises P1, P3, P8.
    pub async fn publish(&self, envelope: Envelope) -> Result<Receipt> {
        self.publish_behind(&envelope, None, Caller::Task).await
    }

    /// Publishes an envelope and waits for its outcome.
    ///
    /// # Errors
    /// Those of [`Publisher::publish`], and the outcome: definite (not stored) or indeterminate (perhaps stored).
    ///
    /// # Cancel safety
    /// As [`Publisher::publish`] until the envelope is accepted; from then on dropping the future changes nothing.
    pub async fn publish_sync(&self, envelope: Envelope) -> Result<Ack> {
        self.publish(envelope).await?.await
    }

    /// Publishes an envelope and blocks the thread until its outcome is there: [`Publisher::publish_sync`] for threads that
    /// run no tasks. A backend of this process may do the work on the calling thread, which wakes no other.
    ///
    /// # Errors
    /// As [`Publisher::publish_sync`].
    ///
    /// # Panics
    /// In a task, which must not block its thread; call it in `tokio::task::spawn_blocking` there.
    pub fn publish_blocking(&self, envelope: Envelope) -> Result<Ack> {
        self.inner.runtime.block_on(async { self.publish_behind(&envelope, None, Caller::Thread).await?.await })
    }

    /// Accepts an envelope if the window has room, without waiting.
    ///
    /// # Errors
    /// [`TryPublishError::Full`] with the envelope, or what [`Publisher::publish`] refuses.
    pub fn try_publish(&self, envelope: Envelope) -> std::result::Result<Receipt, TryPublishError> {
        match self.accept_now(&envelope, None, Caller::Task).map_err(TryPublishError::Refused)? {
            Acceptance::Accepted(receipt) => Ok(receipt),
            Acceptance::NoRoom(_) => Err(TryPublishError::Full(Box::new(envelope))),
        }
    }

    /// Publishes many envelopes in order and waits for all outcomes; outcome `i` belongs to envelope `i`.
    ///
    /// An envelope that is refused or fails holds back the later ones of its key in this batch: they fail
    /// `Unavailable/BehindFailed`. Others are not affected. An empty batch gives no outcomes and sends nothing.
    ///
    /// # Errors
    /// `TooLarge/BatchItems` above 1,000,000 envelopes; nothing was accepted.
    ///
    /// # Cancel safety
    /// Envelopes that were accepted stay accepted; later ones are not.
    ///
    /// # Source
    /// Promise P6.
    pub async fn publish_batch(&self, envelopes: Vec<Envelope>) -> Result<Vec<Result<Ack>>> {
        if envelopes.len() > BATCH_ITEMS_MAX {
            return Err(self.too_large("BatchItems", envelopes.len(), BATCH_ITEMS_MAX, "envelopes"));
        }
        let receipts = self.accept_all(&envelopes).await;
        let mut outcomes = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            outcomes.push(match receipt {
                Ok(receipt) => receipt.await,
                Err(error) => Err(error),
            });
        }
        Ok(outcomes)
    }

    /// Publishes many envelopes so that all are stored and visible together, or none; gives their acks in order.
    ///
    /// # Errors
    /// `Unsupported/AtomicBatch` where the backend has none; `TooLarge/BatchItems` and `TooLarge/BatchBytes` with the
    /// limits; the first envelope's error with its index; else the common outcome of all.
    ///
    /// # Cancel safety
    /// All are accepted, or none.
    ///
    /// # Source
    /// Promise P6.
    pub async fn publish_atomic(&self, envelopes: Vec<Envelope>) -> Result<Vec<Ack>> {
        let limits = self.inner.atomic;
        if limits.records_max == 0 {
            return Err(Error::new(ErrorKind::Unsupported, "AtomicBatch")
                .cause("this backend has no atomic batches")
                .next("use publish_batch, which gives an outcome for each envelope")
                .at("publish", self.inner.line.subject()));
        }
        if envelopes.len() > limits.records_max {
            return Err(self.too_large(
                "BatchItems",
                envelopes.len(),
                limits.records_max,
                "envelopes of an atomic batch",
            ));
        }
        let records = self.encode_all(&envelopes)?;
        let bytes = records.iter().map(Encoded::len).sum();
        if bytes > limits.bytes_max {
            return Err(self.too_large("BatchBytes", bytes, limits.bytes_max, "bytes of an atomic batch"));
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.inner.line.take_room(records.len(), bytes).await?;
        let receipts = self.inner.line.accept_atomic(&records)?;
        let mut acks = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            acks.push(receipt.await?);
        }
        Ok(acks)
    }

    /// Waits until every envelope accepted before this call has its outcome.
    ///
    /// # Cancel safety
    /// Changes nothing.
    ///
    /// # Source
    /// Promise P9.
    pub async fn flush(&self) {
        self.inner.flush().await;
    }

    /// Accepts nothing more, settles everything, and ends all that belongs to the publisher.
    ///
    /// Returns by the deadline: what has no outcome by then is failed if it was never handed to the backend, else
    /// indeterminate. Idempotent: every call gives the result of the first; one that runs at the same time waits for it.
    ///
    /// # Cancel safety
    /// The publisher stays closed to new envelopes; a further call goes on with the rest.
    ///
    /// # Source
    /// Promise P9.
    pub async fn close(&self, deadline: Duration) -> Closed {
        self.inner.close(deadline).await
    }

    /// Accepts the envelopes of a batch in order, each only if the one before it of its key has not failed by then.
    async fn accept_all(&self, envelopes: &[Envelope]) -> Vec<Result<Receipt>> {
        let mut receipts: Vec<Result<Receipt>> = Vec::with_capacity(envelopes.len());
        let mut last_of_key: HashMap<&str, usize> = HashMap::new();
        for (index, envelope) in envelopes.iter().enumerate() {
            let before = last_of_key.insert(&envelope.aggregate_id, index);
            let receipt = match before.map(|place| (&envelopes[place].id, &receipts[place])) {
                Some((id, Err(error))) => Err(behind_failed(id, error)),
                Some((id, Ok(receipt))) => {
                    self.publish_behind(envelope, Some(Before { id, receipt }), Caller::Task).await
                }
                None => self.publish_behind(envelope, None, Caller::Task).await,
            };
            receipts.push(receipt);
        }
        receipts
    }

    async fn publish_behind(&self, envelope: &Envelope, before: Option<Before<'_>>, caller: Caller) -> Result<Receipt> {
        let record = match self.accept_now(envelope, before, caller)? {
            Acceptance::Accepted(receipt) => return Ok(receipt),
            Acceptance::NoRoom(record) => record,
        };
        self.inner.line.take_room(1, record.len()).await?;
        self.inner.line.accept(&record, before, caller)
    }

    fn accept_now(&self, envelope: &Envelope, before: Option<Before<'_>>, caller: Caller) -> Result<Acceptance> {
        let line = &self.inner.line;
        let accept = |record: &Encoded| {
            if line.try_take_room(1, record.len())? {
                line.accept(record, before, caller).map(Acceptance::Accepted)
            } else {
                Ok(Acceptance::NoRoom(record.clone()))
            }
        };
        self.inner.encoder.encode(envelope, accept)?
    }

    fn encode_all(&self, envelopes: &[Envelope]) -> Result<Vec<Encoded>> {
        let encode = |(index, envelope)| {
            self.inner
                .encoder
                .encode(envelope, Encoded::clone)
                .map_err(|error| error.in_part(format_args!("envelope {index} of the batch")))
        };
        envelopes.iter().enumerate().map(encode).collect()
    }

    fn too_large(&self, reason: &'static str, is: usize, max: usize, what: &str) -> Error {
        Error::new(ErrorKind::TooLarge, reason)
            .cause(format!("{is} {what} where {max} are allowed"))
            .next("publish in smaller batches")
            .at("publish", self.inner.line.subject())
    }
}

impl Inner {
    /// Tells it from the others of the process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn topic_name(&self) -> &TopicName {
        &self.topic.name
    }

    pub(crate) fn stats(&self) -> PublisherStats {
        self.line.stats()
    }

    /// The subscription whose handlers published here last, and how many envelopes handlers have published.
    pub(crate) fn feeding(&self) -> Option<(u64, u64)> {
        self.line.feeding.seen()
    }

    pub(crate) fn trouble(&self) -> Option<Error> {
        self.line.trouble()
    }

    async fn flush(&self) {
        for receipt in self.line.unsettled() {
            drop(receipt.await);
        }
    }

    pub(crate) async fn close(&self, deadline: Duration) -> Closed {
        let (start, deadline) = (Instant::now(), deadline.min(CLOSE_DEADLINE_MAX));
        let closed = pin!(self.closed.get_or_init(|| self.shut_down(start, deadline)));
        with_timers(&self.runtime, closed).await.clone()
    }

    /// Accepts nothing more; [`Publisher::close`] does the rest.
    pub(crate) fn refuse_further(&self) {
        self.line.refuse_further(publisher_closed(self.line.subject()));
    }

    /// Whether nothing of it is left.
    pub(crate) fn has_ended(&self) -> bool {
        self.keeper().as_ref().is_none_or(JoinHandle::is_finished)
    }

    async fn shut_down(&self, start: Instant, deadline: Duration) -> Closed {
        let line = &self.line;
        line.end_by(start + deadline);
        self.refuse_further();
        // Not only the flush: the sink may still settle what was reported at its deadline.
        let orderly = async {
            self.flush().await;
            self.end_all().await;
        };
        if timeout_at(start + deadline - kept_for_ending(deadline), orderly).await.is_err() {
            line.give_up(&close_deadline(line.subject(), deadline));
        }
        let mut left = Vec::new();
        if timeout_at(start + deadline, self.end_all()).await.is_err() {
            // The keeper may not have come to it. A sink that was told ends by itself, one that was not stays for ever.
            drop(timeout_at(start + deadline, line.end_sink()).await);
            if line.is_reporting() {
                left.push(format!("the failure handler of {}", line.subject()));
            }
            if !line.is_sink_ended() {
                left.push(format!("the sink of {}", line.subject()));
            }
            if let Some(keeper) = &*self.keeper() {
                keeper.abort();
            }
        }
        Closed { stats: line.stats(), left }
    }

    /// Waits for the keeper, which ends the sink; where its runtime took it away, the sink is ended here.
    async fn end_all(&self) {
        self.keeper_end().await;
        if !self.line.is_sink_ended() {
            self.line.end_sink().await;
        }
    }

    /// Leaves the keeper in its place until it has ended, so that a close that is dropped and called again still waits.
    async fn keeper_end(&self) {
        poll_fn(|context| {
            let mut keeper = self.keeper();
            let Some(handle) = keeper.as_mut() else { return Poll::Ready(()) };
            Pin::new(handle).poll(context).map(|_| *keeper = None)
        })
        .await;
    }

    fn keeper(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a close's time that is kept for ending what did not end by itself: a twentieth, at least 100 ms, at most
/// half.
fn kept_for_ending(deadline: Duration) -> Duration {
    (deadline / 20).max(Duration::from_millis(100)).min(deadline / 2)
}

/// Longer deadlines of a close count as this one: no instant is further away.
const CLOSE_DEADLINE_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What became of an envelope that could not wait.
enum Acceptance {
    Accepted(Receipt),
    NoRoom(Encoded),
}

fn close_deadline(subject: &str, deadline: Duration) -> Error {
    Error::new(ErrorKind::Closed, "CloseDeadline")
        .cause(format!("the publisher was closed and {deadline:?} were not enough"))
        .next("close with a longer deadline; look an indeterminate envelope up before publishing it again")
        .at("publish", subject)
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("topic", &self.inner.topic.name).field("stats", &self.stats()).finish()
    }
}
