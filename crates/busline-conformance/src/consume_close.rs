//! C13: leaving. Running handlers end, what ended is committed, what did not comes again elsewhere, and nothing is left.

use std::time::Duration;

use busline_core::{Bus, Partition, Subscription};
use tokio::time::Instant;

use crate::consume_stage::{GROUP, Gate, Log, Step, easy, keys_of, quick_retry, scripted, until};
use crate::envelopes::refused;
use crate::harness::Harness;
use crate::residue::Residue;
use crate::stage::{SOON, Stage, within};
use crate::stepping::Stepped;

const CLOSE: Duration = Duration::from_secs(5);

/// Handlers that run are waited for, and what they finished is committed.
pub async fn close_lets_running_handlers_end(harness: impl Harness) {
    let (stage, log, gate) = (Stage::open(&harness).await, Log::default(), Gate::shut());
    stage.one_partition().await;
    stage.publish(&["a", "b", "c"], 5).await;
    let waits = gate.clone();
    let handler = scripted(&log, move |_| Step::At(waits.clone()));
    let subscription = stage.subscribe().handle(handler).await.expect("subscribes");
    log.started(3).await;
    let mut close = Stepped::new(subscription.close(CLOSE));
    assert!(close.steps(20).await.is_pending(), "three handlers still run");
    gate.open();
    let left = within("close", close.finish()).await.expect("closes");
    assert_eq!((left.left.len(), left.stats.handled), (0, 3), "no further handler starts");
    assert_eq!(log.starts().len(), 3);
    assert_eq!(stage.committed().await[0], Some(stage.offset(Partition(0), 3).await), "what ended is committed");
    let group = GROUP.parse().expect("legal");
    assert_eq!(stage.driver().members(&group, &stage.name()).await.expect("exists"), []);
    let again = Log::default();
    let subscription = stage.subscribe().handle(easy(&again)).await.expect("subscribes");
    stage.drained().await;
    assert_eq!(again.ends().len(), 12, "what was not started comes once");
    drop(subscription);
    stage.close().await;
}

/// At the deadline handlers are broken off; nothing unfinished is committed, and it comes again.
pub async fn close_returns_by_its_deadline(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let keys = [Partition(0), Partition(1)].map(|partition| keys_of(partition, 1).remove(0));
    let [slow, quick] = &keys;
    stage.publish(&[slow, quick], 2).await;
    let handler = scripted(&log, |delivery| match delivery.partition {
        Partition(0) => Step::Never,
        _ => Step::Ok,
    });
    let subscription = stage.subscribe().handle(handler).await.expect("subscribes");
    until("both keys", || log.handled(quick).len() == 2 && !log.starts().is_empty()).await;
    log.started(3).await;
    let start = Instant::now();
    let left = subscription.close(Duration::from_millis(300)).await.expect("closes");
    assert!(start.elapsed() < Duration::from_millis(550), "close(300 ms) took {:?}", start.elapsed());
    assert_eq!(left.left, Vec::<String>::new(), "a handler that awaits can be broken off");
    assert_eq!(subscription.close(CLOSE).await.expect("again"), left, "every close gives the same");
    let again = Log::default();
    let subscription = stage.subscribe().handle(easy(&again)).await.expect("subscribes");
    stage.drained().await;
    assert_eq!((again.handled(slow), again.handled(quick).len()), (vec![1, 2], 0));
    drop(subscription);
    stage.close().await;
}

/// A thread that is stuck in a handler is named, and the only thing that remains.
pub async fn a_stuck_handler_is_named(harness: impl Harness) {
    let (stage, latch) = (Stage::open(&harness).await, crate::failures::Latch::default());
    let log = Log::default();
    stage.publish(&["a"], 1).await;
    let (waits, noted) = (latch.clone(), log.clone());
    let handler = move |delivery: busline_core::Delivery| {
        let (latch, log) = (waits.clone(), noted.clone());
        async move {
            log.start(&delivery);
            latch.wait();
            log.end(&delivery, true);
            Ok(())
        }
    };
    let (bus, topic) = (stage.bus.clone(), stage.topic.clone());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().expect("a runtime");
    let opened = runtime.spawn(async move { bus.subscribe(&topic, GROUP).handle(handler).await.expect("subscribes") });
    let subscription = opened.await.expect("opens");
    log.started(1).await;
    let start = Instant::now();
    let left = subscription.close(Duration::from_millis(300)).await.expect("closes");
    assert!(start.elapsed() < Duration::from_millis(550), "close(300 ms) took {:?}", start.elapsed());
    assert_eq!(left.left, [format!("handlers of {}", stage.topic)]);
    latch.open();
    log.ended(1).await;
    let stored = stage.stored().await;
    let record = &stored.records()[0];
    let committed = stage.committed().await[record.partition.0 as usize];
    assert_ne!(committed, Some(record.offset.next()), "never acked");
    stage.close().await;
    runtime.shutdown_background();
}

/// Close does not wait for pauses of keys, full bounds or sources without records.
pub async fn close_in_every_state_is_quick(harness: impl Harness) {
    for state in ["no record", "all stuck", "in backoff", "paused", "just opened"] {
        let (stage, log) = (Stage::open(&harness).await, Log::default());
        if state != "no record" {
            stage.publish(&["a", "b"], 200).await;
        }
        let settings = busline_core::SubscriptionSettings {
            in_flight_records_max: 4,
            ahead_max: 8,
            retry: if state == "all stuck" {
                quick_retry(1)
            } else {
                busline_core::Retry::exponential(9).backoff(CLOSE, CLOSE)
            },
            ..busline_core::SubscriptionSettings::default()
        };
        let handler = scripted(&log, |_| Step::Fail);
        let subscription = stage.subscribe().settings(settings).handle(handler).await.expect("subscribes");
        match state {
            "all stuck" | "in backoff" => log.ended(2).await,
            "paused" => subscription.pause(&subscription.partitions()),
            _ => {}
        }
        let start = Instant::now();
        subscription.close(SOON).await.expect("closes");
        assert!(start.elapsed() < Duration::from_secs(1), "close took {:?} with {state}", start.elapsed());
        stage.close().await;
    }
}

/// A close that is dropped goes on when it is called again, and waits for the same handlers.
pub async fn a_dropped_close_goes_on_when_called_again(harness: impl Harness) {
    for polls in 1..12 {
        let (stage, log, gate) = (Stage::open(&harness).await, Log::default(), Gate::shut());
        stage.one_partition().await;
        stage.publish(&["a"], 1).await;
        let waits = gate.clone();
        let handler = scripted(&log, move |_| Step::At(waits.clone()));
        let subscription = stage.subscribe().handle(handler).await.expect("subscribes");
        log.started(1).await;
        let mut close = Stepped::new(subscription.close(CLOSE));
        assert!(close.steps(polls).await.is_pending());
        drop(close);
        let again = Stepped::new(subscription.close(CLOSE));
        gate.open();
        let left = within("close", again.finish()).await.expect("closes");
        assert_eq!((left.left.len(), left.stats.handled), (0, 1));
        assert_eq!(stage.committed().await[0], Some(stage.offset(Partition(0), 1).await));
        stage.close().await;
    }
}

/// Any deadline is taken.
pub async fn close_takes_any_deadline(harness: impl Harness) {
    for deadline in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let (stage, log) = (Stage::open(&harness).await, Log::default());
        let subscription = stage.subscribe().handle(easy(&log)).await.expect("subscribes");
        within("close", subscription.close(deadline)).await.expect("closes");
        stage.close().await;
    }
}

/// The end of the last handle leaves the group, and so does the end of the bus.
pub async fn the_end_of_the_last_handle_leaves_the_group(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a"], 1).await;
    let subscription = stage.subscribe().handle(easy(&log)).await.expect("subscribes");
    let clone = subscription.clone();
    stage.drained().await;
    drop(subscription);
    stage.publish_from(&["a"], 2, 2).await;
    stage.drained().await;
    drop(clone);
    let group = GROUP.parse().expect("legal");
    within("the end of the member", async {
        while !stage.driver().members(&group, &stage.name()).await.expect("exists").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let subscription = within("room for the next", async {
        loop {
            match stage.subscribe().handle(easy(&log)).await {
                Ok(subscription) => break subscription,
                Err(error) => assert_eq!(error.reason(), "Subscription"),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let bus: Bus = stage.bus.clone();
    bus.close(SOON).await.expect("closes");
    let left = subscription.close(CLOSE).await.expect("closed with its bus");
    assert_eq!(left.left, Vec::<String>::new());
    refused(bus.subscribe(&stage.topic, GROUP).handle(easy(&log)).await, "Closed/Bus");
}

/// Cycles of subscribing, handling and every way out leave no task, thread or descriptor.
pub async fn nothing_is_left_after_close(harness: impl Harness) {
    cycle(&harness, 0).await;
    let before = Residue::at_rest().await;
    for round in 0..15 {
        cycle(&harness, round % 3).await;
    }
    before.settles("fifteen cycles of subscribe, handle and close").await;
}

async fn cycle(harness: &impl Harness, way_out: usize) {
    let (stage, log) = (Stage::open(harness).await, Log::default());
    stage.publish(&["a", "b", "c"], 10).await;
    let subscription = stage.subscribe().handle(easy(&log)).await.expect("subscribes");
    log.ended(30).await;
    end(subscription, way_out).await;
    stage.close().await;
}

async fn end(subscription: Subscription, way_out: usize) {
    match way_out {
        0 => drop(subscription.close(CLOSE).await.expect("closes")),
        1 => drop(subscription.close(Duration::from_millis(20)).await.expect("closes")),
        _ => drop(subscription),
    }
}
