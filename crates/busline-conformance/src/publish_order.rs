//! P1: of one publisher's envelopes of one key, those stored are stored in the order of acceptance, without holes.

use std::time::Duration;

use busline_core::{Envelope, Publisher};

use crate::envelopes::{accept, acked, definite, envelope, failed, indeterminate, names, outcome};
use crate::faulty::Shape;
use crate::harness::Harness;
use crate::judged::{Chaos, Judged, Load};
use crate::stage::{Stage, within};

/// A quiet run of several publishers and tasks over few, skewed keys: everything is acked, in order.
pub async fn a_quiet_run_keeps_the_order_of_each_key(harness: impl Harness) {
    for window in [1, 7, 256, 8_192] {
        let load = Load { window, publishers: 2, tasks: 3, per_task: 100, ..Load::seeded() };
        let judged = Judged::run(&harness, load, Chaos::None).await;
        assert_eq!(judged.acked(), 600, "nothing disturbs the backend, so every envelope must be acked");
        judged.clean();
    }
}

/// A run in which batches are held, refused, forgotten and left without answer at random keeps every promise.
pub async fn a_disturbed_run_keeps_the_order_of_each_key(harness: impl Harness) {
    let load = Load { publishers: 3, tasks: 4, per_task: 300, acked_min: 1_000, ..Load::seeded() };
    let judged = Judged::run(&harness, load, Chaos::Random).await;
    judged.clean();
}

/// The same with many small batches in flight at once.
pub async fn a_disturbed_run_with_many_batches_in_flight_keeps_the_order(harness: impl Harness) {
    let shape = Shape { batches_in_flight_max: Some(8), batch_records_max: Some(4) };
    let load = Load { publishers: 3, tasks: 4, per_task: 300, acked_min: 1_000, shape, ..Load::seeded() };
    let judged = Judged::run(&harness, load, Chaos::Random).await;
    judged.clean();
}

/// Behind a refused envelope, those of its key that wait fail with its name; other keys go on.
pub async fn nothing_behind_a_failed_envelope_is_acked(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let publisher = stage.publisher().await;
    faults.hold();
    let first = envelope("a", 1);
    let first_receipt = accept(&publisher, first.clone());
    let second = accept(&publisher, envelope("a", 2));
    let other = accept(&publisher, envelope("b", 1));
    let third = accept(&publisher, envelope("a", 3));
    faults.fail_next(1);
    faults.release();

    failed(first_receipt, "Injected").await;
    names(&failed(second, "BehindFailed").await, &first);
    names(&failed(third, "BehindFailed").await, &first);
    acked(other).await;
    let stored = stage.stored().await;
    assert_eq!(stored.len(), 1, "only the envelope of the other key may be stored");
    drop(publisher);
    stage.close().await;
}

/// What is accepted after a failure was reported flows again.
pub async fn a_key_flows_again_after_its_failure_was_reported(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let publisher = stage.publisher().await;
    faults.fail_next(1);
    failed(accept(&publisher, envelope("a", 1)), "Injected").await;
    let again = envelope("a", 1);
    acked(accept(&publisher, again.clone())).await;
    let next = envelope("a", 2);
    acked(accept(&publisher, next.clone())).await;
    assert_eq!(stage.stored().await.ids_of("a"), [again.id, next.id]);
    drop(publisher);
    stage.close().await;
}

/// Behind an envelope whose answer is lost, those that wait fail: they were never handed over.
pub async fn what_waits_behind_an_unanswered_envelope_fails(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let publisher = stage.publisher().await;
    faults.hold();
    let first = envelope("a", 1);
    let first_receipt = accept(&publisher, first.clone());
    let second = accept(&publisher, envelope("a", 2));
    let other = accept(&publisher, envelope("b", 1));
    faults.swallow_next(1);
    faults.release();

    indeterminate(first_receipt).await;
    names(&failed(second, "BehindFailed").await, &first);
    acked(other).await;
    assert_eq!(stage.stored().await.ids_of("a"), [first.id], "the first was stored, and nothing behind it");
    drop(publisher);
    stage.close().await;
}

/// In one batch, an unanswered record breaks its own key only.
pub async fn an_unanswered_record_breaks_its_own_key_only(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let publisher = stage.publisher().await;
    faults.hold();
    let blocker = accept(&publisher, envelope("z", 1));
    within("the first batch", faults.held_at_least(1)).await;
    let lost = [1, 2].map(|version| accept(&publisher, envelope("a", version)));
    let kept = [1, 2].map(|version| accept(&publisher, envelope("b", version)));
    faults.pass_next(1);
    faults.swallow_key("a");
    faults.release();

    acked(blocker).await;
    for receipt in lost {
        indeterminate(receipt).await;
    }
    for receipt in kept {
        acked(receipt).await;
    }
    drop(publisher);
    stage.close().await;
}

/// An envelope past its deadline breaks its key in every later batch, also in those handed over already.
pub async fn an_overdue_envelope_breaks_its_key_in_all_batches_in_flight(harness: impl Harness) {
    let shape = Shape { batches_in_flight_max: Some(3), batch_records_max: Some(1) };
    let (stage, faults) = Stage::shaped(&harness, shape).await;
    let publisher = stage.builder().deadline(Duration::from_millis(200)).open().await.expect("opens");
    faults.hold();
    let before = accept(&publisher, envelope("z", 1));
    let first = accept(&publisher, envelope("a", 1));
    // The second is younger, so that only its key can make it fail together with the first.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let second = accept(&publisher, envelope("a", 2));
    within("three batches", faults.held_at_least(3)).await;
    faults.release_next(1);
    acked(before).await;

    indeterminate(first).await;
    faults.release();
    indeterminate(second).await;
    drop(publisher);
    stage.close().await;
}

/// A batch on its way into the sink when an earlier one fails stands behind the failure like all others.
pub async fn a_batch_on_its_way_to_the_sink_is_behind_a_failure_too(harness: impl Harness) {
    let shape = Shape { batches_in_flight_max: Some(2), batch_records_max: Some(1) };
    let (stage, faults) = Stage::shaped(&harness, shape).await;
    let publisher = stage.publisher().await;
    faults.hold();
    let first = accept(&publisher, envelope("a", 1));
    within("the first batch", faults.held_at_least(1)).await;
    faults.shut_door();
    let on_its_way = {
        let publisher = publisher.clone();
        tokio::task::spawn_blocking(move || accept(&publisher, envelope("a", 2)))
    };
    within("the second batch", faults.somebody_waits()).await;
    faults.fail_next(1);
    faults.release();
    failed(first, "Injected").await;
    faults.open_door();

    let second = outcome(on_its_way.await.expect("accepts")).await;
    assert!(second.is_err(), "accepted before the first one's failure was reported, so it must not be acked");
    acked(accept(&publisher, envelope("a", 3))).await;
    drop(publisher);
    stage.close().await;
}

/// Threads that publish and block, and tasks beside them, share one publisher: each key is stored in the order in which it
/// was published, and who blocks is given the outcome of its own envelope.
pub async fn threads_that_block_share_the_order_with_tasks(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.publisher().await;
    let mut threads = tokio::task::JoinSet::new();
    for number in 0..4 {
        let publisher = publisher.clone();
        threads.spawn_blocking(move || {
            let key = format!("thread-{number}");
            let published = (1..=25).map(|version| envelope(&key, version));
            let ids: Vec<String> = published.map(|envelope| block_on_ack(&publisher, envelope)).collect();
            (key, ids)
        });
    }
    let beside: Vec<_> = (1..=100).map(|version| envelope("task", version)).collect();
    let receipts: Vec<_> = beside.iter().map(|envelope| accept(&publisher, envelope.clone())).collect();
    for receipt in receipts {
        acked(receipt).await;
    }
    let mut published = threads.join_all().await;
    published.push(("task".into(), beside.into_iter().map(|envelope| envelope.id).collect()));
    let stored = stage.stored().await;
    assert_eq!(stored.len(), 200);
    for (key, ids) in published {
        assert_eq!(stored.ids_of(&key), ids, "{key}");
    }

    faults.fail_next(1);
    let refused = {
        let publisher = publisher.clone();
        tokio::task::spawn_blocking(move || publisher.publish_blocking(envelope("thread-0", 26)))
    };
    definite(refused.await.expect("no panic"), "Injected");
    drop(publisher);
    stage.close().await;
}

fn block_on_ack(publisher: &Publisher, envelope: Envelope) -> String {
    let id = envelope.id.clone();
    publisher.publish_blocking(envelope).expect("the backend works, so the envelope must be acked");
    id
}
