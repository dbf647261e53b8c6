//! P9: `flush` waits for all accepted before it; `close` settles everything by its deadline and leaves nothing behind.

use std::time::{Duration, Instant};

use busline_core::{Bus, Driver, Publisher, TopicName};
use std::sync::Arc;
use tokio::task::JoinSet;

use crate::envelopes::{accept, acked, definite, envelope, failed, indeterminate, outcome, refused};
use crate::failures::{Failures, Latch};
use crate::faulty::Shape;
use crate::harness::Harness;
use crate::residue::{Residue, tasks, tasks_settle};
use crate::stage::{SOON, Stage, fresh_topic, within};
use crate::stepping::Stepped;

/// Time that a close may take beyond its deadline on a busy machine.
const GRACE: Duration = Duration::from_millis(250);

/// Flush waits for everything accepted before it and for nothing accepted later.
pub async fn flush_waits_for_what_was_accepted_before_it(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let publisher = stage.publisher().await;
    within("an empty flush", publisher.flush()).await;
    faults.hold();
    let handed_over = accept(&publisher, envelope("a", 1));
    let in_line = accept(&publisher, envelope("b", 1));
    let mut flush = Stepped::new(publisher.flush());
    assert!(flush.steps(3).await.is_pending(), "nothing is settled yet");
    faults.release_next(1);
    acked(handed_over).await;
    assert!(flush.steps(3).await.is_pending(), "one of two is settled");
    within("the second batch", faults.held_at_least(1)).await;
    let later = accept(&publisher, envelope("c", 1));
    faults.release_next(1);
    acked(in_line).await;
    within("flush", flush.finish()).await;
    assert!(!later.is_settled(), "flush does not wait for what was accepted after it was called");
    faults.release();
    acked(later).await;
    stage.close().await;
}

/// Closed in the middle of a load: nothing more is accepted, every accepted envelope has one outcome, each acked one is
/// stored.
pub async fn close_in_the_middle_settles_everything(harness: impl Harness) {
    const TASKS: usize = 20;
    let stage = Stage::open(&harness).await;
    let publisher = stage.builder().window(256, 8 << 20).open().await.expect("opens");
    let mut senders = JoinSet::new();
    for task in 0..TASKS {
        senders.spawn(send_until_closed(publisher.clone(), format!("k{task}")));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let closed = within("close", publisher.close(SOON)).await;
    let ended = within("the senders", senders.join_all()).await;

    let acked: u64 = ended.iter().sum();
    let stats = closed.stats;
    assert_eq!(stats.accepted, stats.acked + stats.failed + stats.indeterminate, "one outcome for each: {stats:?}");
    assert_eq!(stats.acked, acked, "the counts are those of the receipts");
    assert!(stats.acked > 0 && closed.left.is_empty(), "{closed:?}");
    assert_eq!(stage.stored().await.len() as u64, acked, "what is acked is stored, and nothing else");
    refused(publisher.publish(envelope("late", 1)).await, "Closed/Publisher");
    stage.close().await;
}

/// Publishes until the publisher is closed; gives how many were acked.
async fn send_until_closed(publisher: Publisher, key: String) -> u64 {
    let mut receipts = Vec::new();
    for version in 1.. {
        match publisher.publish(envelope(&key, version)).await {
            Ok(receipt) => receipts.push(receipt),
            Err(error) => {
                assert_eq!(error.code(), "Closed/Publisher", "{error}");
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    let mut count = 0;
    for receipt in receipts {
        count += u64::from(outcome(receipt).await.is_ok());
    }
    count
}

/// Whoever waits for room is refused when the publisher closes.
pub async fn close_refuses_who_waits_for_room(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.builder().window(1, 8 << 20).open().await.expect("opens");
    faults.hold();
    let held = accept(&publisher, envelope("a", 1));
    let mut waits = Stepped::new(publisher.publish(envelope("b", 1)));
    assert!(waits.step().is_pending());
    let mut close = Stepped::new(publisher.close(SOON));
    assert!(close.steps(2).await.is_pending());
    refused(within("the refusal", waits.finish()).await, "Closed/Publisher");
    faults.release();
    within("close", close.finish()).await;
    acked(held).await;
    stage.close().await;
}

/// Whoever was given room before the close, but had not taken it, is refused too.
pub async fn room_given_before_the_close_accepts_nothing_after_it(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.builder().window(1, 8 << 20).open().await.expect("opens");
    faults.hold();
    let held = accept(&publisher, envelope("a", 1));
    let mut waits = Stepped::new(publisher.publish(envelope("b", 1)));
    assert!(waits.step().is_pending());
    faults.release();
    acked(held).await;
    assert!(waits.wakes() > 0, "the room was given");
    let closed = within("close", publisher.close(SOON)).await;
    refused(within("the refusal", waits.finish()).await, "Closed/Publisher");
    assert_eq!((closed.stats.accepted, publisher.stats().accepted), (1, 1), "nothing is accepted after close");
    stage.close().await;
}

/// An outcome that was given at a deadline is not given again when close gives up.
pub async fn close_gives_no_outcome_twice(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let failures = Failures::new();
    let opened = stage.builder().deadline(Duration::from_millis(100)).on_failure(failures.handler()).open().await;
    let publisher = opened.expect("opens");
    faults.hold();
    indeterminate(accept(&publisher, envelope("a", 1))).await;
    let closed = within("close", publisher.close(Duration::from_millis(200))).await;
    assert_eq!((closed.stats.indeterminate, closed.stats.failed), (1, 0), "{closed:?}");
    stage.close().await;
    assert_eq!(failures.all().len(), 1, "the handler hears of it once");
}

/// A backend that does not answer: close returns by its deadline with everything settled, and the sink is ended.
pub async fn close_returns_by_its_deadline_when_nothing_answers(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let failures = Failures::new();
    let before = tasks();
    let publisher = stage.builder().on_failure(failures.handler()).open().await.expect("opens");
    faults.hold();
    let handed_over = accept(&publisher, envelope("a", 1));
    let in_line = accept(&publisher, envelope("b", 1));
    let deadline = Duration::from_millis(500);
    let start = Instant::now();
    let closed = publisher.close(deadline).await;
    assert!(start.elapsed() <= deadline + GRACE, "close took {:?} of {deadline:?}", start.elapsed());
    assert!(closed.left.is_empty(), "the sink can be ended, so nothing is left: {closed:?}");
    assert_eq!((closed.stats.failed, closed.stats.indeterminate), (1, 1), "{closed:?}");
    indeterminate(handed_over).await;
    assert_eq!(failed(in_line, "CloseDeadline").await.code(), "Closed/CloseDeadline");
    assert_eq!(faults.sinks_open(), 0, "the sink was closed although it had not answered");
    failures.at_least(2).await;
    tasks_settle(before, "a close that ran into its deadline").await;
    assert_eq!(stage.stored().await.len(), 0, "what was settled as not stored is never sent afterwards");
    stage.close().await;
}

/// A sink that does not end is named, and close returns nevertheless.
pub async fn a_sink_that_does_not_end_is_named(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.publisher().await;
    faults.hold();
    faults.turn_deaf();
    let held = accept(&publisher, envelope("a", 1));
    let deadline = Duration::from_millis(300);
    let start = Instant::now();
    let closed = publisher.close(deadline).await;
    assert!(start.elapsed() <= deadline + GRACE, "close took {:?} of {deadline:?}", start.elapsed());
    assert!(closed.left.contains(&format!("the sink of {}", stage.topic)), "what did not end is named: {closed:?}");
    indeterminate(held).await;
    faults.hear();
    faults.release();
    stage.bus.close(SOON).await.expect("closes");
}

/// A failure handler that never returns is named, and is the only thing that remains: the sink has ended, the runtime's
/// threads are free, and the handler gets the rest when it returns.
pub async fn a_stuck_failure_handler_is_named(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let (failures, latch) = (Failures::new(), Latch::default());
    let before = tasks();
    let publisher = stage.builder().on_failure(failures.handler_behind(&latch)).open().await.expect("opens");
    for version in 1..=5 {
        faults.fail_next(1);
        failed(accept(&publisher, envelope("a", version)), "Injected").await;
    }
    let deadline = Duration::from_millis(300);
    let start = Instant::now();
    let closed = publisher.close(deadline).await;
    assert!(start.elapsed() <= deadline + GRACE, "close took {:?} of {deadline:?}", start.elapsed());
    assert_eq!(closed.left, [format!("the failure handler of {}", stage.topic)], "who is stuck is named");
    assert_eq!(faults.sinks_open(), 0, "the sink does not wait for the handler");
    tasks_settle(before, "a close with a stuck handler").await;
    latch.open();
    assert_eq!(failures.at_least(5).await.len(), 5, "the handler gets every failure once, also after the close");
    tasks_settle(before, "the end of the handler").await;
    stage.bus.close(SOON).await.expect("closes");
}

/// Every close gives the same result: a second one, one at the same time, and one on another handle.
pub async fn close_is_idempotent(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    drop(accept(&publisher, envelope("a", 1)));
    let mut closes = JoinSet::new();
    for _ in 0..3 {
        let publisher = publisher.clone();
        closes.spawn(async move { publisher.close(SOON).await });
    }
    let at_once = within("three closes at once", closes.join_all()).await;
    let first = at_once[0].clone();
    assert!(at_once.iter().all(|closed| *closed == first), "closes at the same time give one result: {at_once:?}");
    assert_eq!(first.stats.acked, 1, "{first:?}");
    let again = within("a later close", publisher.close(Duration::ZERO)).await;
    assert_eq!(first, again, "the second close gives the first one's result");
    assert_eq!(within("bus.close", stage.bus.close(SOON)).await.expect("closes").len(), 1);
    within("bus.close", stage.bus.close(SOON)).await.expect("a second close of the bus succeeds");
}

/// A close without end as its deadline, and one without any time, are both legal.
pub async fn close_takes_any_deadline(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let patient = stage.publisher().await;
    acked(accept(&patient, envelope("a", 1))).await;
    within("a close with the longest deadline", patient.close(Duration::MAX)).await;
    let impatient = stage.publisher().await;
    faults.hold();
    let held = accept(&impatient, envelope("a", 2));
    let closed = within("a close without time", impatient.close(Duration::ZERO)).await;
    assert_eq!(closed.stats.accepted, closed.stats.indeterminate + closed.stats.failed, "{closed:?}");
    indeterminate(held).await;
    faults.release();
    stage.bus.close(SOON).await.expect("closes");
}

/// The end of the last handle closes: what was accepted is settled, the receipts say so, and the task ends.
pub async fn the_end_of_the_last_handle_settles_what_was_accepted(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let before = tasks();
    let publisher = stage.publisher().await;
    faults.hold();
    let receipt = accept(&publisher, envelope("a", 1));
    let clone = publisher.clone();
    drop(publisher);
    let second = accept(&clone, envelope("a", 2));
    drop(clone);
    faults.release();
    acked(receipt).await;
    acked(second).await;
    tasks_settle(before, "the end of the last handle").await;
    assert_eq!(faults.sinks_open(), 0, "the sink ends with its publisher");
    stage.close().await;
}

/// Closing the bus closes its publishers, gives what each ended with, and every later call is refused.
pub async fn closing_the_bus_closes_its_publishers(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let other_topic = fresh_topic();
    let one = stage.publisher().await;
    let two = stage.bus.publisher(&other_topic).open().await.expect("opens");
    drop((accept(&one, envelope("a", 1)), accept(&two, envelope("a", 1))));
    let ends = within("bus.close", stage.bus.close(SOON)).await.expect("closes");
    assert_eq!(ends.iter().map(|end| end.stats.acked).collect::<Vec<_>>(), [1, 1], "{ends:?}");
    for publisher in [&one, &two] {
        refused(publisher.publish(envelope("a", 2)).await, "Closed/Publisher");
        definite(publisher.publish_batch(vec![envelope("a", 2)]).await.expect("one outcome").remove(0), "Publisher");
    }
    refused(stage.builder().open().await, "Closed/Bus");
    every_call_is_closed(&**stage.driver(), &stage.name()).await;
}

async fn every_call_is_closed(driver: &dyn Driver, topic: &TopicName) {
    let partition = busline_core::Partition(0);
    let from = busline_core::Offset(0);
    let request = busline_core::ReadRequest { partition, from, to: from.next(), records_max: 1, bytes_max: 1 };
    refused(driver.create_topic(topic, &busline_core::TopicSpec::default()).await, "Closed/Bus");
    refused(driver.topic(topic).await, "Closed/Bus");
    refused(driver.topics().await, "Closed/Bus");
    refused(driver.delete_topic(topic).await, "Closed/Bus");
    refused(driver.trim(topic, partition, from).await, "Closed/Bus");
    refused(driver.read(topic, request).await, "Closed/Bus");
    refused(driver.bounds(topic, partition).await, "Closed/Bus");
    refused(driver.probe().await, "Closed/Bus");
    within("a second close", driver.close(tokio::time::Instant::now() + SOON)).await.expect("closing twice is legal");
}

/// A close may be awaited where there is no runtime.
pub async fn close_needs_no_runtime(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    acked(accept(&publisher, envelope("a", 1))).await;
    let thread = std::thread::spawn(move || {
        let mut close = Stepped::new(publisher.close(SOON));
        loop {
            if let std::task::Poll::Ready(closed) = close.step() {
                return closed;
            }
            std::thread::yield_now();
        }
    });
    let joined = tokio::task::spawn_blocking(move || thread.join()).await.expect("joins");
    let closed = joined.expect("no panic outside a runtime");
    assert!(closed.left.is_empty(), "{closed:?}");
    stage.close().await;
}

/// After open, publish and close nothing is left: the same tasks, threads and descriptors as before. Three ways out:
/// close, the end of the last handle, and a close that runs into its deadline.
pub async fn nothing_is_left_after_close(harness: impl Harness) {
    cycle(&harness, WayOut::Close).await;
    let before = Residue::at_rest().await;
    for _ in 0..20 {
        for way_out in [WayOut::Close, WayOut::LastHandle, WayOut::Deadline, WayOut::AtOnce] {
            cycle(&harness, way_out).await;
        }
    }
    before.settles("eighty cycles of open, publish and close").await;
}

/// Two buses at once, closed in both orders, leave nothing.
pub async fn two_buses_leave_nothing_in_either_order(harness: impl Harness) {
    cycle(&harness, WayOut::Close).await;
    let before = Residue::at_rest().await;
    for first in [0, 1] {
        let mut stages = vec![Stage::open(&harness).await, Stage::open(&harness).await];
        for stage in &stages {
            acked(accept(&stage.publisher().await, envelope("k", 1))).await;
        }
        stages.remove(first).close().await;
        stages.remove(0).close().await;
    }
    before.settles("two buses").await;
}

/// The end of the runtime leaves no thread and no descriptor, also with an answer outstanding.
pub async fn the_end_of_the_runtime_leaves_nothing(harness: impl Harness) {
    cycle(&harness, WayOut::Close).await;
    let before = Residue::at_rest().await;
    for _ in 0..5 {
        let (stage, faults) = Stage::faulty(&harness).await;
        faults.hold();
        let (bus, topic) = (stage.bus.clone(), stage.topic.clone());
        let thread = std::thread::spawn(move || {
            let built = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let runtime = built.expect("a second runtime");
            runtime.block_on(async {
                let publisher = bus.publisher(&topic).on_failure(drop).open().await.expect("opens");
                drop(accept(&publisher, envelope("k", 1)));
            });
        });
        let joined = tokio::task::spawn_blocking(move || thread.join()).await.expect("joins");
        joined.expect("no panic");
        stage.bus.close(SOON).await.expect("closes");
        assert_eq!(faults.sinks_open(), 0, "closing the bus ends the sink that its publisher's runtime left");
    }
    before.settles("the end of a publisher's runtime").await;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WayOut {
    Close,
    LastHandle,
    Deadline,
    /// A deadline that leaves nobody any time.
    AtOnce,
}

/// Opens a bus, publishes 100 envelopes, and leaves.
async fn cycle(harness: &impl Harness, way_out: WayOut) {
    let (stage, faults) = Stage::faulty(harness).await;
    let publisher = stage.builder().on_failure(drop).open().await.expect("opens");
    let receipts: Vec<_> = (0..100).map(|n| accept(&publisher, envelope(&format!("k{}", n % 7), n + 1))).collect();
    for receipt in receipts {
        acked(receipt).await;
    }
    match way_out {
        WayOut::Close => drop(publisher.close(SOON).await),
        WayOut::LastHandle => drop(publisher),
        WayOut::Deadline | WayOut::AtOnce => {
            faults.hold();
            drop(accept(&publisher, envelope("held", 1)));
            let deadline = Duration::from_millis(if way_out == WayOut::AtOnce { 0 } else { 40 });
            let closed = publisher.close(deadline).await;
            assert_eq!(closed.stats.indeterminate, 1, "{closed:?}");
        }
    }
    let (bus, weak): (Bus, _) = (stage.bus.clone(), Arc::downgrade(stage.driver()));
    stage.bus.close(SOON).await.expect("closes");
    assert_eq!(faults.sinks_untold(), 0, "a sink is told to end, also where nobody waits for it");
    drop(bus);
    drop(stage);
    for _ in 0..1_000 {
        if weak.strong_count() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("after close and the end of the last handle, {} references to the driver are left", weak.strong_count());
}
