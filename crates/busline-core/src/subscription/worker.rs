//! A worker: takes the heads of ready lanes, decodes them, runs the handler, says how it ended.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::engine::{Engine, Next};
use super::guarded::Ran;
use super::hand::Pace;
use super::handler::{BatchHandler, Delivery, Handler, HandlerError, Verdict};
use super::lanes::{End, Subject, Ticket, Work};
use super::outcome::{Ended, Note};
use super::parking::Way;
use super::refused;
use crate::driver::ReadRequest;
use crate::envelope::Envelope;
use crate::error::{Error, Result};
use crate::record::Record;
use crate::topic::{Offset, Partition};

/// What the workers of a subscription run.
pub(crate) trait Runner: Send + Sync + 'static {
    /// Most attempts to be given at once, each of another key.
    fn size_max(&self, pace: &Pace) -> usize;

    /// Runs the handler for what the worker has in its hand, and notes its pace if that says how much to take next.
    fn run(&self, engine: &Engine, worker: usize, pace: &mut Pace) -> impl Future<Output = ()> + Send;
}

/// Works until the subscription closes. One of `concurrency` long-lived tasks: none is spawned for a record.
pub(crate) async fn work<R: Runner>(engine: Arc<Engine>, runner: Arc<R>, worker: usize) {
    let mut pace = Pace::new();
    loop {
        match poll_fn(|context| engine.poll_next(worker, runner.size_max(&pace), context)).await {
            Next::Run => {}
            Next::Yield => step_back().await,
            Next::End => return,
        }
        runner.run(&engine, worker, &mut pace).await;
    }
}

/// Lets others run first. Where the runtime's own yield would set the task aside for this thread, this queues it where
/// every thread finds it.
async fn step_back() {
    let mut stepped = false;
    poll_fn(|context| {
        if std::mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A handler that gets one event at a time.
pub(crate) struct OneByOne<H>(pub(crate) H);

impl<H: Handler> Runner for OneByOne<H> {
    fn size_max(&self, pace: &Pace) -> usize {
        pace.size()
    }

    async fn run(&self, engine: &Engine, worker: usize, pace: &mut Pace) {
        let (hand, slot) = (&engine.hands[worker], &engine.slots[worker]);
        let (began, mut waited, mut ended) = (Instant::now(), false, None);
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
        pace.note(began.elapsed(), waited);
    }
}

impl<H: Handler> OneByOne<H> {
    async fn attempt(&self, engine: &Engine, worker: usize, work: Work) -> Ended {
        let Work { ticket, subject } = work;
        let record = match subject {
            Subject::Record(record) => record,
            Subject::Offset(offset) => match fetch(engine, worker, ticket.partition, offset).await {
                Ok(record) => record,
                Err(end) => return ticket.ends(end, Note::Nothing),
            },
        };
        let envelope = match open(engine, &record) {
            Ok(envelope) => envelope,
            Err(unopened) => return unopened.ends(engine, ticket, record),
        };
        if !engine.is_held() && !hold(engine, worker).await {
            return ticket.ends(End::Cancelled(Box::new(record)), Note::Nothing);
        }
        let run = || self.0.handle(ticket.delivery(engine, envelope, record.offset));
        let ran = engine.slots[worker].run(&engine.tick, Some(engine.settings.handler_timeout), run).await;
        judge(engine, ticket, record, ran)
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

    async fn run(&self, engine: &Engine, worker: usize, _pace: &mut Pace) {
        let hand = &engine.hands[worker];
        let works = hand.all(&engine.slots[worker]);
        let (mut attempts, mut deliveries) = (Vec::with_capacity(works.len()), Vec::with_capacity(works.len()));
        let mut ended = Vec::new();
        for Work { ticket, subject } in works {
            let record = match subject {
                Subject::Record(record) => record,
                Subject::Offset(offset) => match fetch(engine, worker, ticket.partition, offset).await {
                    Ok(record) => record,
                    Err(end) => {
                        ended.push(ticket.ends(end, Note::Nothing));
                        continue;
                    }
                },
            };
            match open(engine, &record) {
                Ok(envelope) => {
                    deliveries.push(ticket.delivery(engine, envelope, record.offset));
                    attempts.push((ticket, record));
                }
                Err(unopened) => ended.push(unopened.ends(engine, ticket, record)),
            }
        }
        if !attempts.is_empty() && !engine.is_held() && !hold(engine, worker).await {
            let cancelled =
                attempts.drain(..).map(|(ticket, record)| ticket.ends(End::Cancelled(Box::new(record)), Note::Nothing));
            ended.extend(cancelled);
        }
        if !attempts.is_empty() {
            let run = || self.handler.handle(deliveries);
            let ran = engine.slots[worker].run(&engine.tick, Some(engine.settings.handler_timeout), run).await;
            let verdicts = verdicts(ran, attempts.len());
            ended.extend(
                attempts.into_iter().zip(verdicts).map(|((ticket, record), ran)| judge(engine, ticket, record, ran)),
            );
        }
        hand.end(ended);
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

/// A record that was let go, read again; how its attempt ends if there is none.
async fn fetch(
    engine: &Engine,
    worker: usize,
    partition: Partition,
    offset: Offset,
) -> std::result::Result<Record, End> {
    let topic = &engine.place.topic;
    match engine.slots[worker].run(&engine.tick, None, || read_again(engine, partition, offset)).await {
        Ran::Returned(Ok(Some(record))) => Ok(record),
        Ran::Returned(Ok(None)) => {
            tracing::warn!("{topic}/{partition}/{offset} is no longer there");
            Err(End::Gone)
        }
        Ran::Cancelled => Err(End::ReadLater(offset, Instant::now())),
        failed => {
            tracing::warn!("read {topic}/{partition}/{offset} again: {failed:?}");
            Err(End::ReadLater(offset, Instant::now() + engine.settings.retry.backoff_max))
        }
    }
}

/// The envelope of a record, if its handler is to run.
fn open(engine: &Engine, record: &Record) -> std::result::Result<Envelope, Unopened> {
    let way = engine.parking.as_ref().map_or(Way::Live, |parking| parking.way(record));
    if way == Way::Finished {
        return Err(Unopened::Finished);
    }
    match record.envelope(&engine.place.topic) {
        Ok(envelope) if way == Way::Live => Ok(envelope),
        Ok(_) => Err(Unopened::Behind),
        Err(error) => Err(Unopened::Undecodable(error)),
    }
}

/// Why the handler does not run for a record.
enum Unopened {
    /// It was parked and replayed before.
    Finished,
    /// Its key is parked.
    Behind,
    Undecodable(Error),
}

impl Unopened {
    fn ends(self, engine: &Engine, ticket: Ticket, record: Record) -> Ended {
        match self {
            Self::Finished => ticket.ends(End::Done, Note::Nothing),
            Self::Behind => ticket.ends(refused::behind(Box::new(record)), Note::Nothing),
            Self::Undecodable(error) => {
                ticket.ends(refused::undecodable(engine, Box::new(record), &error), Note::Failed)
            }
        }
    }
}

impl Ticket {
    fn delivery(&self, engine: &Engine, envelope: Envelope, offset: Offset) -> Delivery {
        let (partition, attempt) = (self.partition, self.attempt);
        Delivery { envelope, partition, offset, attempt, place: Arc::clone(&engine.place) }
    }

    fn ends(self, end: End, note: Note) -> Ended {
        Ended { ticket: self, end, note }
    }
}

/// Waits while the assignment may be over: others may have taken it while this process was frozen. Gives whether it is
/// held; not, if the subscription closes or the wait is broken off. Not part of the attempt: whoever waits here has not
/// begun, and its time does not run.
///
/// # Source
/// Promise C2.
async fn hold(engine: &Engine, worker: usize) -> bool {
    let look = async {
        while !engine.is_held() {
            if engine.is_closing() {
                return false;
            }
            tokio::time::sleep(HOLD_LOOK).await;
        }
        true
    };
    matches!(engine.slots[worker].run(&engine.tick, None, || look).await, Ran::Returned(true))
}

/// Pause between two looks at whether the assignment still stands.
const HOLD_LOOK: Duration = Duration::from_millis(20);

/// What follows from the end of a run.
///
/// # Source
/// Promises C6, C9.
fn judge(engine: &Engine, ticket: Ticket, record: Record, ran: Ran<Handled>) -> Ended {
    let (verdict, why) = match ran {
        Ran::Returned(Ok(())) => {
            end_failing(engine, &record, ticket.attempt);
            return ticket.ends(End::Done, Note::Handled);
        }
        Ran::Cancelled => return ticket.ends(End::Cancelled(Box::new(record)), Note::Nothing),
        Ran::Returned(Err(error)) => (error.verdict(), error),
        Ran::Panicked(text) => (Verdict::Retry, HandlerError::from(format!("panicked: {text}"))),
        Ran::TimedOut => (Verdict::Retry, HandlerError::from("Timeout/Handler: ran too long")),
        Ran::Blocked => (Verdict::Retry, HandlerError::from("Timeout/HandlerBlocked: blocked its thread")),
    };
    let (topic, partition, offset, attempt) = (&engine.place.topic, record.partition, record.offset, ticket.attempt);
    match verdict {
        Verdict::Skip => {
            tracing::warn!("skip {topic}/{partition}/{offset}: {why}");
            end_failing(engine, &record, attempt);
            ticket.ends(End::Done, Note::Skipped)
        }
        Verdict::Defer => {
            tracing::warn!("{topic}/{partition}/{offset} cannot be attempted: {why}");
            ticket.ends(End::ReadLater(offset, Instant::now() + engine.settings.retry.backoff_max), Note::Nothing)
        }
        Verdict::Retry if attempt < engine.settings.retry.attempts_max => {
            tracing::debug!("attempt {attempt} of {topic}/{partition}/{offset}: {why}");
            if let Some(parking) = engine.parking.as_ref().filter(|_| attempt == 1) {
                parking.note_failing(&record);
            }
            let due = Instant::now() + engine.settings.retry.pause_after(attempt);
            ticket.ends(End::Retry(Box::new(record), due), Note::Failed)
        }
        Verdict::Retry | Verdict::Park => {
            let end = refused::used_up(engine, Box::new(record), attempt, &why);
            ticket.ends(end, Note::Failed)
        }
    }
}

/// An event that had failed before is finished.
fn end_failing(engine: &Engine, record: &Record, attempt: u32) {
    if let Some(parking) = engine.parking.as_ref().filter(|_| attempt > 1) {
        parking.end_failing(record);
    }
}

async fn read_again(engine: &Engine, partition: Partition, offset: Offset) -> Result<Option<Record>> {
    let request = ReadRequest { partition, from: offset, to: offset.next(), records_max: 1, bytes_max: usize::MAX };
    Ok(engine.driver.read(&engine.place.topic, request).await?.pop())
}
