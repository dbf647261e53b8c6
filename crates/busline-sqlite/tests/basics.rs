//! The embedded log at work, seen through plain SQLite.

use std::sync::Arc;
use std::time::Duration;

use busline_core::{Bus, Clock, Durability, Envelope, Medium, Offset, ReadRequest};
use busline_sqlite::{SqliteConfig, SqliteDriver};
use rusqlite::Connection;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acked_stands_in_the_file_in_order() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bus.db");
    let bus = Bus::new(Arc::new(SqliteDriver::open(SqliteConfig::new(&path)).await?));
    let orders = bus.publisher("orders").open().await?;
    let mut receipts = Vec::new();
    for version in 1..=10_000 {
        receipts.push(orders.publish(Envelope::new(format!("order-{}", version % 7), "Placed", version)).await?);
    }
    for receipt in receipts {
        assert_eq!(receipt.await?.durability, Durability::one(Medium::Synced));
    }
    let again = orders.publish_sync(Envelope::new("order-1", "Placed", 10_001)).await?;
    assert!(again.offset > Some(Offset(0)));
    bus.close(Duration::from_secs(5)).await?;

    let dump = Connection::open(&path)?;
    let count: i64 = dump.query_row("SELECT count(*) FROM records", [], |row| row.get(0))?;
    assert_eq!(count, 10_001);
    let left: Vec<String> = std::fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, std::io::Error>>()?;
    assert!(left.iter().all(|name| name.starts_with("bus.db")), "{left:?}");
    assert!(!left.contains(&"bus.db.lock".into()), "{left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_is_readable_for_its_owner_only() -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir()?;
    let bus = Bus::new(Arc::new(SqliteDriver::open(SqliteConfig::new(folder.path().join("bus.db"))).await?));
    bus.publisher("orders").open().await?.publish_sync(Envelope::new("order-1", "Placed", 1)).await?;
    let mut files = 0;
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        assert_eq!(entry.metadata()?.permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        files += 1;
    }
    assert_eq!(files, 4, "the file, its -wal, its -shm and the turnstile");
    bus.close(Duration::from_secs(5)).await?;
    Ok(())
}

/// A clock that goes back an hour with each look.
#[derive(Debug, Default)]
struct Backwards(std::sync::atomic::AtomicI64);

impl Clock for Backwards {
    fn now(&self) -> jiff::Timestamp {
        let hours = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        jiff::Timestamp::from_second(1_800_000_000 - hours * 3_600).expect("in range")
    }
}

/// Times may decrease from record to record; offsets say the order.
#[tokio::test]
async fn a_clock_that_goes_back_changes_no_order() -> Outcome {
    let folder = tempfile::tempdir()?;
    let config = SqliteConfig::new(folder.path().join("bus.db"));
    let bus = Bus::new(Arc::new(SqliteDriver::open_with_clock(config, Arc::new(Backwards::default())).await?));
    let publisher = bus.publisher("orders").open().await?;
    for version in 1..=5 {
        publisher.publish_sync(Envelope::new("k", "Placed", version)).await?;
    }
    let topic = publisher.topic().name.clone();
    let partition = busline_core::partition_of(b"k", 4);
    let request = ReadRequest { partition, from: Offset(0), to: Offset(10), records_max: 10, bytes_max: 1 << 20 };
    let records = bus.driver().read(&topic, request).await?;
    assert!(records.is_sorted_by(|one, next| one.time > next.time), "the clock goes back: {records:?}");
    let versions: Vec<u64> =
        records.iter().map(|record| record.envelope(&topic).expect("an envelope").event_version).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5]);
    bus.close(Duration::from_secs(5)).await?;
    Ok(())
}

/// A clock that panics once it is told to.
#[derive(Debug, Default)]
struct Panics(std::sync::atomic::AtomicBool);

impl Clock for Panics {
    fn now(&self) -> jiff::Timestamp {
        assert!(!self.0.swap(false, std::sync::atomic::Ordering::Relaxed), "a clock panics");
        jiff::Timestamp::UNIX_EPOCH
    }
}

/// A panic in the middle of a transaction: nothing more is written by this bus, everybody is told at once, and the lock of
/// the file is free for others.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_committer_is_told_and_locks_nobody_out() -> Outcome {
    let folder = tempfile::tempdir()?;
    let config = SqliteConfig {
        retention_interval: Duration::from_secs(3_600),
        ..SqliteConfig::new(folder.path().join("bus.db"))
    };
    let clock = Arc::new(Panics::default());
    let driver = SqliteDriver::open_with_clock(config.clone(), Arc::clone(&clock) as Arc<dyn Clock>).await?;
    let bus = Bus::new(Arc::new(driver));
    let publisher = bus.publisher("orders").open().await?;
    publisher.publish_sync(Envelope::new("k", "Placed", 1)).await?;
    clock.0.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = publisher.publish_sync(Envelope::new("k", "Placed", 2)).await.expect_err("it panicked");
    assert!(!error.is_definite(), "{error}");
    let error = publisher.publish_sync(Envelope::new("k", "Placed", 3)).await.expect_err("nothing more");
    assert_eq!((error.code(), error.is_definite()), ("Unavailable/Poisoned".into(), true), "{error}");
    let other = Bus::new(Arc::new(SqliteDriver::open(config).await?));
    other.publisher("orders").open().await?.publish_sync(Envelope::new("k", "Placed", 2)).await?;
    other.close(Duration::from_secs(5)).await?;
    bus.close(Duration::from_secs(5)).await?;
    Ok(())
}
