//! C2: in a group, first attempts of a key start in offset order, each after the one before reached its end.

use std::time::Duration;

use busline_core::{Delivery, HandlerError, Partition, Retry};

use crate::consume_judged::{ConsumeLoad, Consumed};
use crate::consume_stage::{Gate, Log, Step, easy, holds, keys_of, quick_retry, scripted};
use crate::harness::Harness;
use crate::stage::Stage;

/// The failing event of `peers.md`: A1 A2! A2! A2! A2 A3 A4 A5 for its key, and B1 to B5 are not held up.
pub async fn a_failing_event_holds_its_key_only(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["A", "B"], 5).await;
    let handler = scripted(&log, |delivery: &Delivery| {
        let fails = delivery.envelope.aggregate_id == "A" && delivery.envelope.event_version == 2;
        if fails && delivery.attempt <= 3 { Step::Fail } else { Step::Ok }
    });
    let retry = Retry { jitter: 0.0, ..Retry::exponential(5).backoff(Duration::from_secs(1), Duration::from_secs(1)) };
    let subscription = stage.subscribe().retry(retry).handle(handler).await.expect("subscribes");
    log.ended(13).await;

    let of_a = [(1, 1, true), (2, 1, false), (2, 2, false), (2, 3, false), (2, 4, true)];
    assert_eq!(log.of("A"), [&of_a[..], &[(3, 1, true), (4, 1, true), (5, 1, true)]].concat());
    assert_eq!(log.handled("B"), [1, 2, 3, 4, 5]);
    let (starts, ends) = (log.starts(), log.ends());
    let b5 = ends.iter().find(|call| call.key == "B" && call.version == 5).expect("B5 ended");
    let again = starts.iter().find(|call| call.key == "A" && call.attempt == 2).expect("A2 ran again");
    assert!(b5.at < again.at, "B5 must have ended before A2's second attempt");
    drop(subscription);
    stage.close().await;
}

/// Under a load of skewed keys, with handlers that fail, panic and run out of time at random, over bounds that are crossed
/// all the time, every promise is kept.
pub async fn a_disturbed_run_keeps_the_order_of_each_key(harness: impl Harness) {
    let load = ConsumeLoad { is_disturbed: true, in_flight: 24, ahead: 64, ..ConsumeLoad::seeded() };
    Consumed::run(&harness, load).await.clean();
}

/// Members that join and leave under load hand their keys over in order.
pub async fn members_that_come_and_go_keep_the_order(harness: impl Harness) {
    let load = ConsumeLoad { is_disturbed: true, members: 3, ..ConsumeLoad::seeded() };
    Consumed::run(&harness, load).await.clean();
}

/// A quiet run hands each event over once.
pub async fn a_quiet_run_hands_each_event_over_once(harness: impl Harness) {
    let consumed = Consumed::run(&harness, ConsumeLoad::seeded()).await;
    consumed.clean();
    assert_eq!(consumed.delivered, consumed.acked, "nothing disturbs it, so nothing comes twice");
}

/// A batch holds different keys only, and has a verdict for each of its events.
pub async fn batches_keep_the_order_of_each_key(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let names: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    stage.publish(&keys, 20).await;
    let noted = log.clone();
    let handler = move |deliveries: Vec<Delivery>| {
        let log = noted.clone();
        async move {
            let mut keys: Vec<_> = deliveries.iter().map(|delivery| &delivery.envelope.aggregate_id).collect();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), deliveries.len(), "no two of one key");
            assert!(deliveries.len() <= 8, "at most size_max");
            deliveries.iter().for_each(|delivery| log.start(delivery));
            tokio::task::yield_now().await;
            let verdict = |delivery: &Delivery| {
                let fails = delivery.envelope.event_version % 7 == 3 && delivery.attempt == 1;
                log.end(delivery, !fails);
                if fails { Err(HandlerError::from("not yet")) } else { Ok(()) }
            };
            deliveries.iter().map(verdict).collect::<Vec<_>>()
        }
    };
    let builder = stage.subscribe().concurrency(3).retry(quick_retry(3));
    let subscription = builder.handle_batch(8, handler).await.expect("subscribes");
    stage.drained().await;
    for key in keys {
        assert_eq!(log.handled(key), (1..=20).collect::<Vec<_>>(), "key {key}");
    }
    assert_eq!(log.ends().len(), 20 * 20 + 20 * 3, "each failed item alone ran again");
    drop(subscription);
    stage.close().await;
}

/// A batch that panics, or gives another number of verdicts, has failed whole and runs again.
pub async fn a_batch_without_its_verdicts_runs_again(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a", "b", "c"], 3).await;
    let noted = log.clone();
    let handler = move |deliveries: Vec<Delivery>| {
        let log = noted.clone();
        async move {
            match deliveries[0].attempt {
                1 => std::panic::resume_unwind(Box::new("a defect")),
                2 => Vec::new(),
                _ => {
                    for delivery in &deliveries {
                        log.start(delivery);
                        log.end(delivery, true);
                    }
                    deliveries.iter().map(|_| Ok(())).collect::<Vec<Result<(), HandlerError>>>()
                }
            }
        }
    };
    // What the first one's attempt says befalls the whole batch, so that others fail more often than twice.
    let subscription = stage.subscribe().retry(quick_retry(1_000)).handle_batch(16, handler).await.expect("subscribes");
    stage.drained().await;
    for key in ["a", "b", "c"] {
        assert_eq!(log.handled(key), [1, 2, 3]);
    }
    assert!(subscription.stats().failed_attempts >= 6);
    drop(subscription);
    let builder = stage.bus.subscribe(&stage.topic, "others");
    let refused = builder.handle_batch(0, |_: Vec<Delivery>| async { Vec::new() }).await;
    crate::envelopes::refused(refused, "Invalid/Range");
    stage.close().await;
}

/// A member that joins takes its share only, and nothing is handled twice when partitions change hands in quiet.
pub async fn a_handover_in_quiet_repeats_nothing(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let names: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = stage.subscribe().handle(easy(&log)).await.expect("subscribes");
    stage.publish(&keys, 3).await;
    stage.drained().await;
    let second = stage.subscribe().another_member().handle(easy(&log)).await.expect("subscribes");
    holds(&second, 2).await;
    holds(&first, 2).await;
    stage.publish_from(&keys, 4, 6).await;
    stage.drained().await;
    first.close(Duration::from_secs(5)).await.expect("closes");
    holds(&second, 4).await;
    stage.publish_from(&keys, 7, 9).await;
    stage.drained().await;
    for key in keys {
        assert_eq!(log.handled(key), (1..=9).collect::<Vec<_>>(), "key {key}");
    }
    drop(second);
    stage.close().await;
}

/// A partition that is to be given up is kept until its running handlers have ended and are committed, so that nobody else
/// begins their keys meanwhile.
pub async fn a_partition_is_kept_until_its_handlers_end(harness: impl Harness) {
    let (stage, log, gate) = (Stage::open(&harness).await, Log::default(), Gate::shut());
    let keys: Vec<String> = (0..4).map(|number| keys_of(Partition(number), 1).remove(0)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let waits = gate.clone();
    let handler = scripted(&log, move |_| Step::At(waits.clone()));
    let first = stage.subscribe().handle(handler).await.expect("subscribes");
    stage.publish(&keys, 2).await;
    log.started(4).await;
    let second = stage.subscribe().another_member().handle(easy(&log)).await.expect("subscribes");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!((first.partitions().len(), second.partitions().len()), (4, 0), "handlers still run in each of them");
    assert_eq!(log.starts().len(), 4, "a key waits for its handler, here and elsewhere");
    gate.open();
    holds(&second, 2).await;
    stage.drained().await;
    for key in keys {
        assert_eq!(log.handled(key), [1, 2], "key {key}");
    }
    drop((first, second));
    stage.close().await;
}
