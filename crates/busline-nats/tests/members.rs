//! Members in processes of their own that are killed or frozen.
//!
//! A child is this test binary again, running one test that does its part by environment variables and is empty otherwise.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_core::{
    Bus, Delivery, Envelope, GroupName, HandlerError, Offset, Subscription, SubscriptionSettings, TopicName,
};
use busline_nats::{NatsConfig, NatsDriver};
use tokio::time::{Instant, sleep};

const CLOSE: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(2);
const KEYS: u64 = 12;

async fn open(url: &str) -> Bus {
    let config = NatsConfig::from_url(url).expect("a legal URL");
    Bus::new(Arc::new(NatsDriver::open(config).await.expect("the server is there")))
}

/// A process that is a member. Killed when it is dropped.
struct Child(std::process::Child);

impl Child {
    fn start(url: &str, said: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["be_a_member_in_a_process_of_its_own", "--exact", "--nocapture", "--test-threads=1"]);
        command.env("BUSLINE_MEMBER_OF", url).env("BUSLINE_SAID", said);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts"))
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

/// Version 1 of each key takes long; each beginning and end is a line. Ends with its standard input.
#[tokio::test(flavor = "multi_thread")]
async fn be_a_member_in_a_process_of_its_own() {
    let Ok(url) = std::env::var("BUSLINE_MEMBER_OF") else { return };
    let said = PathBuf::from(std::env::var_os("BUSLINE_SAID").expect("the parent sets it"));
    let bus = open(&url).await;
    let handler = move |delivery: Delivery| {
        let said = said.clone();
        async move {
            say(&said, &delivery, "start")?;
            if delivery.envelope.event_version == 1 {
                sleep(Duration::from_millis(700)).await;
            }
            say(&said, &delivery, "end")
        }
    };
    let subscription = bus.subscribe("orders", "billing").settings(settings()).handle(handler).await.expect("joins");
    let wait = || std::io::stdin().read_line(&mut String::new());
    tokio::task::spawn_blocking(wait).await.expect("no panic").expect("a pipe");
    subscription.close(CLOSE).await.expect("closes");
    bus.close(CLOSE).await.expect("closes");
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
        let (word, rest) = line.split_once(' ')?;
        let (key, version) = rest.split_once(' ')?;
        (word == what).then(|| Some((key.to_owned(), version.parse().ok()?)))?
    });
    parsed.collect()
}

fn settings() -> SubscriptionSettings {
    SubscriptionSettings { lease: LEASE, ..SubscriptionSettings::default() }
}

/// Keys and versions in the order of their ends.
type Handled = Arc<Mutex<Vec<(String, u64)>>>;

async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let end = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < end, "{what} did not come");
        sleep(Duration::from_millis(10)).await;
    }
}

struct Shared {
    server: Server,
    bus: Bus,
    subscription: Subscription,
    handled: Handled,
    child: Child,
    said: PathBuf,
    _folder: tempfile::TempDir,
}

impl Shared {
    /// A parent and a child share the partitions, and the child is at work on version 1.
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let said = folder.path().join("said");
        let server = Server::start(&Options::default()).expect("a server");
        let bus = open(&server.url()).await;
        let handled = Handled::default();
        let notes = Arc::clone(&handled);
        let handler = move |delivery: Delivery| {
            let what = (delivery.envelope.aggregate_id, delivery.envelope.event_version);
            notes.lock().expect("no panic").push(what);
            std::future::ready(Ok(()))
        };
        let subscription =
            bus.subscribe("orders", "billing").settings(settings()).handle(handler).await.expect("joins");
        let child = Child::start(&server.url(), &said);
        let shared = Self { server, bus, subscription, handled, child, said, _folder: folder };
        until("the child's share", || async { shared.shares().await == [2, 2] }).await;
        shared.publish(1).await;
        until("the child in its handlers", || async { !heard(&shared.said, "start").is_empty() }).await;
        shared
    }

    fn names() -> (GroupName, TopicName) {
        ("billing".parse().expect("legal"), "orders".parse().expect("legal"))
    }

    async fn shares(&self) -> Vec<usize> {
        let (group, topic) = Self::names();
        let members = self.bus.driver().members(&group, &topic).await.expect("the topic exists");
        members.iter().map(|member| member.partitions.len()).collect()
    }

    async fn committed(&self) -> Vec<Option<Offset>> {
        let (group, topic) = Self::names();
        self.bus.driver().committed(&group, &topic).await.expect("the topic exists")
    }

    async fn is_drained(&self) -> bool {
        let (group, topic) = Self::names();
        let lag = self.bus.driver().lag(&group, &topic).await.expect("the topic exists");
        lag.iter().all(|lag| lag.records == 0)
    }

    async fn publish(&self, version: u64) {
        let publisher = self.bus.publisher("orders").open().await.expect("opens");
        for key in 0..KEYS {
            let envelope = Envelope::new(format!("key-{key}"), "Happened", version);
            publisher.publish_sync(envelope).await.expect("stored");
        }
    }

    /// How many keys the parent and the child have finished this version of.
    fn finished(&self, version: u64) -> usize {
        let mut keys: Vec<String> = heard(&self.said, "end")
            .into_iter()
            .chain(self.handled.lock().expect("no panic").iter().cloned())
            .filter(|(_, of)| *of == version)
            .map(|(key, _)| key)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys.len()
    }

    async fn close(self) {
        self.subscription.close(CLOSE).await.expect("closes");
        self.bus.close(CLOSE).await.expect("closes");
        drop((self.child, self.server));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_member_is_followed_after_its_lease() {
    let shared = Shared::new().await;
    shared.child.signal("-KILL");
    let killed = Instant::now();
    until("all partitions", || async { shared.subscription.partitions().len() == 4 }).await;
    let taken = killed.elapsed();
    println!("taken over after {taken:?} with a lease of {LEASE:?}");
    assert!(taken >= LEASE * 3 / 5, "a member that was just alive was followed after {taken:?}");
    until("every event", || async { shared.finished(1) == KEYS as usize && shared.is_drained().await }).await;
    shared.close().await;
}

/// A member is stopped while its handlers run, for longer than its lease; another takes its partitions over and finishes
/// its events. When it goes on, its handlers end and it commits what it finished, under the epoch it had.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_member_moves_no_offset_and_joins_again() {
    let shared = Shared::new().await;
    shared.child.signal("-STOP");
    until("the take-over", || async { shared.subscription.partitions().len() == 4 }).await;
    until("every event", || async { shared.finished(1) == KEYS as usize && shared.is_drained().await }).await;
    // More, which only the parent has seen: a commit of the frozen one would lead behind it.
    shared.publish(2).await;
    until("version 2", || async { shared.finished(2) == KEYS as usize && shared.is_drained().await }).await;
    let before = shared.committed().await;
    shared.child.signal("-CONT");
    until("the child's return", || async { shared.shares().await == [2, 2] }).await;
    assert_eq!(shared.committed().await, before, "what the frozen member finished moves no offset");
    shared.publish(3).await;
    until("version 3", || async { shared.finished(3) == KEYS as usize && shared.is_drained().await }).await;
    assert!(heard(&shared.said, "end").iter().any(|(_, version)| *version == 3), "the child works again");
    // Each key in order in each of both processes: what came again after the take-over begins at 1.
    for key in (0..KEYS).map(|key| format!("key-{key}")) {
        for seen in [shared.handled.lock().expect("no panic").clone(), heard(&shared.said, "end")] {
            let versions: Vec<u64> =
                seen.into_iter().filter(|(of, _)| *of == key).map(|(_, version)| version).collect();
            assert!(versions.is_sorted(), "{key}: {versions:?}");
        }
    }
    shared.close().await;
}
