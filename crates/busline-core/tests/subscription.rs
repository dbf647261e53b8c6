//! The subscribing engine over the memory driver.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use busline_core::{Bus, Delivery, Envelope, HandlerError, MemoryDriver, Offset, Partition, Retry};
use tokio::sync::{Barrier, Notify};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const CLOSE: Duration = Duration::from_secs(5);

fn bus() -> Bus {
    Bus::new(Arc::new(MemoryDriver::new()))
}

/// Publishes versions 1 to `versions` of each key, interleaved.
async fn publish(bus: &Bus, keys: &[&str], versions: u64) -> Outcome {
    let publisher = bus.publisher("orders").open().await?;
    for version in 1..=versions {
        for key in keys {
            publisher.publish_sync(Envelope::new(*key, "Happened", version)).await?;
        }
    }
    Ok(())
}

/// What handlers saw (key, version, attempt, success), and a wake-up for whoever waits for a number of ends.
#[derive(Default)]
struct Seen {
    ends: Mutex<Vec<(String, u64, u32, bool)>>,
    more: Notify,
}

impl Seen {
    fn note(&self, delivery: &Delivery, ok: bool) {
        let envelope = &delivery.envelope;
        let end = (envelope.aggregate_id.clone(), envelope.event_version, delivery.attempt, ok);
        self.ends.lock().unwrap().push(end);
        self.more.notify_one();
    }

    async fn wait_for(&self, count: usize) {
        while self.ends.lock().unwrap().len() < count {
            let more = tokio::time::timeout(Duration::from_secs(20), self.more.notified()).await;
            assert!(more.is_ok(), "deliveries stopped at {} of {count}", self.ends.lock().unwrap().len());
        }
    }

    fn of(&self, key: &str) -> Vec<(u64, u32, bool)> {
        let ends = self.ends.lock().unwrap();
        let of_key = ends.iter().filter(|(found, ..)| found == key);
        of_key.map(|(_, version, attempt, ok)| (*version, *attempt, *ok)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_handled_in_order_and_progress_reaches_the_end() -> Outcome {
    let (bus, seen) = (bus(), Arc::new(Seen::default()));
    let keys = ["a", "b", "c", "d", "e", "f", "g"];
    publish(&bus, &keys, 200).await?;
    let note = Arc::clone(&seen);
    let handler = move |delivery: Delivery| {
        let seen = Arc::clone(&note);
        async move {
            tokio::task::yield_now().await;
            seen.note(&delivery, true);
            Ok(())
        }
    };
    let subscription = bus.subscribe("orders", "billing").concurrency(8).handle(handler).await?;
    seen.wait_for(keys.len() * 200).await;
    for key in keys {
        let wanted: Vec<_> = (1..=200).map(|version| (version, 1, true)).collect();
        assert_eq!(seen.of(key), wanted, "key {key}");
    }
    let left = subscription.close(CLOSE).await;
    assert!(left.left.is_empty(), "{left:?}");
    let topic = "orders".parse()?;
    let committed = bus.driver().committed(&"billing".parse()?, &topic).await?;
    for (number, committed) in committed.into_iter().enumerate() {
        assert_eq!(committed, Some(bus.driver().bounds(&topic, Partition(number as u32)).await?.end));
    }
    bus.close(CLOSE).await?;
    Ok(())
}

/// The sequence in which peers lose or swap events: A1 A2! A2! A2! A2 A3 A4 A5, and B is not held up.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_event_holds_its_key_only() -> Outcome {
    let (bus, seen) = (bus(), Arc::new(Seen::default()));
    publish(&bus, &["A", "B"], 5).await?;
    let b_was_done = Arc::new(AtomicBool::new(false));
    let (note, b_done) = (Arc::clone(&seen), Arc::clone(&b_was_done));
    let handler = move |delivery: Delivery| {
        let (seen, b_done) = (Arc::clone(&note), Arc::clone(&b_done));
        async move {
            let version = delivery.envelope.event_version;
            let fails = delivery.envelope.aggregate_id == "A" && version == 2 && delivery.attempt <= 3;
            if fails && delivery.attempt == 2 {
                b_done.store(seen.of("B").len() == 5, Ordering::Relaxed);
            }
            seen.note(&delivery, !fails);
            if fails { Err(HandlerError::from("not yet")) } else { Ok(()) }
        }
    };
    let retry = Retry::exponential(5).backoff(Duration::from_secs(1), Duration::from_secs(1));
    let subscription = bus.subscribe("orders", "billing").retry(retry).handle(handler).await?;
    seen.wait_for(13).await;
    let of_a = [(1, 1, true), (2, 1, false), (2, 2, false), (2, 3, false), (2, 4, true)];
    assert_eq!(seen.of("A"), [&of_a[..], &[(3, 1, true), (4, 1, true), (5, 1, true)]].concat());
    assert_eq!(seen.of("B").len(), 5);
    assert!(b_was_done.load(Ordering::Relaxed), "B5 must have ended before A2's second attempt");
    subscription.close(CLOSE).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_keys_of_one_partition_run_at_once() -> Outcome {
    let bus = bus();
    let all = (0..).map(|number| format!("key-{number}"));
    let keys: Vec<String> =
        all.filter(|key| busline_core::partition_of(key.as_bytes(), 4) == Partition(0)).take(64).collect();
    publish(&bus, &keys.iter().map(String::as_str).collect::<Vec<_>>(), 1).await?;
    let (barrier, met) = (Arc::new(Barrier::new(65)), Arc::new(AtomicUsize::new(0)));
    let (inner, count) = (Arc::clone(&barrier), Arc::clone(&met));
    let handler = move |_: Delivery| {
        let (barrier, count) = (Arc::clone(&inner), Arc::clone(&count));
        async move {
            barrier.wait().await;
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    };
    let subscription = bus.subscribe("orders", "billing").concurrency(64).handle(handler).await?;
    tokio::time::timeout(Duration::from_secs(10), barrier.wait()).await?;
    subscription.close(CLOSE).await;
    assert_eq!(met.load(Ordering::Relaxed), 64);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_attempts_are_used_up_waits_and_is_named() -> Outcome {
    let (bus, seen) = (bus(), Arc::new(Seen::default()));
    publish(&bus, &["bad", "good"], 50).await?;
    let note = Arc::clone(&seen);
    let handler = move |delivery: Delivery| {
        let seen = Arc::clone(&note);
        async move {
            let fails = delivery.envelope.aggregate_id == "bad" && delivery.envelope.event_version == 3;
            seen.note(&delivery, !fails);
            assert!(!fails, "a defect of the handler");
            Ok(())
        }
    };
    let retry = Retry::exponential(2).backoff(Duration::from_millis(1), Duration::from_millis(1));
    let subscription = bus.subscribe("orders", "billing").retry(retry).handle(handler).await?;
    seen.wait_for(54).await;
    while subscription.blocked().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.of("bad"), [(1, 1, true), (2, 1, true), (3, 1, false), (3, 2, false)]);
    let blocked = subscription.blocked();
    assert!(blocked[0].to_string().contains("key bad: a key has used its attempts up"), "{blocked:?}");
    subscription.close(CLOSE).await;
    let partition = busline_core::partition_of(b"bad", 4);
    let committed = bus.driver().committed(&"billing".parse()?, &"orders".parse()?).await?[partition.0 as usize];
    assert!(committed.is_some_and(|offset| offset <= Offset(5)), "progress went past a failed head: {committed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_partitions_and_hand_them_over() -> Outcome {
    let (bus, seen) = (bus(), Arc::new(Seen::default()));
    let note = Arc::clone(&seen);
    let handler = move |delivery: Delivery| {
        let seen = Arc::clone(&note);
        async move {
            seen.note(&delivery, true);
            Ok(())
        }
    };
    let names: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = bus.subscribe("orders", "billing").handle(handler.clone()).await?;
    publish(&bus, &keys, 5).await?;
    seen.wait_for(200).await;
    let second = bus.subscribe("orders", "billing").handle(handler).await?;
    while (first.partitions().len(), second.partitions().len()) != (2, 2) {
        tokio::task::yield_now().await;
    }
    let publisher = bus.publisher("orders").open().await?;
    for key in &keys {
        publisher.publish_sync(Envelope::new(*key, "Happened", 6)).await?;
    }
    seen.wait_for(240).await;
    first.close(CLOSE).await;
    while second.partitions().len() != 4 {
        tokio::task::yield_now().await;
    }
    for key in &keys {
        publisher.publish_sync(Envelope::new(*key, "Happened", 7)).await?;
    }
    seen.wait_for(280).await;
    for key in &keys {
        let versions: Vec<u64> = seen.of(key).into_iter().map(|(version, ..)| version).collect();
        assert_eq!(versions, [1, 2, 3, 4, 5, 6, 7], "key {key}");
    }
    bus.close(CLOSE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_handler_that_blocks_its_thread_is_reported_and_counts_as_a_timeout() -> Outcome {
    let bus = bus();
    publish(&bus, &["a"], 1).await?;
    let (_never, wait) = std::sync::mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let handler = move |delivery: Delivery| {
        let wait = Arc::clone(&wait);
        async move {
            if delivery.attempt == 1 {
                wait.lock().unwrap().recv_timeout(Duration::from_millis(1_600)).ok();
            }
            Ok(())
        }
    };
    let retry = Retry::exponential(2).backoff(Duration::from_millis(1), Duration::from_millis(1));
    let subscription = bus.subscribe("orders", "billing").retry(retry).handle(handler).await?;
    while subscription.stats().handled == 0 {
        tokio::task::yield_now().await;
    }
    let stats = subscription.stats();
    assert_eq!((stats.failed_attempts, stats.blocked_handlers), (1, 1));
    subscription.close(CLOSE).await;
    Ok(())
}
