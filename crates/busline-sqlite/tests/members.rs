//! Members that die, freeze or are taken for dead.
//!
//! A child is this test binary again, running one test that does its part by environment variables and is empty otherwise.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use busline_core::{
    Bus, Commit, Delivery, Driver, Envelope, ErrorKind, HandlerError, Offset, SourceEvent, SourceRequest, Start,
    Subscription, SubscriptionSettings, TopicSpec,
};
use busline_sqlite::{SqliteConfig, SqliteDriver};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const CLOSE: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(1);
const KEYS: u64 = 12;

async fn open(path: &Path) -> Result<Bus, busline_core::Error> {
    Ok(Bus::new(Arc::new(SqliteDriver::open(SqliteConfig::new(path)).await?)))
}

/// A process that is a member. Killed when it is dropped.
struct Child(std::process::Child);

impl Child {
    fn start(path: &Path, said: &Path) -> Result<Self, std::io::Error> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["be_a_member_in_a_process_of_its_own", "--exact", "--nocapture", "--test-threads=1"]);
        command.env("BUSLINE_MEMBER_OF", path).env("BUSLINE_SAID", said);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map(Self)
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {name}");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Version 1 of each key takes long; each end is a line. Ends with its standard input.
#[tokio::test(flavor = "multi_thread")]
async fn be_a_member_in_a_process_of_its_own() -> Outcome {
    let Some(path) = std::env::var_os("BUSLINE_MEMBER_OF") else { return Ok(()) };
    let said = PathBuf::from(std::env::var_os("BUSLINE_SAID").ok_or("the parent sets it")?);
    let bus = open(Path::new(&path)).await?;
    let handler = move |delivery: Delivery| {
        let said = said.clone();
        async move {
            say(&said, &delivery, "start")?;
            if delivery.envelope.event_version == 1 {
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
            say(&said, &delivery, "end")
        }
    };
    let subscription = bus.subscribe("orders", "billing").settings(settings()).handle(handler).await?;
    let mut nothing = String::new();
    tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut nothing)).await??;
    subscription.close(CLOSE).await?;
    bus.close(CLOSE).await?;
    Ok(())
}

/// One line by one write, which outlasts a SIGKILL.
fn say(said: &Path, delivery: &Delivery, what: &str) -> Result<(), HandlerError> {
    let (key, version) = (&delivery.envelope.aggregate_id, delivery.envelope.event_version);
    let mut file = OpenOptions::new().append(true).create(true).open(said)?;
    file.write_all(format!("{what} {key} {version}\n").as_bytes())?;
    Ok(())
}

fn heard(said: &Path, what: &str) -> Vec<(String, u64)> {
    let text = std::fs::read_to_string(said).unwrap_or_default();
    let parsed = text.lines().filter_map(|line| {
        let (said, rest) = line.split_once(' ')?;
        let (key, version) = rest.split_once(' ')?;
        (said == what).then(|| Some((key.to_owned(), version.parse().ok()?)))?
    });
    parsed.collect()
}

fn settings() -> SubscriptionSettings {
    SubscriptionSettings { lease: LEASE, ..SubscriptionSettings::default() }
}

type Handled = Arc<Mutex<HashMap<String, Vec<u64>>>>;

async fn subscribe(bus: &Bus, handled: &Handled) -> Result<Subscription, busline_core::Error> {
    let handled = Arc::clone(handled);
    let handler = move |delivery: Delivery| {
        let mut handled = handled.lock().expect("no panic");
        handled.entry(delivery.envelope.aggregate_id).or_default().push(delivery.envelope.event_version);
        std::future::ready(Ok(()))
    };
    bus.subscribe("orders", "billing").settings(settings()).handle(handler).await
}

async fn publish(bus: &Bus, version: u64) -> Outcome {
    let publisher = bus.publisher("orders").open().await?;
    for key in 0..KEYS {
        publisher.publish_sync(Envelope::new(format!("key-{key}"), "Happened", version)).await?;
    }
    Ok(())
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn count(handled: &Handled) -> usize {
    handled.lock().expect("no panic").values().map(Vec::len).sum()
}

/// A parent and a child share the partitions, and the child is at work on version 1.
async fn shared(folder: &Path) -> Result<(Bus, Subscription, Handled, Child, PathBuf), Box<dyn std::error::Error>> {
    let (path, said) = (folder.join("bus.db"), folder.join("said"));
    let (bus, handled) = (open(&path).await?, Handled::default());
    let subscription = subscribe(&bus, &handled).await?;
    let child = Child::start(&path, &said)?;
    until("the child's share", || subscription.partitions().len() == 2).await;
    let (group, topic) = ("billing".parse()?, "orders".parse()?);
    while bus.driver().members(&group, &topic).await?.iter().any(|member| member.partitions.len() != 2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    publish(&bus, 1).await?;
    until("the child in its handlers", || !heard(&said, "start").is_empty()).await;
    Ok((bus, subscription, handled, child, said))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_member_is_followed_within_its_lease_and_two_seconds() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (bus, subscription, handled, child, said) = shared(folder.path()).await?;
    child.signal("-KILL");
    let killed = Instant::now();
    until("all events", || count(&handled) + heard(&said, "end").len() >= KEYS as usize).await;
    until("all partitions", || subscription.partitions().len() == 4).await;
    let taken = killed.elapsed();
    assert!(taken <= LEASE + Duration::from_secs(2), "taken over after {taken:?}");
    assert!(taken >= LEASE * 3 / 5, "a member that was just alive was followed after {taken:?}");
    until("every event of the dead", || handled.lock().expect("no panic").len() == KEYS as usize).await;
    drop(child);
    bus.close(CLOSE).await?;
    Ok(())
}

/// Its bell has ended with it, so nobody has to wait for a lease that no other member watches.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_member_alone_does_not_keep_its_group() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (path, said) = (folder.path().join("bus.db"), folder.path().join("said"));
    let bus = open(&path).await?;
    publish(&bus, 1).await?;
    let child = Child::start(&path, &said)?;
    until("the child in its handlers", || !heard(&said, "start").is_empty()).await;
    let (group, topic) = ("billing".parse()?, "orders".parse()?);
    let alive = bus.driver().delete_group(&group, &topic).await.expect_err("the child is at work");
    assert_eq!(alive.code(), "Unavailable/GroupActive", "{alive}");
    child.signal("-KILL");
    drop(child);
    bus.driver().delete_group(&group, &topic).await?;
    assert!(bus.driver().members(&group, &topic).await?.is_empty());
    bus.close(CLOSE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_member_is_fenced_and_joins_again() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (bus, subscription, handled, child, said) = shared(folder.path()).await?;
    let publisher = bus.publisher("orders").deadline(Duration::from_millis(500)).open().await?;
    // Stopped inside a transaction it would keep everybody from writing, which is another test.
    loop {
        child.signal("-STOP");
        if publisher.publish_sync(Envelope::new("probe", "Happened", 1)).await.is_ok() {
            break;
        }
        child.signal("-CONT");
    }
    until("the take-over", || subscription.partitions().len() == 4).await;
    until("version 1", || {
        let handled = handled.lock().expect("no panic");
        (0..KEYS).all(|key| handled.contains_key(&format!("key-{key}"))) && handled.contains_key("probe")
    })
    .await;
    let (group, topic) = ("billing".parse()?, "orders".parse()?);
    let ends = || async {
        let lag = bus.driver().lag(&group, &topic).await?;
        Ok::<_, busline_core::Error>(lag.into_iter().map(|lag| (lag.committed, Some(lag.end))).collect::<Vec<_>>())
    };
    while ends().await?.iter().any(|(committed, end)| committed != end) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = ends().await?;
    child.signal("-CONT");
    until("the child's return", || subscription.partitions().len() == 2).await;
    assert_eq!(ends().await?, before, "what the frozen member finished moves no offset");
    let seen = count(&handled);
    publish(&bus, 2).await?;
    let of_second = || heard(&said, "end").into_iter().filter(|(_, version)| *version == 2).count();
    until("version 2", || count(&handled) - seen + of_second() == KEYS as usize).await;
    assert!(of_second() > 0, "the child works again");
    subscription.close(CLOSE).await?;
    drop(child);
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
    publish(&bus, 1).await?;
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
