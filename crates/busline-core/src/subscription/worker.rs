//! A worker: takes the heads of ready lanes, decodes them, runs the handler, says how it ended.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::engine::Engine;
use super::guarded::Ran;
use super::hand::Pace;
use super::handler::{BatchHandler, Delivery, Handler, HandlerError, Verdict};
use super::lanes::{End, LaneRef, Subject, Work};
use super::outcome::{Ended, Note};
use crate::driver::ReadRequest;
use crate::error::Result;
use crate::record::Record;
use crate::topic::{Offset, Partition};

/// What the workers of a subscription run.
pub(crate) trait Runner: Send + Sync + 'static {
    /// Most attempts to be given at once, each of another key.
    fn size_max(&self, pace: &Pace) -> usize;

    /// Runs the handler for what the worker has in its hand; gives whether it had to wait.
    fn run(&self, engine: &Engine, worker: usize) -> impl Future<Output = bool> + Send;
}

/// Works until the subscription closes. One of `concurrency` long-lived tasks: none is spawned for a record.
pub(crate) async fn work<R: Runner>(engine: Arc<Engine>, runner: Arc<R>, worker: usize) {
    let mut pace = Pace::new();
    while poll_fn(|context| engine.poll_next(worker, runner.size_max(&pace), context)).await {
        let began = Instant::now();
        let waited = runner.run(&engine, worker).await;
        pace.note(began.elapsed(), waited);
    }
}

/// A handler that gets one event at a time.
pub(crate) struct OneByOne<H>(pub(crate) H);

impl<H: Handler> Runner for OneByOne<H> {
    fn size_max(&self, pace: &Pace) -> usize {
        pace.size()
    }

    async fn run(&self, engine: &Engine, worker: usize) -> bool {
        let (hand, slot) = (&engine.hands[worker], &engine.slots[worker]);
        let (mut waited, mut ended) = (false, None);
        while !engine.is_closing()
            && let Some(work) = hand.next(ended.take(), slot)
        {
            let mut attempt = pin!(self.attempt(engine, worker, work));
            let mut gave_back = false;
            let end = poll_fn(|context| {
                let polled = attempt.as_mut().poll(context);
                if polled.is_pending() && !gave_back {
                    gave_back = true;
                    engine.give_back(worker);
                }
                polled
            });
            ended = Some(end.await);
            waited |= gave_back;
        }
        hand.end(ended);
        waited
    }
}

impl<H: Handler> OneByOne<H> {
    async fn attempt(&self, engine: &Engine, worker: usize, work: Work) -> Ended {
        let (attempt, delivery) = match prepare(engine, worker, work).await {
            Ok(prepared) => prepared,
            Err(end) => return end,
        };
        let run = async { self.0.handle(delivery).await };
        let ran = engine.slots[worker].run(&engine.tick, Some(engine.settings.handler_timeout), run).await;
        attempt.end(engine, ran)
    }
}

/// A handler that gets several events of different keys at once.
pub(crate) struct InBatches<H> {
    pub(crate) handler: H,
    pub(crate) size_max: usize,
}

impl<H: BatchHandler> Runner for InBatches<H> {
    fn size_max(&self, _pace: &Pace) -> usize {
        self.size_max
    }

    async fn run(&self, engine: &Engine, worker: usize) -> bool {
        let hand = &engine.hands[worker];
        let works = hand.all(&engine.slots[worker]);
        let (mut attempts, mut deliveries) = (Vec::with_capacity(works.len()), Vec::with_capacity(works.len()));
        let mut ended = Vec::new();
        for work in works {
            match prepare(engine, worker, work).await {
                Ok((attempt, delivery)) => {
                    attempts.push(attempt);
                    deliveries.push(delivery);
                }
                Err(end) => ended.push(end),
            }
        }
        if !attempts.is_empty() {
            let run = async { self.handler.handle(deliveries).await };
            let ran = engine.slots[worker].run(&engine.tick, Some(engine.settings.handler_timeout), run).await;
            let verdicts = verdicts(ran, attempts.len());
            ended.extend(attempts.into_iter().zip(verdicts).map(|(attempt, ran)| attempt.end(engine, ran)));
        }
        hand.end(ended);
        false
    }
}

/// How the run ended for each event of a batch.
fn verdicts(ran: Ran<Vec<Handled>>, count: usize) -> Vec<Ran<Handled>> {
    let same = |end: fn() -> Ran<Handled>| std::iter::repeat_with(end).take(count).collect();
    match ran {
        Ran::Returned(verdicts) if verdicts.len() == count => verdicts.into_iter().map(Ran::Returned).collect(),
        Ran::Returned(verdicts) => {
            let text = format!("Invalid/VerdictCount: {} verdicts for {count} events", verdicts.len());
            (0..count).map(|_| Ran::Returned(Err(HandlerError::from(text.clone())))).collect()
        }
        Ran::Panicked(text) => (0..count).map(|_| Ran::Panicked(text.clone())).collect(),
        Ran::TimedOut => same(|| Ran::TimedOut),
        Ran::Blocked => same(|| Ran::Blocked),
        Ran::Cancelled => same(|| Ran::Cancelled),
    }
}

type Handled = std::result::Result<(), HandlerError>;

/// One attempt while its handler runs.
struct Attempt {
    lane: LaneRef,
    ordinal: u64,
    bytes: usize,
    number: u32,
    record: Record,
}

/// Reads what has to be read again, decodes, and waits until the partition is certainly held; gives the end of an attempt
/// that does not come to its handler.
async fn prepare(engine: &Engine, worker: usize, work: Work) -> std::result::Result<(Attempt, Delivery), Ended> {
    let Work { lane, partition, ordinal, attempt: number, bytes, subject } = work;
    let ended = |end, note| Ended { lane, ordinal, bytes, end, note };
    let slot = &engine.slots[worker];
    let record = match subject {
        Subject::Record(record) => record,
        Subject::Offset(offset) => match slot.run(&engine.tick, None, read_again(engine, partition, offset)).await {
            Ran::Returned(Ok(Some(record))) => record,
            Ran::Returned(Ok(None)) => {
                tracing::warn!("{}/{partition}/{offset} is no longer there", engine.place.topic);
                return Err(ended(End::Gone, Note::Nothing));
            }
            Ran::Cancelled => return Err(ended(End::ReadLater(offset, Instant::now()), Note::Nothing)),
            failed => {
                tracing::warn!("read {}/{partition}/{offset} again: {failed:?}", engine.place.topic);
                let due = Instant::now() + engine.settings.retry.backoff_max;
                return Err(ended(End::ReadLater(offset, due), Note::Nothing));
            }
        },
    };
    let envelope = match record.envelope(&engine.place.topic) {
        Ok(envelope) => envelope,
        Err(error) => {
            tracing::error!("{error}");
            return Err(ended(End::Undecodable(record), Note::Failed));
        }
    };
    // Not part of the attempt: whoever waits here has not begun, and its time does not run.
    if !is_held(engine) && !matches!(slot.run(&engine.tick, None, hold(engine)).await, Ran::Returned(true)) {
        return Err(ended(End::Cancelled(record), Note::Nothing));
    }
    let place = Arc::clone(&engine.place);
    let delivery = Delivery { envelope, partition, offset: record.offset, attempt: number, place };
    Ok((Attempt { lane, ordinal, bytes, number, record }, delivery))
}

/// Waits while the assignment may be over: others may have taken it while this process was frozen. Gives whether it is
/// held; not, if the subscription closes.
///
/// # Source
/// Promise C2.
async fn hold(engine: &Engine) -> bool {
    while !is_held(engine) {
        if engine.is_closing() {
            return false;
        }
        tokio::time::sleep(HOLD_LOOK).await;
    }
    true
}

fn is_held(engine: &Engine) -> bool {
    engine.source.holds_until().is_none_or(|until| Instant::now() < until)
}

/// Pause between two looks at whether the assignment still stands.
const HOLD_LOOK: Duration = Duration::from_millis(20);

impl Attempt {
    /// What follows from the end of a run.
    ///
    /// # Source
    /// Promises C6, C9.
    fn end(self, engine: &Engine, ran: Ran<Handled>) -> Ended {
        let Self { lane, ordinal, bytes, number, record } = self;
        let (end, note) = judge(engine, record, number, ran);
        Ended { lane, ordinal, bytes, end, note }
    }
}

fn judge(engine: &Engine, record: Record, attempt: u32, ran: Ran<Handled>) -> (End, Note) {
    let (verdict, why) = match ran {
        Ran::Returned(Ok(())) => return (End::Done, Note::Handled),
        Ran::Cancelled => return (End::Cancelled(record), Note::Nothing),
        Ran::Returned(Err(error)) => (error.verdict(), error),
        Ran::Panicked(text) => (Verdict::Retry, HandlerError::from(format!("panicked: {text}"))),
        Ran::TimedOut => (Verdict::Retry, HandlerError::from("Timeout/Handler: ran too long")),
        Ran::Blocked => (Verdict::Retry, HandlerError::from("Timeout/HandlerBlocked: blocked its thread")),
    };
    let (topic, partition, offset) = (&engine.place.topic, record.partition, record.offset);
    match verdict {
        Verdict::Skip => {
            tracing::warn!("skip {topic}/{partition}/{offset}: {why}");
            (End::Done, Note::Skipped)
        }
        Verdict::Retry if attempt < engine.settings.retry.attempts_max => {
            tracing::debug!("attempt {attempt} of {topic}/{partition}/{offset}: {why}");
            let due = Instant::now() + engine.settings.retry.pause_after(attempt);
            (End::Retry(record, due), Note::Failed)
        }
        Verdict::Retry | Verdict::Park => {
            tracing::error!("attempt {attempt} of {topic}/{partition}/{offset} was the last, its key waits: {why}");
            (End::Stuck(record), Note::Failed)
        }
    }
}

async fn read_again(engine: &Engine, partition: Partition, offset: Offset) -> Result<Option<Record>> {
    let request = ReadRequest { partition, from: offset, to: offset.next(), records_max: 1, bytes_max: usize::MAX };
    Ok(engine.driver.read(&engine.place.topic, request).await?.pop())
}
