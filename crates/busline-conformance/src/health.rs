//! B1: a bus is judged by acks and commits that moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use busline_core::{Delivery, ErrorKind, Health, HealthState, Reason, Retry, Work};

use crate::consume_stage::{GROUP, Log, Step, easy, scripted};
use crate::envelopes::{accept, acked, envelope, outcome};
use crate::harness::Harness;
use crate::stage::{SOON, Stage};

/// Looks until the bus is as wanted.
async fn becomes(stage: &Stage, state: HealthState) -> Health {
    let end = tokio::time::Instant::now() + SOON * 2;
    loop {
        let health = stage.bus.health().await;
        if health.state == state {
            return health;
        }
        assert!(tokio::time::Instant::now() < end, "wanted {state}, is {health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A bus at work is healthy, and so is one that has nothing to do.
pub async fn a_bus_that_works_is_healthy(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let idle = stage.bus.health().await;
    assert_eq!(idle.state, HealthState::Healthy, "nothing is open: {idle}");
    let subscription = stage.subscribe().handle(easy(&log)).await.expect("subscribes");
    let publisher = stage.publisher().await;
    for version in 1..=20 {
        acked(accept(&publisher, envelope("a", version))).await;
        let health = stage.bus.health().await;
        // A machine under load may answer late, which is said and proves nothing while acks come.
        let is_slow = |reason: &Reason| matches!(reason, Reason::NoAnswer(error) if error.kind() == ErrorKind::Timeout);
        assert!(health.reasons.iter().all(is_slow) && health.state != HealthState::Down, "{health}");
    }
    stage.drained().await;
    let health = becomes(&stage, HealthState::Healthy).await;
    assert!(health.reasons.is_empty(), "{health}");
    drop(subscription);
    stage.close().await;
}

/// A publisher whose envelopes fail is told, and one whose next envelope is acked is well again.
pub async fn failing_publishes_are_told(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.builder().on_failure(drop).open().await.expect("opens");
    acked(accept(&publisher, envelope("a", 1))).await;
    assert_eq!(stage.bus.health().await.state, HealthState::Healthy);
    faults.fail_next(1);
    outcome(accept(&publisher, envelope("a", 2))).await.expect_err("refused by the test");
    let health = stage.bus.health().await;
    assert_eq!(health.state, HealthState::Down, "no other publisher moves: {health}");
    let told = |reason: &Reason| matches!(reason, Reason::Failing { topic, envelopes: 1 } if *topic == stage.name());
    assert!(health.reasons.iter().any(told), "{health}");
    acked(accept(&publisher, envelope("a", 3))).await;
    let health = stage.bus.health().await;
    assert_eq!(health.state, HealthState::Healthy, "{health}");
    stage.close().await;
}

/// Whoever has something to do and gets nothing done is told, although the backend answers; once it moves it is well.
pub async fn standing_still_is_told(harness: impl Harness) {
    let ((stage, faults), log) = (Stage::faulty(&harness).await, Log::default());
    stage.publish(&["a"], 3).await;
    let works = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&works);
    let handler = scripted(&log, move |_| if mended.load(Ordering::Acquire) { Step::Ok } else { Step::Fail });
    let retry = Retry::exponential(1_000).backoff(Duration::from_millis(50), Duration::from_millis(50));
    let builder = stage.subscribe().retry(retry).handler_timeout(Duration::from_millis(100));
    let subscription = builder.handle(handler).await.expect("subscribes");
    let publisher = stage.publisher().await;
    log.started(1).await;
    faults.hold();
    let receipt = accept(&publisher, envelope("b", 1));
    assert_eq!(stage.bus.health().await.state, HealthState::Healthy, "nothing stands still yet");
    let health = becomes(&stage, HealthState::Down).await;
    let told = |wanted: &Work| {
        let is_it = |reason: &Reason| matches!(reason, Reason::NoProgress { work, .. } if work == wanted);
        health.reasons.iter().any(is_it)
    };
    let group = GROUP.parse().expect("a legal name");
    assert!(told(&Work::Publisher(stage.name())) && told(&Work::Subscription(group, stage.name())), "{health}");
    faults.release();
    acked(receipt).await;
    let health = becomes(&stage, HealthState::Degraded).await;
    assert!(matches!(&health.reasons[..], [Reason::NoProgress { work: Work::Subscription(..), .. }]), "{health}");
    works.store(true, Ordering::Release);
    becomes(&stage, HealthState::Healthy).await;
    drop(subscription);
    stage.close().await;
}

/// A handler that publishes to its own topic for ever is bounded by the windows and told; so is its end.
pub async fn a_topic_that_feeds_itself_is_told(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let publisher = stage.builder().window(WINDOW, 1 << 20).open().await.expect("opens");
    let is_fed = Arc::new(AtomicBool::new(true));
    let (feeding, noted, feeder) = (Arc::clone(&is_fed), log.clone(), publisher.clone());
    let handler = move |delivery: Delivery| {
        let (is_fed, log, publisher) = (Arc::clone(&feeding), noted.clone(), feeder.clone());
        async move {
            log.start(&delivery);
            if is_fed.load(Ordering::Acquire) {
                let next = envelope(&delivery.envelope.aggregate_id, delivery.envelope.event_version + 1);
                drop(publisher.publish(next).await.map_err(|error| error.to_string())?);
            }
            log.end(&delivery, true);
            Ok(())
        }
    };
    let subscription = stage.subscribe().handle(handler).await.expect("subscribes");
    stage.publish(&["a", "b", "c", "d"], 1).await;
    let is_told = |health: &Health| {
        health.reasons.iter().any(|reason| {
            matches!(reason, Reason::SelfFeedingTopic { topic, envelopes, .. }
                if *topic == stage.name() && *envelopes >= 100)
        })
    };
    let mut handled = 0;
    loop {
        let health = stage.bus.health().await;
        if is_told(&health) {
            assert_eq!(health.state, HealthState::Degraded, "{health}");
            break;
        }
        handled += 200;
        log.ended(handled).await;
        assert!(handled < 4_000, "not told: {health}");
    }
    let (stats, window) = (subscription.stats(), publisher.stats());
    assert!(stats.in_flight_records <= 8 && window.accepted - window.acked <= WINDOW as u64, "{stats:?} {window:?}");
    is_fed.store(false, Ordering::Release);
    stage.drained().await;
    let health = becomes(&stage, HealthState::Healthy).await;
    assert!(health.reasons.is_empty(), "{health}");
    stage.close().await;
}

/// Most envelopes in flight where a topic feeds itself.
const WINDOW: usize = 16;

/// A closed bus is down.
pub async fn a_closed_bus_is_down(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let bus = stage.bus.clone();
    stage.close().await;
    let health = bus.health().await;
    assert_eq!(health.state, HealthState::Down);
    assert!(matches!(&health.reasons[..], [Reason::NoAnswer(error)] if error.code() == "Closed/Bus"), "{health}");
}
