//! C3, C6 and C9: many keys at once, retries that hold nobody up, and handlers that misbehave.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use busline_core::{
    Bus, Delivery, HandlerError, ParkingPolicy, Partition, Reason, Retry, Subscription, SubscriptionSettings,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Barrier, oneshot};
use tokio::time::Instant;

use crate::consume_stage::{Log, Step, easy, holds, keys_of, quick_retry, scripted, until};
use crate::envelopes::refused;
use crate::failures::Latch;
use crate::harness::Harness;
use crate::stage::{Stage, within};

const CLOSE: Duration = Duration::from_secs(5);

/// 64 handlers of 64 keys of one partition meet.
pub async fn sixty_four_keys_of_one_partition_run_at_once(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let names = keys_of(Partition(0), 64);
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let (barrier, noted) = (Arc::new(Barrier::new(64)), log.clone());
    let handler = move |delivery: Delivery| {
        let (barrier, log) = (Arc::clone(&barrier), noted.clone());
        async move {
            log.start(&delivery);
            barrier.wait().await;
            log.end(&delivery, true);
            Ok(())
        }
    };
    let settings = SubscriptionSettings { concurrency: 64, ..rare_commits() };
    let subscription = stage.subscribe().settings(settings).handle(handler).await.expect("subscribes");
    // All workers wait by then, so each of them has to be woken.
    holds(&subscription, 4).await;
    stage.publish(&keys, 3).await;
    log.ended(64 * 3).await;
    for key in keys {
        assert_eq!(log.handled(key), [1, 2, 3]);
    }
    drop(subscription);
    stage.close().await;
}

/// Handlers that were quick, so that one worker is given many of them, run at once all the same when they begin to wait.
pub async fn handlers_that_were_quick_meet_too(harness: impl Harness) {
    const QUICK: u64 = 40;
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let names = keys_of(Partition(0), 64);
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let (barrier, noted) = (Arc::new(Barrier::new(64)), log.clone());
    let handler = move |delivery: Delivery| {
        let (barrier, log) = (Arc::clone(&barrier), noted.clone());
        async move {
            log.start(&delivery);
            if delivery.envelope.event_version > QUICK {
                barrier.wait().await;
            }
            log.end(&delivery, true);
            Ok(())
        }
    };
    stage.publish(&keys, QUICK + 1).await;
    let settings = SubscriptionSettings { concurrency: 64, ..rare_commits() };
    let subscription = stage.subscribe().settings(settings).handle(handler).await.expect("subscribes");
    log.ended(64 * (QUICK as usize + 1)).await;
    drop(subscription);
    stage.close().await;
}

/// So rare that no commit looks after what somebody has forgotten to wake.
fn rare_commits() -> SubscriptionSettings {
    SubscriptionSettings { commit_interval: Duration::from_secs(60), ..SubscriptionSettings::default() }
}

/// Room that returns is used at once, and whoever waits for it is woken by nothing else.
pub async fn room_that_returns_is_used_at_once(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let names: Vec<String> = (0..10).map(|number| format!("k{number}")).collect();
    stage.publish(&names.iter().map(String::as_str).collect::<Vec<_>>(), 30).await;
    let settings = SubscriptionSettings { in_flight_records_max: 3, concurrency: 2, ..rare_commits() };
    let subscription = stage.subscribe().settings(settings).handle(easy(&log)).await.expect("subscribes");
    log.ended(300).await;
    drop(subscription);
    stage.close().await;
}

/// Never more handlers run than `concurrency` says.
pub async fn concurrency_is_a_bound(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let names: Vec<String> = (0..50).map(|number| format!("k{number}")).collect();
    stage.publish(&names.iter().map(String::as_str).collect::<Vec<_>>(), 4).await;
    let handler = scripted(&log, |_| Step::Take(Duration::from_millis(1)));
    let subscription = stage.subscribe().concurrency(5).handle(handler).await.expect("subscribes");
    stage.drained().await;
    assert_eq!(log.running_max(), 5, "50 keys fill five slots, and no more");
    drop(subscription);
    stage.close().await;
}

/// With one slot, a key in its backoff lets the others run.
pub async fn a_key_in_backoff_holds_no_slot(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["bad"], 1).await;
    stage.publish(&["a", "b", "c"], 10).await;
    let handler = scripted(&log, |delivery| match delivery.envelope.aggregate_id.as_str() {
        "bad" => Step::Fail,
        _ => Step::Ok,
    });
    let retry = Retry::exponential(3).backoff(Duration::from_secs(60), Duration::from_secs(60));
    let builder = stage.subscribe().concurrency(1).retry(retry);
    let subscription = builder.handle(handler).await.expect("subscribes");
    log.ended(31).await;
    assert_eq!(log.of("bad"), [(1, 1, false)]);
    within("close", subscription.close(CLOSE)).await.expect("a key in its backoff holds no close up either");
    stage.close().await;
}

/// Pauses grow, no attempt comes early, and none is forgotten however rare commits are.
pub async fn retries_wait_their_backoff(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a"], 1).await;
    let handler = scripted(&log, |delivery| if delivery.attempt < 4 { Step::Fail } else { Step::Ok });
    let retry = Retry { jitter: 0.0, ..Retry::exponential(4) }.backoff(Duration::from_millis(50), CLOSE);
    let settings = SubscriptionSettings { retry, ..rare_commits() };
    let subscription = stage.subscribe().settings(settings).handle(handler).await.expect("subscribes");
    log.ended(4).await;
    let starts = log.starts();
    for (number, pause) in [50, 100, 200].into_iter().enumerate() {
        let waited = starts[number + 1].at - starts[number].at;
        assert!(waited >= Duration::from_millis(pause), "attempt {} came after {waited:?}", number + 2);
        assert!(waited < Duration::from_millis(pause + 2_000), "attempt {} came after {waited:?}", number + 2);
    }
    drop(subscription);
    stage.close().await;
}

/// Attempts are counted anew by the next member.
pub async fn attempts_restart_with_the_member(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a"], 1).await;
    let handler = || scripted(&log, |_| Step::Fail);
    // More attempts than can be made here: one more than is waited for must not park the event.
    let retry = Retry::exponential(1_000).backoff(Duration::from_millis(1), Duration::from_secs(60));
    for _ in 0..2 {
        let before = log.ends().len();
        let subscription = stage.subscribe().retry(retry).handle(handler()).await.expect("subscribes");
        log.ended(before + 2).await;
        subscription.close(CLOSE).await.expect("closes");
    }
    let attempts: Vec<u32> = log.ends().iter().map(|call| call.attempt).collect();
    let restart = attempts.iter().rposition(|attempt| *attempt == 1).expect("attempts");
    assert!(restart >= 2 && attempts[..2] == [1, 2] && attempts[restart..].starts_with(&[1, 2]), "{attempts:?}");
    stage.close().await;
}

/// Where nothing is parked, a key that has used its attempts up waits, is named, and lets the others flow.
pub async fn a_key_out_of_attempts_waits_and_is_named(harness: impl Harness) {
    for ends_by in [Step::Fail, Step::Panic, Step::Park, Step::Never] {
        let (stage, log) = (Stage::open(&harness).await, Log::default());
        stage.one_partition().await;
        stage.publish(&["bad", "good"], 40).await;
        let (bad_end, is_parked) = (ends_by.clone(), matches!(ends_by, Step::Park));
        let handler = scripted(&log, move |delivery| {
            let is_bad = delivery.envelope.aggregate_id == "bad" && delivery.envelope.event_version == 3;
            if is_bad { bad_end.clone() } else { Step::Ok }
        });
        let builder = stage.subscribe().retry(quick_retry(2)).handler_timeout(Duration::from_millis(50));
        let builder = builder.parking(ParkingPolicy::Off);
        let subscription = builder.handle(handler).await.expect("subscribes");
        until("the name of the key", || !subscription.blocked().is_empty()).await;
        until("the others", || log.handled("good").len() == 40).await;
        let attempts = if is_parked { 1 } else { 2 };
        assert_eq!(log.of("bad").len(), 2 + attempts, "two good ones and the attempts of the third");
        let blocked = subscription.blocked();
        let fifth = stage.offset(Partition(0), 4).await;
        let named = format!("/0/{fifth} key bad");
        assert!(blocked[0].to_string().contains(&named), "names partition, offset and key: {blocked:?}");
        subscription.close(CLOSE).await.expect("closes");
        let committed = stage.committed().await;
        assert_eq!(committed[0], Some(fifth), "progress must stop at the failed head");
        stage.close().await;
    }
}

/// An event whose handler says so is passed over, and progress goes on.
pub async fn a_skipped_event_is_passed_over(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a"], 5).await;
    let handler = scripted(&log, |delivery| match delivery.envelope.event_version {
        2 => Step::Skip,
        _ => Step::Ok,
    });
    let subscription = stage.subscribe().handle(handler).await.expect("subscribes");
    stage.drained().await;
    assert_eq!(log.handled("a"), [1, 3, 4, 5]);
    assert_eq!(subscription.stats().skipped, 1);
    drop(subscription);
    stage.close().await;
}

/// Panics and timeouts are attempts, wherever they happen.
pub async fn panics_and_timeouts_are_attempts(harness: impl Harness) {
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 {
                std::panic::resume_unwind(Box::new("a defect in a drop"));
            }
        }
    }
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a", "b", "c", "d"], 2).await;
    let noted = log.clone();
    let handler = move |delivery: Delivery| {
        let log = noted.clone();
        // In the call itself, before there is a future.
        if delivery.attempt == 1 {
            std::panic::resume_unwind(Box::new("a defect in the call"));
        }
        async move {
            let _bomb = Bomb(delivery.attempt == 2);
            match delivery.attempt {
                2 => std::future::pending().await,
                3 => {
                    tokio::task::yield_now().await;
                    std::panic::resume_unwind(Box::new("a defect behind an await"))
                }
                _ => {}
            }
            log.start(&delivery);
            log.end(&delivery, true);
            Ok::<(), HandlerError>(())
        }
    };
    let builder = stage.subscribe().concurrency(2).retry(quick_retry(9)).handler_timeout(Duration::from_millis(20));
    let subscription = builder.handle(handler).await.expect("subscribes");
    stage.drained().await;
    for key in ["a", "b", "c", "d"] {
        assert_eq!(log.of(key), [(1, 4, true), (2, 4, true)], "key {key}");
    }
    assert_eq!(subscription.stats().failed_attempts, 8 * 3);
    drop(subscription);
    stage.close().await;
}

/// A subscription whose handlers block their threads where the test says so, until the latch opens.
struct Blocking {
    /// Of its own: a blocked thread may keep others from being polled, and the test is none of them.
    runtime: Runtime,
    subscription: Subscription,
    log: Log,
    latch: Latch,
}

impl Blocking {
    /// Two threads; `blocks` is asked for first attempts.
    async fn subscribe(stage: &Stage, blocks: impl Fn(&Delivery) -> bool + Send + Sync + 'static) -> Self {
        let (log, latch) = (Log::default(), Latch::default());
        let (noted, waits) = (log.clone(), latch.clone());
        let handler = move |delivery: Delivery| {
            let (log, latch) = (noted.clone(), waits.clone());
            let blocks = delivery.attempt == 1 && blocks(&delivery);
            async move {
                log.start(&delivery);
                if blocks {
                    latch.wait();
                }
                log.end(&delivery, true);
                Ok(())
            }
        };
        let (bus, topic) = (stage.bus.clone(), stage.topic.clone());
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let opened = runtime.spawn(async move {
            let builder = bus.subscribe(&topic, crate::consume_stage::GROUP).retry(quick_retry(3));
            let builder = builder.handler_timeout(Duration::from_millis(100));
            builder.handle(handler).await.expect("subscribes")
        });
        Self { subscription: opened.await.expect("opens"), runtime, log, latch }
    }

    async fn end(self, stage: Stage) {
        let left = self.subscription.close(CLOSE).await.expect("closes");
        assert_eq!(left.left, Vec::<String>::new());
        stage.close().await;
        self.runtime.shutdown_background();
    }
}

/// How many handlers health says block their threads.
async fn told_as_blocked(stage: &Stage) -> Option<usize> {
    let health = stage.bus.health().await;
    health.reasons.iter().find_map(|reason| match reason {
        Reason::HandlerBlocked { topic, handlers, .. } if *topic == stage.name() => Some(*handlers),
        _ => None,
    })
}

/// A handler that blocks its thread is reported within a second, also after a rest, keeps its key until it returns, and
/// has then timed out; others go on meanwhile.
pub async fn a_blocked_handler_keeps_its_key_and_is_reported(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    stage.one_partition().await;
    let blocking = Blocking::subscribe(&stage, |delivery| delivery.envelope.aggregate_id == "stuck").await;
    let Blocking { subscription, log, latch, .. } = &blocking;
    // Long enough without anything to handle that nobody watches any more.
    tokio::time::sleep(Duration::from_millis(500)).await;
    stage.publish(&["stuck", "free"], 2).await;
    until("the blocked handler", || log.starts().iter().any(|call| call.key == "stuck")).await;
    let began = Instant::now();
    until("the report", || subscription.stats().blocked_handlers == 1).await;
    assert!(began.elapsed() < Duration::from_millis(1_100), "reported after {:?}", began.elapsed());
    assert_eq!(told_as_blocked(&stage).await, Some(1), "health says so");
    until("the other key", || log.handled("free") == [1, 2]).await;
    assert_eq!(log.starts().iter().filter(|call| call.key == "stuck").count(), 1, "its key waits for it");
    latch.open();
    until("its next attempts", || log.of("stuck").len() == 3).await;
    let attempts: Vec<_> = log.of("stuck").into_iter().map(|(version, attempt, _)| (version, attempt)).collect();
    assert_eq!(attempts, [(1, 1), (1, 2), (2, 1)], "what blocked has timed out, whatever it returned");
    assert_eq!(told_as_blocked(&stage).await, None, "it has returned");
    blocking.end(stage).await;
}

/// As many handlers that block as the runtime has threads: they are told while nothing of it runs, nothing is taken for
/// lost, and once one returns everything goes on.
pub async fn as_many_blocked_handlers_as_threads_are_told(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    stage.one_partition().await;
    stage.publish(&["stuck", "too", "free"], 2).await;
    let blocking = Blocking::subscribe(&stage, |delivery| delivery.envelope.aggregate_id != "free").await;
    let Blocking { subscription, log, latch, .. } = &blocking;
    until("both reports", || subscription.stats().blocked_handlers == 2).await;
    assert_eq!(told_as_blocked(&stage).await, Some(2));
    assert!(log.ends().iter().all(|call| call.key == "free"), "their keys wait for them");
    latch.open();
    until("all keys", || ["stuck", "too", "free"].iter().all(|key| log.handled(key).last() == Some(&2))).await;
    assert_eq!(subscription.stats().lost_partitions, 0);
    blocking.end(stage).await;
}

/// A handler that blocks its thread after quick ones keeps no other key, though its worker was given several.
pub async fn a_blocked_handler_keeps_no_other_key(harness: impl Harness) {
    const QUICK: u64 = 40;
    let stage = Stage::open(&harness).await;
    let names = keys_of(Partition(0), 64);
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    stage.publish(&keys, QUICK + 5).await;
    let stuck = names[0].clone();
    let blocks =
        move |delivery: &Delivery| delivery.envelope.aggregate_id == stuck && delivery.envelope.event_version == QUICK;
    let blocking = Blocking::subscribe(&stage, blocks).await;
    let Blocking { log, latch, .. } = &blocking;
    let others = || names[1..].iter().all(|key| log.handled(key).len() as u64 == QUICK + 5);
    until("all other keys", others).await;
    assert_eq!(log.handled(&names[0]).len() as u64, QUICK - 1, "its own key waits for it");
    latch.open();
    until("its key", || log.handled(&names[0]).last() == Some(&(QUICK + 5))).await;
    blocking.end(stage).await;
}

/// A handler that closes its own subscription or its bus is refused at once.
pub async fn close_from_inside_a_handler_is_refused_at_once(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a"], 1).await;
    let itself: Arc<Mutex<Option<Subscription>>> = Arc::default();
    let (answer, answered) = oneshot::channel();
    let (bus, own, answer) = (stage.bus.clone(), Arc::clone(&itself), Arc::new(Mutex::new(Some(answer))));
    let handler = move |delivery: Delivery| {
        let (bus, own, answer) = (bus.clone(), Arc::clone(&own), Arc::clone(&answer));
        async move {
            if delivery.envelope.event_version > 1 {
                return Ok(());
            }
            let subscription = loop {
                let known = own.lock().expect("not poisoned").clone();
                match known {
                    Some(subscription) => break subscription,
                    None => tokio::task::yield_now().await,
                }
            };
            let closed = (subscription.close(CLOSE).await, Bus::close(&bus, CLOSE).await.map(drop));
            if let Some(answer) = answer.lock().expect("not poisoned").take() {
                drop(answer.send(closed));
            }
            Ok(())
        }
    };
    let subscription = stage.subscribe().handle(handler).await.expect("subscribes");
    *itself.lock().expect("not poisoned") = Some(subscription.clone());
    let (of_subscription, of_bus) = within("the answers", answered).await.expect("answers");
    refused(of_subscription, "Invalid/CloseInHandler");
    refused(of_bus, "Invalid/CloseInHandler");
    *itself.lock().expect("not poisoned") = None;
    stage.publish_from(&["a"], 2, 2).await;
    stage.drained().await;
    // Of another subscription it is legal.
    subscription.close(CLOSE).await.expect("closes from outside");
    let other = stage.bus.subscribe(&stage.topic, "others").handle(easy(&log)).await.expect("subscribes");
    other.close(CLOSE).await.expect("closes");
    stage.close().await;
}

/// A key in backoff costs the others nothing: they flow at their rate.
pub async fn others_flow_while_a_key_fails(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.one_partition().await;
    stage.publish(&["bad", "a", "b", "c"], 100).await;
    let is_healed = Arc::new(AtomicBool::new(false));
    let healed = Arc::clone(&is_healed);
    let handler = scripted(&log, move |delivery| {
        let is_bad = delivery.envelope.aggregate_id == "bad" && delivery.envelope.event_version == 1;
        if is_bad && !healed.load(Ordering::Relaxed) { Step::Fail } else { Step::Ok }
    });
    let retry = Retry::exponential(1_000).backoff(Duration::from_millis(5), Duration::from_millis(20));
    // Far fewer than wait behind the failing key: they are kept as offsets.
    let settings = SubscriptionSettings { retry, in_flight_records_max: 16, ..SubscriptionSettings::default() };
    let subscription = stage.subscribe().settings(settings).handle(handler).await.expect("subscribes");
    until("all others", || ["a", "b", "c"].iter().all(|key| log.handled(key).len() == 100)).await;
    assert_eq!(log.handled("bad"), Vec::<u64>::new());
    is_healed.store(true, Ordering::Relaxed);
    stage.drained().await;
    assert_eq!(log.handled("bad"), (1..=100).collect::<Vec<_>>(), "what waited as offsets comes in order");
    drop(subscription);
    stage.close().await;
}
