//! P6: batches have one outcome for each envelope, in order; atomic ones are stored and seen whole or not at all.

use std::collections::HashSet;
use std::time::Duration;

use busline_core::{Envelope, ErrorKind, Partition, Payload, PublisherSettings};
use tokio::runtime::Handle;

use crate::envelopes::{accept, acked, definite, envelope, failed, indeterminate, names, outcome, refused};
use crate::failures::Failures;
use crate::faulty::Shape;
use crate::harness::Harness;
use crate::stage::{Stage, skip, within};
use crate::stepping::Stepped;

/// An empty batch gives no outcomes and sends nothing.
pub async fn an_empty_batch_sends_nothing(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.publisher().await;
    let outcomes = within("nothing", publisher.publish_batch(Vec::new())).await.expect("legal");
    assert!(outcomes.is_empty());
    if stage.driver().capabilities().atomic_batch_max > 0 {
        let acks = within("nothing", publisher.publish_atomic(Vec::new())).await.expect("legal");
        assert!(acks.is_empty());
    }
    assert_eq!(faults.batches(), 0, "the sink must not see an empty batch");
    stage.close().await;
}

/// A batch larger than the window has its outcomes in input order, and each key is stored in input order.
pub async fn a_large_batch_keeps_its_order(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.builder().window(100, 8 << 20).open().await.expect("opens");
    let batch: Vec<_> = (0..2_000).map(|n| envelope(&format!("k{}", n % 13), n / 13 + 1)).collect();
    let outcomes = within("the batch", publisher.publish_batch(batch.clone())).await.expect("legal");
    assert_eq!(outcomes.len(), batch.len(), "one outcome for each envelope");
    let stored = stage.stored().await;
    for (sent, outcome) in batch.iter().zip(&outcomes) {
        let ack = outcome.as_ref().expect("acked");
        if let Some(offset) = ack.offset {
            assert_eq!(
                stored.at(ack.partition, offset).map(|found| found.id).as_ref(),
                Some(&sent.id),
                "in input order"
            );
        }
    }
    let of_first: Vec<_> = batch.iter().filter(|sent| sent.aggregate_id == "k0").map(|sent| sent.id.clone()).collect();
    assert_eq!(stored.ids_of("k0"), of_first);
    stage.close().await;
}

/// Each envelope is within the limits, all together over them: the batch is split, not refused.
pub async fn a_batch_over_the_byte_window_is_split(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.builder().window(8_192, 1 << 20).open().await.expect("opens");
    let payload = Payload::bytes_of("application/octet-stream", vec![1; 100_000]).expect("legal");
    let batch = (1..=40).map(|version| Envelope::new("k", "Tested", version).with_payload(payload.clone())).collect();
    let outcomes = within("the batch", publisher.publish_batch(batch)).await.expect("split");
    assert!(outcomes.iter().all(Result::is_ok), "all are acked: {outcomes:?}");
    stage.close().await;
}

/// A refused envelope holds back the later ones of its key, and no others.
pub async fn a_bad_envelope_holds_back_its_own_key(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    let bad = envelope("a", 0);
    let batch =
        vec![envelope("a", 1), envelope("b", 1), bad.clone(), envelope("a", 2), envelope("b", 2), envelope("a", 3)];
    let mut outcomes = within("the batch", publisher.publish_batch(batch.clone())).await.expect("legal").into_iter();
    let mut next = || outcomes.next().expect("one outcome for each");
    next().expect("before the bad one");
    next().expect("another key");
    definite(next(), "EventVersion");
    names(&definite(next(), "BehindFailed"), &bad);
    next().expect("another key");
    names(&definite(next(), "BehindFailed"), &bad);
    let stored = stage.stored().await;
    assert_eq!(stored.ids_of("a"), [batch[0].id.clone()], "nothing behind the bad one is stored");
    assert_eq!(stored.ids_of("b").len(), 2);
    stage.close().await;
}

/// One key throughout, refused by the backend in the middle: those before are acked, those behind fail with its name.
pub async fn a_failure_in_the_middle_leaves_no_hole(harness: impl Harness) {
    let shape = Shape { batches_in_flight_max: Some(1), batch_records_max: Some(1) };
    let (stage, faults) = Stage::shaped(&harness, shape).await;
    let publisher = stage.publisher().await;
    faults.pass_next(3);
    faults.fail_next(1);
    let batch: Vec<_> = (1..=8).map(|version| envelope("k", version)).collect();
    let mut call = Stepped::new(publisher.publish_batch(batch.clone()));
    faults.hold();
    assert!(call.steps(2).await.is_pending());
    faults.release();
    let outcomes = within("the batch", call.finish()).await.expect("legal");
    assert!(outcomes[..3].iter().all(Result::is_ok), "before the failed one: {outcomes:?}");
    definite(outcomes[3].clone(), "Injected");
    for behind in &outcomes[4..] {
        names(&definite(behind.clone(), "BehindFailed"), &batch[3]);
    }
    let ids: Vec<_> = batch[..3].iter().map(|sent| sent.id.clone()).collect();
    assert_eq!(stage.stored().await.ids_of("k"), ids, "no hole is stored");
    stage.close().await;
}

/// One id twice in a batch is two records.
pub async fn one_id_twice_in_a_batch_is_two_records(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    let twice = envelope("k", 1);
    let outcomes = within("the batch", publisher.publish_batch(vec![twice.clone(); 2])).await.expect("legal");
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|ack| !ack.duplicate)), "{outcomes:?}");
    assert_eq!(stage.stored().await.count(&twice.id), 2);
    stage.close().await;
}

/// A batch of more than 1,000,000 envelopes is refused whole.
pub async fn a_batch_over_the_limit_is_refused_whole(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    let mut tiny = Envelope::new("", "", 1);
    tiny.id = String::new();
    refused(publisher.publish_batch(vec![tiny; 1_000_001]).await, "TooLarge/BatchItems");
    assert_eq!(publisher.stats().accepted, 0);
    stage.close().await;
}

/// An atomic batch is acked and stored whole; a reader sees all of it or nothing.
pub async fn an_atomic_batch_is_seen_whole(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    if unsupported(&stage, &publisher).await {
        return;
    }
    let reader = async {
        loop {
            let stored = stage.stored().await;
            // Partitions are read one after another, so only what the first one showed must be whole in all of them.
            let round = |record| (stored.envelope(record).event_version - 1) / 100;
            let first = stored.records().iter().filter(|record| record.partition == Partition(0));
            for seen in first.map(round).collect::<HashSet<_>>() {
                let visible = stored.records().iter().filter(|record| round(record) == seen).count();
                assert_eq!(visible, 100, "an atomic batch of 100 must be visible as a whole");
            }
            if stored.len() == 1_000 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let writer = async {
        for round in 0..10 {
            let batch = (0..100).map(|n| envelope(&format!("k{}", n % 9), round * 100 + n + 1)).collect();
            let acks = publisher.publish_atomic(batch).await.expect("acked");
            assert_eq!(acks.len(), 100, "one ack for each envelope");
        }
    };
    within("all batches", both(writer, reader)).await;
    stage.close().await;
}

async fn both(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    let (mut one_ended, mut other_ended) = (false, false);
    std::future::poll_fn(|context| {
        one_ended = one_ended || one.as_mut().poll(context).is_ready();
        other_ended = other_ended || other.as_mut().poll(context).is_ready();
        if one_ended && other_ended { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// A bad envelope, too many or too large ones: the atomic batch is refused whole, with the index or the limit.
pub async fn a_bad_atomic_batch_stores_none(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    if unsupported(&stage, &publisher).await {
        return;
    }
    let bad = vec![envelope("a", 1), envelope("b", 0), envelope("", 1)];
    let error = definite(publisher.publish_atomic(bad).await, "EventVersion");
    assert!(error.to_string().contains("envelope 1"), "the first bad index is named: {error}");
    let max = stage.driver().capabilities().atomic_batch_max;
    let limit = max.min(PublisherSettings::default().window_envelopes_max);
    let many = vec![envelope("a", 1); limit + 1];
    let error = refused(publisher.publish_atomic(many).await, "TooLarge/BatchItems");
    assert!(error.to_string().contains(&limit.to_string()), "the limit is named: {error}");
    let payload = Payload::bytes_of("application/octet-stream", vec![0; 700_000]).expect("legal");
    let large = vec![Envelope::new("a", "Tested", 1).with_payload(payload); 20];
    refused(publisher.publish_atomic(large).await, "TooLarge/BatchBytes");
    assert_eq!(stage.stored().await.len(), 0, "none is stored");
    assert_eq!(publisher.stats().accepted, 0, "none is accepted");
    stage.close().await;
}

/// An atomic batch with one envelope behind a failed one fails whole, and breaks its other keys too.
pub async fn an_atomic_batch_behind_a_failure_fails_whole(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let publisher = stage.publisher().await;
    if unsupported(&stage, &publisher).await {
        return;
    }
    faults.hold();
    let first = envelope("a", 1);
    let first_receipt = accept(&publisher, first.clone());
    let mut atomic = Stepped::new(publisher.publish_atomic(vec![envelope("b", 1), envelope("a", 2)]));
    assert!(atomic.step().is_pending());
    let behind_atomic = accept(&publisher, envelope("b", 2));
    let other = accept(&publisher, envelope("c", 1));
    faults.fail_next(1);
    faults.release();
    failed(first_receipt, "Injected").await;
    names(&definite(within("the batch", atomic.finish()).await, "BehindFailed"), &first);
    names(&failed(behind_atomic, "BehindFailed").await, &first);
    acked(other).await;
    assert_eq!(stage.stored().await.len(), 1, "only the other key is stored");
    stage.close().await;
}

/// An atomic batch on its way into the sink when an envelope before it fails is indeterminate as a whole, whatever the sink
/// says of it: none of its envelopes counts as acked, and the handler hears of all.
pub async fn an_atomic_batch_on_its_way_behind_a_failure_has_one_outcome(harness: impl Harness) {
    let shape = Shape { batches_in_flight_max: Some(2), ..Shape::default() };
    let (stage, faults) = Stage::shaped(&harness, shape).await;
    let failures = Failures::new();
    let publisher = stage.builder().on_failure(failures.handler()).open().await.expect("opens");
    if unsupported(&stage, &publisher).await {
        return;
    }
    faults.hold();
    let first = envelope("a", 1);
    let first_receipt = accept(&publisher, first.clone());
    within("the first batch", faults.held_at_least(1)).await;
    faults.shut_door();
    let batch = vec![envelope("b", 1), envelope("a", 2)];
    let on_its_way = {
        let (publisher, batch, runtime) = (publisher.clone(), batch.clone(), Handle::current());
        tokio::task::spawn_blocking(move || runtime.block_on(publisher.publish_atomic(batch)))
    };
    within("the second batch", faults.somebody_waits()).await;
    let behind = envelope("b", 2);
    let behind_receipt = accept(&publisher, behind.clone());
    faults.fail_next(1);
    faults.release();
    failed(first_receipt, "Injected").await;
    names(&failed(behind_receipt, "BehindFailed").await, &first);
    faults.open_door();

    let error = within("the batch", on_its_way).await.expect("no panic").expect_err("behind a failure");
    assert!(!error.is_definite(), "the sink has it: {error}");
    within("flush", publisher.flush()).await;
    let mut heard: Vec<_> = failures.at_least(4).await.into_iter().map(|failure| failure.envelope.id).collect();
    let mut all: Vec<_> = [&first, &batch[0], &batch[1], &behind].map(|sent| sent.id.clone()).into();
    heard.sort();
    all.sort();
    assert_eq!(heard, all, "the handler hears of each once");
    assert_eq!(publisher.stats().acked, 0, "all or none");
    acked(accept(&publisher, envelope("b", 3))).await;
    drop(publisher);
    stage.close().await;
}

/// An atomic batch in flight behind an envelope that is reported at its deadline is reported as a whole, too.
pub async fn an_atomic_batch_behind_an_overdue_envelope_has_one_outcome(harness: impl Harness) {
    let shape = Shape { batches_in_flight_max: Some(2), ..Shape::default() };
    let (stage, faults) = Stage::shaped(&harness, shape).await;
    let publisher = stage.builder().deadline(Duration::from_millis(1_000)).open().await.expect("opens");
    if unsupported(&stage, &publisher).await {
        return;
    }
    faults.hold();
    let first = accept(&publisher, envelope("a", 1));
    // The batch is younger, so that only the key of one of its envelopes can make it fail together with the first.
    tokio::time::sleep(Duration::from_millis(800)).await;
    let mut atomic = Stepped::new(publisher.publish_atomic(vec![envelope("b", 1), envelope("a", 2)]));
    assert!(atomic.step().is_pending());
    within("two batches", faults.held_at_least(2)).await;
    indeterminate(first).await;
    faults.release();
    let error = within("the batch", atomic.finish()).await.expect_err("behind a failure");
    assert!(!error.is_definite(), "the sink has it: {error}");
    within("flush", publisher.flush()).await;
    let stats = publisher.stats();
    assert_eq!((stats.acked, stats.indeterminate), (0, 3), "all or none: {stats:?}");
    acked(accept(&publisher, envelope("b", 2))).await;
    drop(publisher);
    stage.close().await;
}

/// The common outcome of an atomic batch is that of the backend: refused, or indeterminate as a whole.
pub async fn an_atomic_batch_has_one_outcome(harness: impl Harness) {
    let (stage, faults) = Stage::shaped(&harness, Shape::one_at_a_time()).await;
    let publisher = stage.publisher().await;
    if unsupported(&stage, &publisher).await {
        return;
    }
    let batch = || vec![envelope("a", 1), envelope("b", 1)];
    faults.fail_next(1);
    definite(within("the batch", publisher.publish_atomic(batch())).await, "Injected");
    assert_eq!(stage.stored().await.len(), 0, "refused whole");
    faults.swallow_next(1);
    let error = within("the batch", publisher.publish_atomic(batch())).await.expect_err("no answer");
    assert!(!error.is_definite(), "{error}");
    within("the batch", publisher.publish_atomic(batch())).await.expect("flows again");
    assert_eq!(stage.stored().await.len(), 4, "the unanswered batch is stored whole, and so is the next");
    drop(outcome(accept(&publisher, envelope("a", 2))).await);
    stage.close().await;
}

/// Where there are no atomic batches, the call says so; gives whether that is the case here.
async fn unsupported(stage: &Stage, publisher: &busline_core::Publisher) -> bool {
    if stage.driver().capabilities().atomic_batch_max > 0 {
        return false;
    }
    let error = refused(publisher.publish_atomic(vec![envelope("a", 1)]).await, "Unsupported/AtomicBatch");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(stage.stored().await.len(), 0, "refused, so nothing is stored");
    skip("this backend has no atomic batches");
    stage.bus.close(crate::stage::SOON).await.expect("closes");
    true
}
