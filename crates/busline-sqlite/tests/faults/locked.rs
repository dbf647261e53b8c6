//! Another program on the file: one that keeps it locked, one that reads for long.

use std::time::{Duration, Instant};

use busline_core::{HealthState, Result, TopicName, TopicSpec};

use crate::ledger::{Ledger, Told, dump, envelope};
use crate::stage::{Stage, TOPIC, close, publisher};

#[tokio::test]
async fn a_lock_that_stays_fails_publishes_by_their_deadline_and_changes_by_the_patience() -> Result<()> {
    let mut stage = Stage::new();
    stage.config.patience = Duration::from_millis(300);
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(1)).await?;
    let other = publisher(&bus, Duration::from_secs(1)).await?;
    let foreign = stage.plain();
    foreign.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");

    let start = Instant::now();
    let (mut one, mut two) = (Ledger::default(), Ledger::default());
    let new_topic = TopicName::new("further")?;
    let spec = TopicSpec::default();
    let (first, second, made) = tokio::join!(
        one.publish(&orders, (0..40).map(|n| envelope("one", &format!("key-{}", n % 3), n, 10)).collect()),
        two.publish(&other, (0..40).map(|n| envelope("two", &format!("key-{}", n % 3), n, 10)).collect()),
        async {
            let made = bus.driver().create_topic(&new_topic, &spec).await;
            (made, start.elapsed())
        }
    );
    let waited = start.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&waited), "{waited:?}");
    for outcomes in [first, second] {
        let locked = outcomes[0].as_ref().expect_err("locked");
        assert_eq!(locked.code(), "Unavailable/Locked");
        let text = locked.to_string();
        // About as long as the deadline: it is met a moment after the envelope was accepted.
        let about_a_second =
            ["for 1.", "for 1000.", "for 9"].map(|begin| format!("bus.db was locked by another program {begin}"));
        assert!(about_a_second.iter().any(|about| text.contains(about)), "{text}");
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|error| error.is_definite())));
    }
    let (made, after) = made;
    assert_eq!(made.expect_err("locked").code(), "Unavailable/Locked");
    assert!(after < Duration::from_millis(900), "the change waited {after:?}, longer than the patience");

    foreign.execute_batch("COMMIT").expect("the lock is ours");
    one.publish(&orders, (40..60).map(|n| envelope("one", &format!("key-{}", n % 3), n, 10)).collect()).await;
    assert_eq!(one.count(|told| matches!(told, Told::Acked { .. })), 20);
    close(&bus).await;
    one.0.extend(two.0);
    one.judge(&dump(&stage.plain(), TOPIC)).unwrap_or_else(|broken| panic!("{broken}"));
    Ok(())
}

#[tokio::test]
async fn a_lock_that_goes_in_time_fails_nothing() -> Result<()> {
    let stage = Stage::new();
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(20)).await?;
    let foreign = stage.plain();
    foreign.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
    let mut ledger = Ledger::default();
    let burst = (0..200).map(|n| envelope("p", &format!("key-{}", n % 7), n, 10)).collect();
    let release = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        foreign.execute_batch("COMMIT").expect("the lock is ours");
    };
    tokio::join!(ledger.publish(&orders, burst), release);
    assert_eq!(ledger.count(|told| matches!(told, Told::Acked { .. })), 200);
    close(&bus).await;
    ledger.judge(&dump(&stage.plain(), TOPIC)).unwrap_or_else(|broken| panic!("{broken}"));
    Ok(())
}

#[tokio::test]
async fn closing_does_not_wait_for_a_foreign_lock() -> Result<()> {
    let stage = Stage::new();
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(30)).await?;
    let foreign = stage.plain();
    foreign.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
    let receipt = orders.publish(envelope("p", "key", 0, 10)).await?;
    let start = Instant::now();
    bus.close(Duration::from_millis(500)).await?;
    assert!(start.elapsed() < Duration::from_secs(2));
    let error = receipt.await.expect_err("nothing could be stored");
    assert!(matches!(error.code().as_str(), "Closed/CloseDeadline" | "Closed/Bus"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_long_read_lets_the_log_grow_and_holds_nobody_up() -> Result<()> {
    let stage = Stage::new();
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(10)).await?;
    let mut ledger = Ledger::default();
    let reader = stage.plain();
    reader.execute_batch("BEGIN; SELECT count(*) FROM records").expect("a snapshot");
    for round in 0..40 {
        let burst = (0..32).map(|n| envelope("p", &format!("key-{}", n % 7), round * 32 + n, 200)).collect();
        ledger.publish(&orders, burst).await;
    }
    assert_eq!(ledger.count(|told| matches!(told, Told::Acked { .. })), 1_280);
    let log_bytes = || std::fs::metadata(stage.beside("-wal")).map_or(0, |log| log.len());
    let grown = log_bytes();
    assert!(grown > 16 * 8_192, "the reader kept nothing: {grown} bytes");

    reader.execute_batch("COMMIT").expect("the snapshot is ours");
    for round in 40..120 {
        let burst = (0..32).map(|n| envelope("p", &format!("key-{}", n % 7), round * 32 + n, 200)).collect();
        ledger.publish(&orders, burst).await;
    }
    // The file never shrinks while it is open, but the log begins anew in it.
    let after = log_bytes();
    assert!(after < 2 * grown + 32 * 8_192, "{grown} bytes, then {after}");
    close(&bus).await;
    ledger.judge(&dump(&stage.plain(), TOPIC)).unwrap_or_else(|broken| panic!("{broken}"));
    Ok(())
}

/// A file that stays locked is trouble, although it can be read, and the bus is well again as soon as an ack has come.
#[tokio::test]
async fn health_tells_a_lock_that_stays() -> Result<()> {
    let stage = Stage::new();
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(60)).await?;
    orders.publish_sync(envelope("p", "key", 0, 10)).await?;
    assert_eq!(bus.health().await.state, HealthState::Healthy);
    let foreign = stage.plain();
    foreign.busy_timeout(Duration::from_secs(20)).expect("a timeout");
    foreign.execute_batch("BEGIN IMMEDIATE").expect("nobody writes for long");
    let receipt = orders.publish(envelope("p", "key", 1, 10)).await?;
    let becomes = async |state: HealthState| {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let health = bus.health().await;
            if health.state == state {
                return health;
            }
            assert!(Instant::now() < end, "wanted {state}, is {health}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let health = becomes(HealthState::Down).await;
    assert!(health.to_string().contains("publisher of orders: ") && health.to_string().contains("Locked"), "{health}");
    foreign.execute_batch("COMMIT").expect("the lock is ours");
    receipt.await?;
    becomes(HealthState::Healthy).await;
    close(&bus).await;
    Ok(())
}
