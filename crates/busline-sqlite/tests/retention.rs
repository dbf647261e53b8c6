//! Limits of retention: enforced while the file is open and when it is opened, counted for each group, and the file
//! becomes shorter.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use busline_core::{
    Bounds, Bus, Clock, Envelope, GroupName, OccurredAt, Offset, Partition, Provision, Publisher, Result, Retention,
    TopicName, TopicSpec,
};
use busline_sqlite::{SqliteConfig, SqliteDriver};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

const TOPIC: &str = "orders";
const FIRST: Partition = Partition(0);

/// A clock that stands until it is moved.
#[derive(Debug)]
struct Hand {
    second: AtomicI64,
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(self.second.load(Ordering::Acquire))
    }
}

struct Stage {
    _folder: TempDir,
    config: SqliteConfig,
    clock: Arc<Hand>,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let config = SqliteConfig {
            retention_interval: Duration::from_millis(10),
            ..SqliteConfig::new(folder.path().join("bus.db"))
        };
        Self { _folder: folder, config, clock: Arc::new(Hand { second: AtomicI64::new(1_000_000_000) }) }
    }

    async fn open(&self) -> Result<Bus> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Ok(Bus::new(Arc::new(SqliteDriver::open_with_clock(self.config.clone(), clock).await?)))
    }

    fn file_bytes(&self) -> u64 {
        std::fs::metadata(&self.config.path).expect("the file").len()
    }
}

fn topic() -> TopicName {
    TopicName::new(TOPIC).expect("a legal name")
}

fn group(name: &str) -> GroupName {
    GroupName::new(name).expect("a legal name")
}

fn spec(retention: Retention) -> TopicSpec {
    TopicSpec { partitions: 1, retention, ..TopicSpec::default() }
}

async fn publisher(bus: &Bus, retention: Retention) -> Result<Publisher> {
    bus.publisher(TOPIC).provision(Provision::CreateOrUpdate(spec(retention))).on_failure(drop).open().await
}

async fn publish(orders: &Publisher, count: u64, body_bytes: usize) -> Result<()> {
    let mut receipts = Vec::new();
    for number in 0..count {
        let long_ago = OccurredAt::parse("2011-01-01T00:00:00Z")?;
        let envelope = Envelope::new(format!("key-{}", number % 7), "Tested", 1).json(&"x".repeat(body_bytes))?;
        receipts.push(orders.publish(Envelope { occurred_at: long_ago, ..envelope }).await?);
    }
    for receipt in receipts {
        receipt.await?;
    }
    Ok(())
}

async fn bounds(bus: &Bus) -> Bounds {
    bus.driver().bounds(&topic(), FIRST).await.expect("the topic exists")
}

/// Waits until the partition begins here.
async fn starts_at(bus: &Bus, start: u64) {
    let end = Instant::now() + Duration::from_secs(20);
    while bounds(bus).await.start != Offset(start) {
        assert!(Instant::now() < end, "the partition holds {:?}, wanted from {start}", bounds(bus).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn close(bus: &Bus) {
    bus.close(Duration::from_secs(5)).await.expect("an orderly end");
}

#[tokio::test]
async fn the_newest_records_are_kept_up_to_their_number() -> Result<()> {
    let stage = Stage::new();
    let bus = stage.open().await?;
    let orders = publisher(&bus, Retention { records_max: Some(10), ..Retention::default() }).await?;
    publish(&orders, 1_234, 10).await?;
    starts_at(&bus, 1_224).await;
    assert_eq!(bounds(&bus).await.end, Offset(1_234));
    publish(&orders, 3, 10).await?;
    starts_at(&bus, 1_227).await;
    // More room deletes nothing, and less deletes at once.
    publisher(&bus, Retention { records_max: Some(12), ..Retention::default() }).await?;
    publish(&orders, 2, 10).await?;
    publisher(&bus, Retention { records_max: Some(5), ..Retention::default() }).await?;
    starts_at(&bus, 1_234).await;
    close(&bus).await;
    Ok(())
}

#[tokio::test]
async fn the_newest_bytes_are_kept_up_to_their_sum() -> Result<()> {
    let stage = Stage::new();
    let bus = stage.open().await?;
    let orders = publisher(&bus, Retention::default()).await?;
    publish(&orders, 50, 2_000).await?;
    let connection = rusqlite::Connection::open(&stage.config.path).expect("the file");
    let sizes = || -> Vec<u64> {
        let sql = "SELECT length(key) + coalesce(length(headers), 0) + length(body) FROM records ORDER BY position";
        let mut select = connection.prepare(sql).expect("our tables");
        let rows = select.query_map([], |row| row.get(0)).expect("our tables");
        rows.collect::<rusqlite::Result<_>>().expect("our tables")
    };
    let (all, newest): (u64, u64) = (sizes().iter().sum(), sizes()[40..].iter().sum());
    let counted =
        || -> u64 { connection.query_row("SELECT bytes FROM partitions", [], |row| row.get(0)).expect("our tables") };
    assert_eq!(counted(), all, "what was appended is counted");
    publisher(&bus, Retention { bytes_max: Some(newest), ..Retention::default() }).await?;
    starts_at(&bus, 40).await;
    assert_eq!(counted(), newest, "what was deleted is not");
    // A record that is larger than the limit is kept while it is the newest.
    publisher(&bus, Retention { bytes_max: Some(1), ..Retention::default() }).await?;
    starts_at(&bus, 49).await;
    bus.driver().trim(&topic(), FIRST, Offset(50)).await?;
    assert_eq!(counted(), 0);
    close(&bus).await;
    Ok(())
}

#[tokio::test]
async fn age_counts_from_when_a_record_was_stored() -> Result<()> {
    let stage = Stage::new();
    let bus = stage.open().await?;
    let orders = publisher(&bus, Retention { age_max: Some(Duration::from_secs(60)), ..Retention::default() }).await?;
    publish(&orders, 700, 10).await?;
    stage.clock.second.fetch_add(40, Ordering::AcqRel);
    publish(&orders, 5, 10).await?;
    // Each of these events occurred in 2011. Several looks pass.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bounds(&bus).await.start, Offset(0));
    stage.clock.second.fetch_add(21, Ordering::AcqRel);
    starts_at(&bus, 700).await;
    stage.clock.second.fetch_add(40, Ordering::AcqRel);
    starts_at(&bus, 705).await;
    publish(&orders, 1, 10).await?;
    assert_eq!(bounds(&bus).await, Bounds { start: Offset(705), end: Offset(706) }, "offsets go on");
    close(&bus).await;
    Ok(())
}

#[tokio::test]
async fn a_file_is_brought_to_its_limits_when_it_is_opened() -> Result<()> {
    let mut stage = Stage::new();
    stage.config.retention_interval = Duration::from_secs(3_600);
    let bus = stage.open().await?;
    let orders = publisher(&bus, Retention { records_max: Some(10), ..Retention::default() }).await?;
    publish(&orders, 700, 10).await?;
    close(&bus).await;
    let bus = stage.open().await?;
    starts_at(&bus, 690).await;
    close(&bus).await;
    Ok(())
}

/// Unfinished records are counted for each group exactly, once, and for good; also those that a trim deletes.
#[tokio::test]
async fn what_a_group_had_not_finished_is_counted() -> Result<()> {
    let stage = Stage::new();
    let (bus, other) = (stage.open().await?, stage.open().await?);
    let orders = publisher(&bus, Retention::default()).await?;
    publish(&orders, 1_000, 10).await?;
    for (name, committed) in [("slow", 300), ("far", 0), ("ready", 1_000)] {
        bus.driver().move_committed(&group(name), &topic(), &[(FIRST, Offset(committed))]).await?;
    }
    // Two committers keep the same topic to its limits.
    publisher(&bus, Retention { records_max: Some(100), ..Retention::default() }).await?;
    starts_at(&bus, 900).await;
    let expect = async |bus: &Bus, wanted: [u64; 4]| {
        for (name, wanted) in ["slow", "far", "ready", "unknown"].into_iter().zip(wanted) {
            let lag = bus.driver().lag(&group(name), &topic()).await.expect("the topic exists");
            assert_eq!(lag[0].deleted, Some(wanted), "group {name}");
        }
    };
    expect(&bus, [600, 900, 0, 0]).await;
    bus.driver().trim(&topic(), FIRST, Offset(950)).await?;
    expect(&other, [650, 950, 0, 0]).await;
    close(&bus).await;
    close(&other).await;
    let bus = stage.open().await?;
    expect(&bus, [650, 950, 0, 0]).await;
    bus.driver().delete_group(&group("slow"), &topic()).await?;
    expect(&bus, [0, 950, 0, 0]).await;
    close(&bus).await;
    Ok(())
}

/// A member that is at work while its records are deleted loses what it had not read, is told, and goes on.
#[tokio::test]
async fn a_reader_is_told_what_was_deleted_before_it() -> Result<()> {
    let stage = Stage::new();
    let bus = stage.open().await?;
    let orders = publisher(&bus, Retention::default()).await?;
    publish(&orders, 20, 10).await?;
    bus.driver().move_committed(&group("late"), &topic(), &[(FIRST, Offset(5))]).await?;
    bus.driver().trim(&topic(), FIRST, Offset(20)).await?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let subscription = bus
        .subscribe(TOPIC, "late")
        .handle(move |delivery: busline_core::Delivery| {
            log.lock().expect("no panic").push(delivery.offset.0);
            async { Ok(()) }
        })
        .await?;
    let until = Instant::now() + Duration::from_secs(20);
    while subscription.stats().gaps == 0 {
        assert!(Instant::now() < until, "nothing is left to read, and the gap is told all the same");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    publish(&orders, 3, 10).await?;
    while seen.lock().expect("no panic").len() < 3 {
        assert!(Instant::now() < until, "what is there is handled");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut handled = seen.lock().expect("no panic").clone();
    handled.sort_unstable();
    assert_eq!(handled, [20, 21, 22], "each is of a key of its own, and keys are handled side by side");
    assert_eq!((subscription.stats().gaps, subscription.stats().gap_positions), (1, 15));
    close(&bus).await;
    Ok(())
}

/// While the bus stays open, not only when it is closed.
#[tokio::test]
async fn the_file_becomes_shorter_when_records_are_deleted() -> Result<()> {
    let mut stage = Stage::new();
    stage.config.checkpoint_pages = 100;
    let bus = stage.open().await?;
    let orders = publisher(&bus, Retention::default()).await?;
    publish(&orders, 1_500, 4_000).await?;
    assert!(stage.file_bytes() > 5_000_000, "most of 1,500 records of 4,000 bytes have come to the file itself");
    publisher(&bus, Retention { records_max: Some(50), ..Retention::default() }).await?;
    starts_at(&bus, 1_450).await;
    let end = Instant::now() + Duration::from_secs(20);
    while stage.file_bytes() > 1 << 20 {
        assert!(Instant::now() < end, "{} bytes hold 50 records of 4,000", stage.file_bytes());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(stage.file_bytes() > 50 * 4_000);
    close(&bus).await;
    Ok(())
}

/// Upkeep waits for no lock, and what it left goes on by itself: a process that only publishes makes no change that would
/// remind it.
#[tokio::test]
async fn what_a_lock_keeps_from_being_deleted_goes_later() -> Result<()> {
    let stage = Stage::new();
    let bus = stage.open().await?;
    let orders = publisher(&bus, Retention::default()).await?;
    publish(&orders, 5_000, 10).await?;
    orders.close(Duration::from_secs(5)).await;
    let foreign = rusqlite::Connection::open(&stage.config.path).expect("the file");
    foreign.busy_timeout(Duration::from_secs(5)).expect("sets");
    bus.driver().delete_topic(&topic()).await?;
    foreign.execute_batch("BEGIN IMMEDIATE").expect("locks");
    tokio::time::sleep(Duration::from_millis(200)).await;
    foreign.execute_batch("COMMIT").expect("unlocks");
    let end = Instant::now() + Duration::from_secs(20);
    let left = || foreign.query_row("SELECT count(*) FROM records", [], |row| row.get::<_, u64>(0)).expect("reads");
    while left() > 0 {
        assert!(Instant::now() < end, "{} records stay", left());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    close(&bus).await;
    Ok(())
}
