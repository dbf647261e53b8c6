//! P8: a dropped future has accepted all or nothing, and a dropped receipt changes nothing.

use std::collections::HashSet;

use crate::envelopes::{accept, acked, envelope};
use crate::failures::Failures;
use crate::faulty::Shape;
use crate::harness::Harness;
use crate::residue::{tasks, tasks_settle};
use crate::stage::{SOON, Stage, within};
use crate::stepping::Stepped;

/// More polls than any of these calls has await points.
const POLLS_MAX: usize = 6;

/// A publish dropped at any await point was accepted whole or not at all, with and without room, and keeps no room.
pub async fn a_dropped_publish_was_accepted_whole_or_not_at_all(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.builder().window(2, 8 << 20).open().await.expect("opens");
    let mut accepted = HashSet::new();
    for polls in 0..POLLS_MAX {
        for full in [false, true] {
            faults.hold();
            let held: Vec<_> = if full {
                vec![accept(&publisher, envelope("h", 1)), accept(&publisher, envelope("h", 2))]
            } else {
                Vec::new()
            };
            let before = publisher.stats().accepted;
            let sent = envelope("k", polls as u64 + 1);
            let id = sent.id.clone();
            let mut call = Stepped::new(publisher.publish(sent));
            let returned = call.steps(polls).await.is_ready();
            drop(call);
            let now = publisher.stats().accepted;
            assert_eq!(now - before, u64::from(returned), "accepted exactly if the call has returned ({polls} polls)");
            if returned {
                accepted.insert(id);
            }
            faults.release();
            within("flush", publisher.flush()).await;
            for receipt in held {
                acked(receipt).await;
            }
        }
    }
    assert!(!accepted.is_empty(), "with room, a publish returns");
    let stored: HashSet<_> = stage.stored().await.ids_of("k").into_iter().collect();
    assert_eq!(stored, accepted, "exactly what was accepted is stored");
    faults.hold();
    let whole = [accept(&publisher, envelope("w", 1)), accept(&publisher, envelope("w", 2))];
    faults.release();
    for receipt in whole {
        acked(receipt).await;
    }
    stage.close().await;
}

/// A publish dropped just when room was given to it passes the room on.
pub async fn a_dropped_wait_passes_its_room_on(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.builder().window(1, 8 << 20).open().await.expect("opens");
    faults.hold();
    let held = accept(&publisher, envelope("k", 1));
    let mut dropped = Stepped::new(publisher.publish(envelope("k", 2)));
    let mut next = Stepped::new(publisher.publish(envelope("k", 3)));
    assert!(dropped.step().is_pending() && next.step().is_pending());
    faults.release();
    acked(held).await;
    assert!(dropped.wakes() > 0, "the first in line was given the room");
    drop(dropped);
    acked(within("the room that was passed on", next.finish()).await.expect("accepted")).await;
    stage.close().await;
}

/// A dropped receipt changes nothing: the envelope is stored, or its failure reaches the handler.
pub async fn a_dropped_receipt_changes_nothing(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let failures = Failures::new();
    let publisher = stage.builder().on_failure(failures.handler()).open().await.expect("opens");
    for polls in 0..3 {
        let mut receipt = Stepped::new(accept(&publisher, envelope("stored", polls + 1)));
        drop(receipt.steps(polls as usize).await);
    }
    within("flush", publisher.flush()).await;
    assert_eq!(stage.stored().await.ids_of("stored").len(), 3);
    let failing = envelope("failing", 1);
    faults.hold();
    drop(accept(&publisher, failing.clone()));
    let behind = envelope("failing", 2);
    drop(accept(&publisher, behind.clone()));
    faults.fail_next(1);
    faults.release();
    failures.at_least(2).await;
    assert_eq!(failures.ids(), [failing.id, behind.id], "each failure once, in order");
    stage.close().await;
}

/// A batch call dropped at any await point has accepted a beginning of its envelopes, and those are stored.
pub async fn a_dropped_batch_call_keeps_a_beginning(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.builder().window(4, 8 << 20).open().await.expect("opens");
    let mut before = 0;
    for polls in 0..POLLS_MAX {
        let key = format!("k{polls}");
        let batch: Vec<_> = (1..=10).map(|version| envelope(&key, version)).collect();
        let ids: Vec<_> = batch.iter().map(|sent| sent.id.clone()).collect();
        faults.hold();
        let mut call = Stepped::new(publisher.publish_batch(batch));
        assert!(call.steps(polls).await.is_pending(), "ten envelopes do not fit a held window of four");
        drop(call);
        let accepted = (publisher.stats().accepted - before) as usize;
        before += accepted as u64;
        faults.release();
        within("flush", publisher.flush()).await;
        assert_eq!(stage.stored().await.ids_of(&key), ids[..accepted], "what was accepted is a beginning, and stored");
    }
    assert!(before > 0, "a polled call accepts");
    stage.close().await;
}

/// An atomic call dropped at any await point has accepted all or nothing.
pub async fn a_dropped_atomic_call_is_all_or_nothing(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.builder().window(4, 8 << 20).open().await.expect("opens");
    if stage.driver().capabilities().atomic_batch_max == 0 {
        crate::envelopes::refused(publisher.publish_atomic(vec![envelope("a", 1)]).await, "Unsupported/AtomicBatch");
        crate::stage::skip("this backend has no atomic batches");
        stage.close().await;
        return;
    }
    for polls in 0..POLLS_MAX {
        for full in [false, true] {
            faults.hold();
            let held = full.then(|| accept(&publisher, envelope("h", polls as u64 + 1)));
            let before = publisher.stats().accepted;
            let key = format!("k{polls}{full}");
            let mut call = Stepped::new(publisher.publish_atomic((1..=4).map(|v| envelope(&key, v)).collect()));
            drop(call.steps(polls).await);
            drop(call);
            let accepted = publisher.stats().accepted - before;
            assert!(accepted == 0 || accepted == 4, "accepted {accepted} of 4 after {polls} polls");
            faults.release();
            within("flush", publisher.flush()).await;
            assert_eq!(stage.stored().await.ids_of(&key).len() as u64, accepted, "stored as accepted");
            if let Some(receipt) = held {
                acked(receipt).await;
            }
        }
    }
    acked(accept(&publisher, envelope("h", 99))).await;
    stage.close().await;
}

/// A flush or close dropped at any await point can be called again, and ends as if it had been called once.
pub async fn a_dropped_close_goes_on_when_called_again(harness: impl Harness) {
    for polls in 0..POLLS_MAX {
        let (stage, faults) = Stage::faulty(&harness).await;
        let publisher = stage.publisher().await;
        faults.hold();
        let receipt = accept(&publisher, envelope("k", 1));
        let mut flush = Stepped::new(publisher.flush());
        assert!(flush.steps(polls).await.is_pending(), "flush waits for what is held");
        drop(flush);
        let mut close = Stepped::new(publisher.close(SOON));
        assert!(close.steps(polls).await.is_pending(), "close waits for what is held");
        drop(close);
        faults.release();
        let closed = within("close", publisher.close(SOON)).await;
        assert_eq!((closed.stats.acked, &*closed.left), (1, &[][..]), "{closed:?}");
        assert_eq!(faults.sinks_open(), 0, "close returns after its sink has ended");
        acked(receipt).await;
        stage.close().await;
    }
}

/// A close dropped while the sink ends still waits for it when called again.
pub async fn a_close_dropped_while_the_sink_ends_waits_again(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.publisher().await;
    acked(accept(&publisher, envelope("k", 1))).await;
    faults.turn_deaf();
    let mut close = Stepped::new(publisher.close(SOON));
    assert!(close.steps(POLLS_MAX).await.is_pending(), "the sink has not ended");
    drop(close);
    let mut again = Stepped::new(publisher.close(SOON));
    assert!(again.steps(POLLS_MAX).await.is_pending(), "the sink still has not ended");
    faults.hear();
    let closed = within("close", again.finish()).await;
    assert!(closed.left.is_empty(), "{closed:?}");
    assert_eq!(faults.sinks_open(), 0);
    stage.close().await;
}

/// An open dropped at any await point leaves no task and no sink behind.
pub async fn a_dropped_open_leaves_nothing(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let before = tasks();
    for polls in 0..POLLS_MAX {
        let mut open = Stepped::new(stage.builder().open());
        drop(open.steps(polls).await);
        drop(open);
        tasks_settle(before, "an open that was dropped").await;
    }
    let publisher = stage.publisher().await;
    acked(accept(&publisher, envelope("k", 1))).await;
    stage.close().await;
    assert_eq!(faults.sinks_open(), 0, "every sink that was opened is closed with its bus");
}
