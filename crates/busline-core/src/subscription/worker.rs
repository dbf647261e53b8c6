//! A worker: takes the head of a ready lane, decodes it, runs the handler, says how it ended.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::engine::{Ended, Engine, Note};
use super::guarded::{Ran, Slot};
use super::handler::{Delivery, Handler, HandlerError, Verdict};
use super::lanes::{End, Subject, Work, size_of};
use crate::driver::ReadRequest;
use crate::error::Result;
use crate::record::Record;
use crate::topic::Offset;

/// Works until the subscription closes. One of `concurrency` long-lived tasks: none is spawned for a record.
pub(crate) async fn work<H: Handler>(engine: Arc<Engine>, handler: Arc<H>, worker: usize) {
    let mut ended = None;
    while let Some(work) = poll_fn(|context| engine.poll_next(worker, &mut ended, context)).await {
        ended = Some(attempt(&engine, &*handler, worker, work).await);
    }
}

async fn attempt<H: Handler>(engine: &Engine, handler: &H, worker: usize, work: Work) -> Ended {
    let Work { lane, partition, ordinal, attempt, subject } = work;
    let record = match subject {
        Subject::Record(record) => record,
        Subject::Offset(offset) => match read_again(engine, partition, offset).await {
            Ok(Some(record)) => {
                engine.with_lanes(|lanes| lanes.read_again(&record));
                record
            }
            Ok(None) => return Ended { lane, ordinal, bytes: 0, end: End::Gone, note: Note::Nothing },
            Err(error) => {
                tracing::warn!("read {}/{partition}/{offset} again: {error}", engine.place.topic);
                let due = Instant::now() + engine.settings.retry.backoff_max;
                return Ended { lane, ordinal, bytes: 0, end: End::ReadLater(offset, due), note: Note::Nothing };
            }
        },
    };
    let bytes = size_of(&record);
    let envelope = match record.envelope(&engine.place.topic) {
        Ok(envelope) => envelope,
        Err(error) => {
            tracing::error!("{error}");
            return Ended { lane, ordinal, bytes, end: End::Undecodable(record), note: Note::Failed };
        }
    };
    let offset = record.offset;
    let delivery = Delivery { envelope, partition, offset, attempt, place: Arc::clone(&engine.place) };
    let slot = &engine.slots[worker];
    let ran = match hold(engine, slot).await {
        Hold::Over => Ran::Cancelled,
        Hold::Stands => {
            let until = Instant::now() + engine.settings.handler_timeout;
            slot.run(&engine.tick, until, handler.handle(delivery)).await
        }
    };
    let (end, note) = judge(engine, record, attempt, ran);
    Ended { lane, ordinal, bytes, end, note }
}

/// Whether the handler may begin.
enum Hold {
    Stands,
    /// The partition is lost, or the subscription closes.
    Over,
}

/// Waits while the assignment may be over: others may have taken it while this process was frozen. The handler's time
/// does not run meanwhile, or a backend that takes no beat for a while would use attempts up that were never made.
///
/// # Source
/// Promise C2.
async fn hold(engine: &Engine, slot: &Slot) -> Hold {
    while engine.source.holds_until().is_some_and(|until| until <= Instant::now()) {
        if slot.is_cancelled() || engine.is_closing() {
            return Hold::Over;
        }
        tokio::time::sleep(HOLD_LOOK).await;
    }
    if slot.is_cancelled() { Hold::Over } else { Hold::Stands }
}

/// Pause between two looks at whether the assignment still stands.
const HOLD_LOOK: Duration = Duration::from_millis(20);

/// What follows from the end of a run.
///
/// # Source
/// Promises C6, C9.
fn judge(engine: &Engine, record: Record, attempt: u32, ran: Ran) -> (End, Note) {
    let (verdict, why, note) = match ran {
        Ran::Returned(Ok(())) => return (End::Done, Note::Handled),
        Ran::Cancelled => return (End::Cancelled(record), Note::Nothing),
        Ran::Returned(Err(error)) => (error.verdict(), error, Note::Failed),
        Ran::Panicked(text) => (Verdict::Retry, HandlerError::from(format!("panicked: {text}")), Note::Failed),
        Ran::TimedOut => (Verdict::Retry, HandlerError::from("Timeout/Handler: ran too long"), Note::Failed),
        Ran::Blocked => {
            (Verdict::Retry, HandlerError::from("Timeout/HandlerBlocked: blocked its thread"), Note::Blocked)
        }
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
            (End::Retry(record, due), note)
        }
        Verdict::Retry | Verdict::Park => {
            tracing::error!("attempt {attempt} of {topic}/{partition}/{offset} was the last, its key waits: {why}");
            (End::Stuck(record), note)
        }
    }
}

async fn read_again(engine: &Engine, partition: crate::topic::Partition, offset: Offset) -> Result<Option<Record>> {
    let request = ReadRequest { partition, from: offset, to: offset.next(), records_max: 1, bytes_max: usize::MAX };
    Ok(engine.driver.read(&engine.place.topic, request).await?.pop())
}
