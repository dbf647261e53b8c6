//! P3: load never fails. A full window makes `publish` wait and `try_publish` give the envelope back.

use std::time::Duration;

use busline_core::{Publisher, Receipt, TryPublishError};
use tokio::task::JoinSet;

use crate::envelopes::{accept, acked, envelope, outcome};
use crate::faulty::Shape;
use crate::harness::Harness;
use crate::stage::{Stage, within};
use crate::stepping::Stepped;

/// Any burst passes any window: every envelope is acked.
pub async fn any_burst_passes_any_window(harness: impl Harness) {
    const TASKS: u64 = 8;
    const EACH: u64 = 125;
    let stage = Stage::open(&harness).await;
    for window in [1, 7, 256, 8_192] {
        let publisher = stage.builder().window(window, 8 << 20).open().await.expect("opens");
        let mut senders = JoinSet::new();
        for task in 0..TASKS {
            senders.spawn(burst(publisher.clone(), format!("k{task}"), EACH));
        }
        within("the burst", senders.join_all()).await;
        within("flush", publisher.flush()).await;
        let stats = publisher.stats();
        assert_eq!(stats.acked, TASKS * EACH, "a window of {window} must pass all of a burst: {stats:?}");
    }
    stage.close().await;
}

async fn burst(publisher: Publisher, key: String, count: u64) {
    let mut receipts = Vec::new();
    for version in 1..=count {
        receipts.push(publisher.publish(envelope(&key, version)).await.expect("load never fails"));
    }
    for receipt in receipts {
        acked(receipt).await;
    }
}

/// With a full window `publish` waits, `try_publish` gives the envelope back, and both go on when there is room.
pub async fn a_full_window_waits_and_gives_back(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    for window in [1, 4] {
        let publisher = stage.builder().window(window, 8 << 20).open().await.expect("opens");
        faults.hold();
        let held: Vec<_> = (0..window).map(|n| accept(&publisher, envelope(&format!("k{n}"), 1))).collect();
        let mut waits = Stepped::new(publisher.publish(envelope("waits", 1)));
        assert!(waits.steps(3).await.is_pending(), "a window of {window} is full, so publish must wait");
        let given = envelope("back", 1);
        match publisher.try_publish(given.clone()) {
            Err(TryPublishError::Full(back)) => assert_eq!(*back, given, "the envelope comes back as it was"),
            other => panic!("a full window must give the envelope back, got {other:?}"),
        }
        assert_eq!(publisher.stats().accepted, window as u64, "who waits was not accepted");
        faults.release();
        for receipt in held {
            acked(receipt).await;
        }
        acked(within("room", waits.finish()).await.expect("accepted")).await;
    }
    stage.close().await;
}

/// The window counts bytes too, of key, headers and body.
pub async fn the_window_counts_bytes(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let settings = busline_core::PublisherSettings {
        window_bytes_max: 4_096,
        record_bytes_max: 1_024,
        ..busline_core::PublisherSettings::default()
    };
    let publisher = stage.builder().settings(settings).open().await.expect("opens");
    faults.hold();
    let mut held = Vec::new();
    let sent = || envelope("k", 1).with_header("pad", vec![b'x'; 500]);
    while let Ok(receipt) = publisher.try_publish(sent()) {
        held.push(receipt);
        assert!(held.len() < 8, "more than 4,096 bytes are in flight");
    }
    assert!(held.len() > 3, "envelopes of less than 1,024 bytes, so at least four fit: {}", held.len());
    faults.release();
    for receipt in held {
        acked(receipt).await;
    }
    acked(accept(&publisher, sent())).await;
    drop(publisher);
    stage.close().await;
}

/// After acks, failures, indeterminate outcomes, refusals and dropped waits, the whole window is free again.
pub async fn all_room_comes_back(harness: impl Harness) {
    const WINDOW: usize = 8;
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let opened = stage.builder().window(WINDOW, 8 << 20).deadline(Duration::from_millis(200)).on_failure(drop);
    let publisher = opened.open().await.expect("opens");
    // Acked, refused, behind a refused one, unanswered, forgotten.
    faults.hold();
    let mut receipts: Vec<_> = (1..=4).map(|version| accept(&publisher, envelope("a", version))).collect();
    receipts.push(accept(&publisher, envelope("b", 1)));
    faults.fail_next(1);
    faults.release();
    for receipt in receipts.drain(..) {
        drop(outcome(receipt).await);
    }
    faults.swallow_next(1);
    drop(outcome(accept(&publisher, envelope("a", 5))).await);
    faults.forget_next(1);
    drop(outcome(accept(&publisher, envelope("a", 6))).await);
    drop(publisher.publish(envelope("", 1)).await);
    // Overdue in flight, overdue in line, and given up while waiting for room.
    faults.hold();
    receipts.extend(fill(&publisher, WINDOW).await);
    let mut waits = Stepped::new(publisher.publish(envelope("w", 1)));
    assert!(waits.steps(2).await.is_pending());
    drop(waits);
    for receipt in receipts.drain(..) {
        drop(outcome(receipt).await);
    }
    faults.release();
    within("flush", publisher.flush()).await;

    faults.hold();
    let full = fill(&publisher, WINDOW).await;
    let more = publisher.try_publish(envelope("more", 1));
    assert!(matches!(more, Err(TryPublishError::Full(_))), "exactly {WINDOW} envelopes fit: {more:?}");
    faults.release();
    for receipt in full {
        acked(receipt).await;
    }
    drop(publisher);
    stage.close().await;
}

/// Takes a whole window. Failures keep their room until the handler has them, so it may have to wait a moment.
async fn fill(publisher: &Publisher, window: usize) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for n in 0..window {
        let sent = publisher.publish(envelope(&format!("f{n}"), 1));
        receipts.push(within("all the room of the window", sent).await.expect("accepted"));
    }
    receipts
}

/// Who waits for room is served in the order of the calls.
pub async fn waiting_publishers_are_served_in_order(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.builder().window(1, 8 << 20).open().await.expect("opens");
    faults.hold();
    let first = accept(&publisher, envelope("k", 1));
    let sent: Vec<_> = (2..=6).map(|version| envelope("k", version)).collect();
    let ids: Vec<_> = sent.iter().map(|envelope| envelope.id.clone()).collect();
    let mut waiting: Vec<_> = sent.into_iter().map(|envelope| Stepped::new(publisher.publish(envelope))).collect();
    for waits in &mut waiting {
        assert!(waits.step().is_pending(), "the window is full");
    }
    faults.release();
    acked(first).await;
    // Polled from the back, so that only the window's own order can put them right.
    let mut receipts = Vec::new();
    while !waiting.is_empty() {
        waiting.reverse();
        waiting.retain_mut(|waits| match waits.step() {
            std::task::Poll::Ready(receipt) => {
                receipts.push(receipt.expect("accepted"));
                false
            }
            std::task::Poll::Pending => true,
        });
        waiting.reverse();
        tokio::task::yield_now().await;
    }
    for receipt in receipts {
        acked(receipt).await;
    }
    assert_eq!(stage.stored().await.ids_of("k")[1..], ids, "served in the order in which they began to wait");
    stage.close().await;
}

/// Waiting for room does not count for the deadline.
pub async fn waiting_for_room_has_no_deadline(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let deadline = Duration::from_millis(100);
    let opened = stage.builder().window(1, 8 << 20).deadline(deadline).on_failure(drop).open().await;
    let publisher = opened.expect("opens");
    faults.hold();
    let overdue = accept(&publisher, envelope("a", 1));
    let mut waits = Stepped::new(publisher.publish(envelope("b", 1)));
    assert!(waits.step().is_pending());
    outcome(overdue).await.expect_err("its deadline passed");
    assert!(waits.step().is_pending(), "an unsettled record keeps its room, and who waits for room does not fail");
    faults.release();
    acked(within("room", waits.finish()).await.expect("accepted")).await;
    drop(publisher);
    stage.close().await;
}
