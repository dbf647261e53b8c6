//! Members that die, freeze or are taken for dead.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use busline_conformance::{Meeting, MemberProcess};
use busline_core::{
    Bus, Commit, Deletion, Delivery, Driver, Envelope, ErrorKind, HandlerError, Offset, SourceEvent, SourceRequest,
    Start, TopicSpec,
};
use busline_sqlite::{SqliteConfig, SqliteDriver};
use tempfile::TempDir;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const CLOSE: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(1);

/// A file of its own for each test.
struct File(TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for temporary files"))
    }
}

impl Meeting for File {
    const LEASE: Duration = LEASE;

    fn place(&self) -> String {
        self.0.path().join("bus.db").to_string_lossy().into_owned()
    }

    async fn connect(place: &str) -> busline_core::Result<Arc<dyn Driver>> {
        Ok(Arc::new(SqliteDriver::open(SqliteConfig::new(place)).await?))
    }

    /// Its last beat was at most two fifths of the lease before its death.
    fn followed_within() -> RangeInclusive<Duration> {
        LEASE * 3 / 5..=LEASE + Duration::from_secs(2)
    }

    fn frozen_for() -> Duration {
        Duration::ZERO
    }
}

busline_conformance::members!(File, File::new());

async fn open(path: impl AsRef<Path>) -> busline_core::Result<Bus> {
    Ok(Bus::new(Arc::new(SqliteDriver::open(SqliteConfig::new(path.as_ref())).await?)))
}

async fn publish(bus: &Bus) -> Outcome {
    let publisher = bus.publisher("orders").open().await?;
    for key in 0..12 {
        publisher.publish_sync(Envelope::new(format!("key-{key}"), "Happened", 1)).await?;
    }
    Ok(())
}

/// Its bell has ended with it, so nobody has to wait for a lease that no other member watches.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_member_alone_does_not_keep_its_group() -> Outcome {
    let file = File::new();
    let bus = open(file.place()).await?;
    publish(&bus).await?;
    let other = MemberProcess::start(OTHER_MEMBER, &file.place(), "orders");
    let begin = Instant::now();
    while !other.is_at_work() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not begin");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (group, topic) = ("billing".parse()?, "orders".parse()?);
    let alive = bus.driver().delete_group(&group, &topic).await.expect_err("it is at work");
    assert_eq!(alive.code(), "Unavailable/GroupActive", "{alive}");
    drop(other);
    bus.driver().delete_group(&group, &topic).await?;
    assert!(bus.driver().members(&group, &topic).await?.is_empty());
    bus.close(CLOSE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_under_an_old_generation_is_fenced() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bus.db");
    let driver = SqliteDriver::open(SqliteConfig::new(&path)).await?;
    let (group, name) = ("billing".parse()?, "orders".parse()?);
    let topic = driver.create_topic(&name, &TopicSpec { partitions: 1, ..TopicSpec::default() }).await?;
    let bus = open(&path).await?;
    publish(&bus).await?;
    let request = SourceRequest { group, topic, member: "old".into(), start: Start::Earliest, lease: LEASE };
    let source = driver.source(request.clone()).await?;
    let SourceEvent::Assigned(assigned) = source.next(100, 1 << 20).await? else { panic!("first of all") };
    let old = assigned[0];
    let commit = |generation, offset| Commit { partition: old.partition, generation, offset: Offset(offset) };
    assert!(source.commit(vec![commit(old.generation, 2)]).await[0].is_ok());

    // As another member does that takes it for dead.
    let foreign = rusqlite::Connection::open(&path)?;
    foreign.busy_timeout(CLOSE)?;
    foreign.execute_batch("BEGIN IMMEDIATE; DELETE FROM members; UPDATE progress SET owner = NULL; COMMIT")?;
    let outcome = source.commit(vec![commit(old.generation, 7)]).await.remove(0);
    assert_eq!(outcome.map_err(|error| (error.kind(), error.reason())), Err((ErrorKind::Fenced, "NotOwner")));
    assert_eq!(driver.committed(&request.group, &name).await?, [Some(Offset(2))], "the offset is unchanged");

    // It notices by itself, and holds the partition again under another generation, from the committed offset.
    let again = loop {
        match source.next(100, 1 << 20).await? {
            SourceEvent::Assigned(assigned) => break assigned[0],
            SourceEvent::Lost(lost) => assert_eq!(lost, [old.partition]),
            _ => {}
        }
    };
    assert!(again.generation > old.generation && again.committed == Offset(2), "{again:?}");
    assert!(source.commit(vec![commit(old.generation, 9)]).await[0].is_err());
    assert!(source.commit(vec![commit(again.generation, 3)]).await[0].is_ok());
    // A commit behind the stored one changes nothing and succeeds.
    assert!(source.commit(vec![commit(again.generation, 1)]).await[0].is_ok());
    assert_eq!(driver.committed(&request.group, &name).await?, [Some(Offset(3))]);
    source.close(tokio::time::Instant::now() + CLOSE).await?;
    assert!(driver.members(&request.group, &name).await?.is_empty());
    bus.close(CLOSE).await?;
    driver.close(tokio::time::Instant::now() + CLOSE).await?;
    Ok(())
}

/// A loss that was given and not yet taken in is in doubt, or a worker could begin what another member has by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_loss_is_in_doubt_until_the_next_event_is_asked_for() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bus.db");
    let driver = SqliteDriver::open(SqliteConfig::new(&path)).await?;
    let (group, name) = ("billing".parse()?, "orders".parse()?);
    let topic = driver.create_topic(&name, &TopicSpec { partitions: 1, ..TopicSpec::default() }).await?;
    let request = SourceRequest { group, topic, member: "m".into(), start: Start::Earliest, lease: LEASE };
    let source = driver.source(request).await?;
    assert!(matches!(source.next(1, 1).await?, SourceEvent::Assigned(_)));
    let foreign = rusqlite::Connection::open(&path)?;
    foreign.busy_timeout(CLOSE)?;
    foreign.execute_batch(
        "BEGIN IMMEDIATE; DELETE FROM members; UPDATE progress SET owner = 'other', generation = generation + 1; COMMIT",
    )?;
    while !matches!(source.next(1, 1).await?, SourceEvent::Lost(_)) {}
    let is_held = || source.holds_until().is_none_or(|until| tokio::time::Instant::now() < until);
    for _ in 0..3 {
        assert!(!is_held(), "whoever is told has not let go of it yet");
        // A beat meanwhile changes nothing about that.
        tokio::time::sleep(LEASE / 4).await;
    }
    drop(tokio::time::timeout(Duration::from_millis(1), source.next(1, 1)).await);
    assert!(is_held(), "it is taken in");
    source.close(tokio::time::Instant::now() + CLOSE).await?;
    driver.close(tokio::time::Instant::now() + CLOSE).await?;
    Ok(())
}

/// Writes the row of a member whose process is gone.
fn add_dead_member(path: &Path, group: &str) -> Outcome {
    let foreign = rusqlite::Connection::open(path)?;
    foreign.busy_timeout(CLOSE)?;
    foreign.execute(
        "INSERT INTO members (group_name, topic_id, member, beat, wake)
         SELECT ?1, topic_id, 'gone', 0, 'busline-no-such-bell' FROM topics WHERE name = 'orders'",
        [group],
    )?;
    Ok(())
}

/// One group's dead members neither hide another group's live ones, nor keep topic or group by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn dead_members_neither_keep_a_topic_nor_hide_live_ones() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bus.db");
    let bus = open(&path).await?;
    publish(&bus).await?;
    let handler = async |_: Delivery| Ok::<(), HandlerError>(());
    let subscription = bus.subscribe("orders", "shipping").handle(handler).await?;
    add_dead_member(&path, "billing")?;
    let refused = bus.driver().delete_topic(&"orders".parse()?).await.expect_err("shipping is at work");
    assert_eq!(refused.code(), "Unavailable/GroupActive", "{refused}");
    assert!(refused.to_string().contains("shipping"), "{refused}");
    subscription.close(CLOSE).await?;

    add_dead_member(&path, "shipping")?;
    bus.delete_group("shipping", "orders", Deletion::default()).await?;
    add_dead_member(&path, "shipping")?;
    bus.delete_topic("orders", Deletion::default()).await?;
    bus.close(CLOSE).await?;
    Ok(())
}

/// A source that is dropped and not closed leaves its group all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_source_leaves_its_group() -> Outcome {
    let folder = tempfile::tempdir()?;
    let driver = SqliteDriver::open(SqliteConfig::new(folder.path().join("bus.db"))).await?;
    let (group, name) = ("billing".parse()?, "orders".parse()?);
    let topic = driver.create_topic(&name, &TopicSpec::default()).await?;
    let request = SourceRequest { group, topic, member: "m".into(), start: Start::Earliest, lease: LEASE };
    let source = driver.source(request.clone()).await?;
    assert!(matches!(source.next(1, 1).await?, SourceEvent::Assigned(_)));
    drop(source);
    let start = Instant::now();
    while !driver.members(&request.group, &name).await?.is_empty() {
        assert!(start.elapsed() < LEASE / 2, "it must not wait for the end of its lease");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    driver.close(tokio::time::Instant::now() + CLOSE).await?;
    Ok(())
}
