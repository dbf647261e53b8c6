//! P5: the bus stores an accepted envelope at most once; a second publish of the caller is a second record.

use std::time::Duration;

use busline_core::PublisherSettings;

use crate::envelopes::{accept, acked, envelope, outcome, refused};
use crate::faulty::Shape;
use crate::harness::Harness;
use crate::stage::{Stage, skip, within};

/// Two publishes of one id are two records, and no ack calls the second a duplicate.
pub async fn two_publishes_of_one_id_are_two_records(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    let twice = envelope("k", 1);
    for _ in 0..2 {
        let ack = acked(accept(&publisher, twice.clone())).await;
        assert!(!ack.duplicate, "without deduplicate, every publish is a record of its own");
    }
    assert_eq!(stage.stored().await.ids_of("k"), [twice.id.clone(), twice.id]);
    assert_eq!(publisher.stats().duplicates, 0);
    stage.close().await;
}

/// Whatever happened to its batch, no accepted envelope is stored twice, and what certainly failed is not stored.
pub async fn an_accepted_envelope_is_stored_at_most_once(harness: impl Harness) {
    let shape = Shape { batches_in_flight_max: Some(2), batch_records_max: Some(3) };
    let (stage, faults) = Stage::shaped(&harness, shape).await;
    let opened = stage.builder().deadline(Duration::from_millis(150)).on_failure(drop).open().await;
    let publisher = opened.expect("opens");
    faults.hold();
    let overdue: Vec<_> = (0..20).map(|n| envelope(&format!("k{}", n % 5), n / 5 + 1)).collect();
    let mut receipts: Vec<_> = overdue.into_iter().map(|sent| (sent.id.clone(), accept(&publisher, sent))).collect();
    receipts = outcomes(receipts, &stage, Expect::Nothing).await;
    assert!(receipts.is_empty());
    faults.swallow_next(2);
    faults.forget_next(1);
    faults.fail_next(1);
    faults.release();
    for n in 0..100 {
        let sent = envelope(&format!("k{}", n % 5), 10 + n / 5);
        let id = sent.id.clone();
        receipts.push((id, within("room", publisher.publish(sent)).await.expect("accepted")));
    }
    outcomes(receipts, &stage, Expect::Consistent).await;
    stage.close().await;
}

enum Expect {
    Nothing,
    Consistent,
}

/// Awaits all outcomes and compares them with the store.
async fn outcomes(
    receipts: Vec<(String, busline_core::Receipt)>,
    stage: &Stage,
    expect: Expect,
) -> Vec<(String, busline_core::Receipt)> {
    let mut ends = Vec::new();
    for (id, receipt) in receipts {
        ends.push((id, outcome(receipt).await));
    }
    let stored = stage.stored().await;
    let mut counts = std::collections::HashMap::new();
    for envelope in stored.envelopes() {
        *counts.entry(envelope.id).or_insert(0) += 1;
    }
    for (id, end) in ends {
        let count = counts.get(&id).copied().unwrap_or(0);
        match (&expect, end) {
            (Expect::Nothing, end) => assert!(end.is_err() && count == 0, "held, so neither acked nor stored"),
            (_, Ok(_)) => assert_eq!(count, 1, "{id} was acked"),
            (_, Err(error)) if error.is_definite() => assert_eq!(count, 0, "{id} certainly failed: {error}"),
            (_, Err(error)) => assert!(count <= 1, "{id} is perhaps stored, but once: {error}"),
        }
    }
    Vec::new()
}

/// Deduplication is offered and then tells a second publish from a first, or is refused at open.
pub async fn deduplication_is_offered_or_refused(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let window = Duration::from_secs(60);
    let settings = |window| PublisherSettings { deduplicate: Some(window), ..PublisherSettings::default() };
    let Some(max) = stage.driver().capabilities().deduplicate_max else {
        refused(stage.builder().settings(settings(window)).open().await, "Unsupported/Deduplicate");
        skip("this backend remembers no ids");
        stage.close().await;
        return;
    };
    let beyond = settings(max + Duration::from_secs(1));
    refused(stage.builder().settings(beyond).open().await, "Unsupported/Deduplicate");
    let publisher = stage.builder().settings(settings(window.min(max))).open().await.expect("offered");
    let twice = envelope("k", 1);
    assert!(!acked(accept(&publisher, twice.clone())).await.duplicate, "the first is no duplicate");
    assert!(acked(accept(&publisher, twice.clone())).await.duplicate, "the second is known");
    assert_eq!(stage.stored().await.count(&twice.id), 1);
    let other = envelope("k", 1).with_id(twice.id.clone());
    let error = outcome(accept(&publisher, other)).await.expect_err("another content under a known id");
    assert_eq!(error.code(), "AlreadyExists/IdReused", "never a silent duplicate: {error}");
    stage.close().await;
}
