//! P2 and P7: every accepted envelope has exactly one outcome in time, and each that was not acked reaches the handler.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use busline_core::{Bus, Envelope, ErrorKind, Payload, Publisher, Receipt, TryPublishError};

use crate::envelopes::{accept, acked, definite, envelope, failed, indeterminate, names, outcome};
use crate::failures::{Failures, Latch};
use crate::faulty::{Shape, Side};
use crate::harness::Harness;
use crate::stage::{Stage, within};
use crate::stepping::Stepped;

const DEADLINE: Duration = Duration::from_millis(300);

/// A deadline that no case lives to see.
const NEVER: Duration = Duration::from_secs(300);

/// An envelope that was handed over and not answered is indeterminate between its deadline and one second later.
pub async fn an_unanswered_envelope_is_indeterminate_by_its_deadline(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let publisher = stage.builder().deadline(DEADLINE).open().await.expect("opens");
    faults.hold();
    let start = Instant::now();
    let error = indeterminate(accept(&publisher, envelope("a", 1))).await;
    let waited = start.elapsed();
    assert_eq!(error.code(), "Timeout/Deadline", "{error}");
    assert!(waited >= DEADLINE, "reported after {waited:?}, before its deadline");
    assert!(waited <= DEADLINE + Duration::from_secs(1), "reported after {waited:?}, later than deadline + 1 s");
    faults.release();
    drop(publisher);
    stage.close().await;
}

/// An envelope that the backend never got has failed at its deadline: the caller may publish it again.
pub async fn what_was_never_handed_over_fails_by_its_deadline(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let publisher = stage.builder().deadline(DEADLINE).open().await.expect("opens");
    faults.hold();
    let handed_over = accept(&publisher, envelope("a", 1));
    let first = envelope("b", 1);
    let in_line = accept(&publisher, first.clone());
    let behind = accept(&publisher, envelope("b", 2));
    let start = Instant::now();
    indeterminate(handed_over).await;
    failed(in_line, "Deadline").await;
    names(&failed(behind, "BehindFailed").await, &first);
    assert!(start.elapsed() <= DEADLINE + Duration::from_secs(1), "reported later than deadline + 1 s");
    faults.release();
    within("the late answer", publisher.flush()).await;
    drop(publisher);
    stage.close().await;
}

/// An answer that comes after the deadline changes nothing any more; the record may be stored.
pub async fn a_late_answer_changes_nothing(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let failures = Failures::new();
    let opened = stage.builder().deadline(DEADLINE).on_failure(failures.handler()).open().await;
    let publisher = opened.expect("opens");
    faults.hold();
    let late = envelope("a", 1);
    indeterminate(accept(&publisher, late.clone())).await;
    failures.at_least(1).await;
    faults.release();
    acked(accept(&publisher, envelope("a", 2))).await;

    let stats = publisher.stats();
    assert_eq!((stats.acked, stats.indeterminate, stats.failed), (1, 1, 0), "one outcome for each: {stats:?}");
    assert_eq!(failures.ids(), std::slice::from_ref(&late.id), "the handler hears of each failure once");
    assert_eq!(stage.stored().await.count(&late.id), 1, "an indeterminate envelope may be stored, once");
    drop(publisher);
    stage.close().await;
}

/// A batch that a driver drops without an answer is indeterminate at once.
pub async fn a_forgotten_batch_is_indeterminate(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.publisher().await;
    faults.forget_next(1);
    let error = indeterminate(accept(&publisher, envelope("a", 1))).await;
    assert_eq!(error.code(), "Internal/OutcomeForgotten", "{error}");
    acked(accept(&publisher, envelope("a", 2))).await;
    drop(publisher);
    stage.close().await;
}

/// A sink that panics gets nothing more: what it was given has an outcome at once, whether it keeps the batch or not, and
/// whoever publishes after that is refused by name.
pub async fn a_sink_that_panics_ends_its_publisher(harness: impl Harness) {
    for side in [Side::Before, Side::After] {
        let (stage, faults) = Stage::faulty(&harness).await;
        let failures = Failures::new();
        let opened = stage.builder().deadline(NEVER).on_failure(failures.handler()).open().await;
        let publisher = opened.expect("opens");
        faults.hold();
        faults.panic_at_next(side);
        indeterminate(accept(&publisher, envelope("a", 1))).await;
        let refused = within("publish", publisher.publish(envelope("b", 1))).await;
        assert_eq!(definite(refused, "SinkPanicked").kind(), ErrorKind::Internal);
        let refused = publisher.try_publish(envelope("c", 1)).expect_err("the sink gets nothing more");
        assert!(matches!(&refused, TryPublishError::Refused(error) if error.reason() == "SinkPanicked"), "{refused}");
        assert_eq!(failures.at_least(1).await.len(), 1, "the handler hears of what was accepted");
        let closed = within("close", publisher.close(Duration::from_secs(5))).await;
        assert!(closed.left.is_empty(), "{closed:?}");
        assert_eq!((closed.stats.accepted, closed.stats.indeterminate), (1, 1), "{closed:?}");
        stage.close().await;
    }
}

/// The same while a batch is answered, on whatever thread that is: the answer counts, and what waits behind has failed.
pub async fn a_sink_that_panics_later_fails_what_waits(harness: impl Harness) {
    let shape = Shape { batch_records_max: Some(1), ..Shape::one_at_a_time() };
    let (stage, faults) = Stage::shaped(&harness, shape).await;
    let publisher = stage.builder().deadline(NEVER).open().await.expect("opens");
    faults.hold();
    let first = accept(&publisher, envelope("a", 1));
    let second = accept(&publisher, envelope("b", 1));
    let third = accept(&publisher, envelope("c", 1));
    faults.panic_at_next(Side::Before);
    faults.release();
    acked(first).await;
    indeterminate(second).await;
    failed(third, "SinkPanicked").await;
    let closed = within("close", publisher.close(Duration::from_secs(5))).await;
    assert!(closed.left.is_empty(), "{closed:?}");
    stage.close().await;
}

/// Failed and indeterminate envelopes reach the handler once, with all that they were published with, whether or not
/// somebody holds their receipts.
pub async fn each_failure_reaches_the_handler_once_with_its_envelope(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let failures = Failures::new();
    let publisher = stage.builder().on_failure(failures.handler()).open().await.expect("opens");
    let mut full = envelope("ключ é 🙂", 7)
        .with_header("x", "1")
        .with_header("x", "2")
        .with_attribute("region", "eu")
        .with_payload(Payload::bytes_of("application/octet-stream", vec![0, 255, 10]).expect("legal"));
    full.source = Some("/somewhere".into());
    full.tenant = Some("t1".into());
    full.correlation_id = Some("c1".into());
    faults.fail_next(1);
    let dropped = accept(&publisher, full.clone());
    drop(dropped);
    failures.at_least(1).await;
    faults.swallow_next(1);
    let lost = envelope("b", 1);
    indeterminate(accept(&publisher, lost.clone())).await;
    failures.at_least(2).await;
    acked(accept(&publisher, envelope("c", 1))).await;
    within("flush", publisher.flush()).await;
    drop(publisher);
    stage.close().await;

    let given = failures.all();
    assert_eq!(given.len(), 2, "an acked envelope is no failure, and each failure is given once: {given:?}");
    assert_eq!(given[0].envelope, full, "the handler gets the envelope as it was published");
    assert!(given[0].error.is_definite() && !given[1].error.is_definite(), "with its own outcome");
    assert_eq!(given[1].envelope.id, lost.id);
}

/// A handler that takes its time, and fewer places in the window than failures: every outcome comes, none is dropped.
pub async fn a_busy_handler_loses_no_outcome(harness: impl Harness) {
    const COUNT: usize = 300;
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let (failures, latch) = (Failures::new(), Latch::default());
    let publisher =
        stage.builder().window(64, 8 << 20).on_failure(failures.handler_behind(&latch)).open().await.expect("opens");
    faults.fail_next(COUNT);
    let first: Vec<_> = (0..64).map(|n| accept(&publisher, envelope(&format!("k{n}"), 1))).collect();
    for receipt in first {
        outcome(receipt).await.expect_err("refused, although the handler is busy");
    }
    let sender = {
        let publisher = publisher.clone();
        let rest = (64..COUNT).map(|n| envelope(&format!("k{n}"), 1));
        async move {
            for sent in rest {
                drop(publisher.publish(sent).await.expect("a full window waits"));
            }
        }
    };
    let mut sender = Stepped::new(sender);
    assert!(sender.steps(3).await.is_pending(), "failures keep their room until the handler has them");
    latch.open();
    within("room after the handler went on", sender.finish()).await;
    let given = failures.at_least(COUNT).await;
    assert_eq!(given.len(), COUNT, "each failure once");
    drop(publisher);
    stage.close().await;
}

/// What was reported at its deadline keeps its room until the sink has let go of it *and* the handler has it, so that a busy
/// handler bounds what waits for it.
pub async fn an_overdue_failure_keeps_its_room_for_the_handler(harness: impl Harness) {
    let shape = Shape { batches_in_flight_max: Some(2), ..Shape::default() };
    let (stage, faults) = Stage::shaped(&harness, shape).await;
    let (failures, latch) = (Failures::new(), Latch::default());
    let builder = stage.builder().window(2, 8 << 20).deadline(Duration::from_secs(2));
    let publisher = builder.on_failure(failures.handler_behind(&latch)).open().await.expect("opens");
    faults.hold();
    let first: Vec<_> = (0..2).map(|n| accept(&publisher, envelope(&format!("k{n}"), 1))).collect();
    for receipt in first {
        assert!(!outcome(receipt).await.expect_err("overdue").is_definite(), "the sink has it");
    }
    faults.release();
    // The room of the one that the handler has; its ack says that the sink has let go of both.
    let third = within("room", publisher.publish(envelope("k2", 1))).await.expect("accepted");
    acked(third).await;
    faults.hold();
    let fourth = accept(&publisher, envelope("k3", 1));
    let fifth = publisher.try_publish(envelope("k4", 1));
    assert!(matches!(fifth, Err(TryPublishError::Full(_))), "the failure that waits keeps its room: {fifth:?}");
    latch.open();
    assert_eq!(failures.at_least(2).await.len(), 2);
    faults.release();
    drop(outcome(fourth).await);
    let sixth = within("room", publisher.publish(envelope("k5", 1))).await.expect("accepted");
    acked(sixth).await;
    drop(publisher);
    stage.close().await;
}

/// A panic in the handler is caught and counted; the next failure reaches it as usual.
pub async fn a_panicking_handler_is_counted(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = move |_| {
        counted.fetch_add(1, Ordering::AcqRel);
        panic!("the user's own mistake");
    };
    let publisher = stage.builder().on_failure(handler).open().await.expect("opens");
    faults.fail_next(3);
    for version in 1..=3 {
        failed(accept(&publisher, envelope("a", version)), "Injected").await;
    }
    acked(accept(&publisher, envelope("a", 4))).await;
    let closed = within("close", publisher.close(Duration::from_secs(5))).await;
    assert_eq!(calls.load(Ordering::Acquire), 3, "a panic keeps no failure from the handler");
    assert_eq!(closed.stats.handler_panics, 3);
    assert!(closed.left.is_empty(), "{closed:?}");
    stage.close().await;
}

/// Every receipt of a batch is woken, whichever others were settled or polled before.
pub async fn every_waiting_receipt_is_woken(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let publisher = stage.publisher().await;
    faults.hold();
    let first = accept(&publisher, envelope("a", 1));
    within("the first batch", faults.held_at_least(1)).await;
    let behind = accept(&publisher, envelope("a", 2));
    let mut x = Stepped::new(accept(&publisher, envelope("x", 1)));
    let mut y = Stepped::new(accept(&publisher, envelope("y", 1)));
    assert!(x.step().is_pending());
    faults.fail_next(1);
    faults.release_next(1);
    failed(first, "Injected").await;
    failed(behind, "BehindFailed").await;
    // Settling one of the batch has woken the others; now they wait again, in another order.
    assert!(y.step().is_pending());
    assert!(x.step().is_pending());
    let (woken_x, woken_y) = (x.wakes(), y.wakes());
    faults.release();
    within("flush", publisher.flush()).await;
    assert!(x.wakes() > woken_x, "a receipt that waits must be woken by its outcome");
    assert!(y.wakes() > woken_y, "another receipt's waiting must not replace its waker");
    drop((x, y, publisher));
    stage.close().await;
}

/// A receipt that moves to another task takes no waker from those that stayed.
pub async fn a_receipt_that_moves_leaves_the_others_awake(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let publisher = stage.publisher().await;
    faults.hold();
    let blocker = accept(&publisher, envelope("z", 1));
    within("the first batch", faults.held_at_least(1)).await;
    let moves = Arc::new(Mutex::new(accept(&publisher, envelope("a", 1))));
    let stays = accept(&publisher, envelope("b", 1));
    let mut task = Stepped::new(first_of(Arc::clone(&moves), stays));
    assert!(task.step().is_pending(), "one task waits for both");
    let mut other = Stepped::new(poll_fn(move |context| Pin::new(&mut *locked(&moves)).poll(context)));
    assert!(other.step().is_pending(), "now another one waits for the first");
    faults.release();
    within("flush", publisher.flush()).await;
    acked(blocker).await;
    assert!(other.wakes() > 0, "the task that has the receipt now must be woken");
    assert!(task.wakes() > 0, "the task that keeps the other receipt must be woken");
    drop((task, other, publisher));
    stage.close().await;
}

/// Polls the first receipt once, and then waits for the second.
async fn first_of(first: Arc<Mutex<Receipt>>, second: Receipt) {
    poll_fn(|context| {
        drop(Pin::new(&mut *locked(&first)).poll(context));
        Poll::Ready(())
    })
    .await;
    drop(second.await);
}

fn locked(receipt: &Mutex<Receipt>) -> MutexGuard<'_, Receipt> {
    receipt.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A receipt may be awaited on another runtime, and outlives the end of its publisher's: what the backend never got has
/// failed, the rest is indeterminate, the handler hears of all, and the publisher accepts nothing more.
pub async fn a_receipt_outlives_the_runtime_of_its_publisher(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let failures = Failures::new();
    faults.hold();
    let topic = stage.topic.clone();
    let (publisher, handed_over, in_line) = on_its_own_runtime(stage.bus.clone(), topic, failures.clone()).await;

    let error = indeterminate(handed_over).await;
    assert_eq!(error.code(), "Closed/RuntimeGone", "{error}");
    failed(in_line, "RuntimeGone").await;
    let refused = within("publish", publisher.publish(envelope("a", 2))).await;
    assert_eq!(definite(refused, "RuntimeGone").kind(), ErrorKind::Closed);
    assert_eq!(failures.at_least(2).await.len(), 2, "the end of the runtime keeps no failure from the handler");
    faults.release();
    drop(publisher);
    stage.close().await;
}

async fn on_its_own_runtime(bus: Bus, topic: String, failures: Failures) -> (Publisher, Receipt, Receipt) {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a second runtime");
        runtime.block_on(async {
            let opened = bus.publisher(&topic).on_failure(failures.handler()).open().await;
            let publisher = opened.expect("opens on any runtime");
            let handed_over = accept(&publisher, envelope("a", 1));
            let in_line = accept(&publisher, envelope("b", 1));
            (publisher, handed_over, in_line)
        })
    });
    let joined = tokio::task::spawn_blocking(move || thread.join()).await.expect("joins");
    joined.expect("the thread ends without a panic")
}

/// Large envelopes and small ones come back to the handler alike.
pub async fn a_failure_of_any_size_reaches_the_handler(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let failures = Failures::new();
    let publisher = stage.builder().on_failure(failures.handler()).open().await.expect("opens");
    for (place, size) in [0, 1, 500_000].into_iter().enumerate() {
        faults.fail_next(1);
        let payload = Payload::bytes_of("application/octet-stream", vec![7; size]).expect("legal");
        let sent = Envelope::new("k", "Tested", 1).with_payload(payload);
        failed(accept(&publisher, sent.clone()), "Injected").await;
        let given = &failures.at_least(place + 1).await[place];
        assert_eq!(given.envelope.payload, sent.payload, "{size} bytes");
    }
    drop(publisher);
    stage.close().await;
}
