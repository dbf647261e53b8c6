//! Members that die or freeze.
//!
//! A child is this test binary again, running one test that does its part by environment variables and is empty otherwise.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use busline_core::{Bus, Delivery, Envelope, HandlerError, Subscription};

use crate::broker;
use crate::load::connect;

const CLOSE: Duration = Duration::from_secs(10);
const KEYS: usize = 12;

/// A process that is a member. Killed when it is dropped.
struct Other(Child);

impl Other {
    fn start(topic: &str, said: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["members::be_a_member_in_a_process_of_its_own", "--exact", "--nocapture", "--test-threads=1"]);
        command.env("BUSLINE_MEMBER_OF", topic).env("BUSLINE_SAID", said);
        command.env("BUSLINE_TEST_KAFKA", broker::bootstrap());
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a child"))
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {name}");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Each handled event is a line. Ends with its standard input.
#[tokio::test(flavor = "multi_thread")]
async fn be_a_member_in_a_process_of_its_own() {
    let Ok(topic) = std::env::var("BUSLINE_MEMBER_OF") else { return };
    let said = PathBuf::from(std::env::var_os("BUSLINE_SAID").expect("the parent sets it"));
    let bus = connect(&broker::bootstrap()).await;
    let handler = move |delivery: Delivery| {
        let line = format!("{} {}\n", delivery.envelope.aggregate_id, delivery.envelope.event_version);
        std::future::ready(say(&said, &line))
    };
    let subscription = bus.subscribe(&topic, "readers").handle(handler).await.expect("subscribes");
    let mut nothing = String::new();
    tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut nothing))
        .await
        .expect("no panic")
        .expect("stdin");
    subscription.close(CLOSE).await.expect("closes");
    bus.close(CLOSE).await.expect("closes");
}

/// One line by one write, which outlasts a SIGKILL.
fn say(said: &Path, line: &str) -> Result<(), HandlerError> {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(said)?;
    file.write_all(line.as_bytes())?;
    Ok(())
}

type Handled = Arc<Mutex<HashMap<String, Vec<u64>>>>;

async fn subscribe(bus: &Bus, topic: &str, handled: &Handled) -> Subscription {
    let handled = Arc::clone(handled);
    let handler = move |delivery: Delivery| {
        let mut handled = handled.lock().expect("no panic");
        handled.entry(delivery.envelope.aggregate_id).or_default().push(delivery.envelope.event_version);
        std::future::ready(Ok(()))
    };
    bus.subscribe(topic, "readers").handle(handler).await.expect("subscribes")
}

fn heard(said: &Path) -> HashMap<String, Vec<u64>> {
    let mut heard: HashMap<String, Vec<u64>> = HashMap::new();
    for line in std::fs::read_to_string(said).unwrap_or_default().lines() {
        let (key, version) = line.split_once(' ').expect("key and version");
        heard.entry(key.into()).or_default().push(version.parse().expect("a number"));
    }
    heard
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn publish(bus: &Bus, topic: &str, versions: std::ops::RangeInclusive<u64>) {
    let publisher = bus.publisher(topic).open().await.expect("opens");
    for version in versions {
        for key in 0..KEYS {
            drop(publisher.publish(Envelope::new(format!("key-{key}"), "Happened", version)).await.expect("accepted"));
        }
    }
    publisher.flush().await;
}

/// A member that another process takes over from: each key's versions, over both members, hold all of them, and each
/// member by itself never goes back within what it was given at once.
async fn taken_over(signal: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let said = folder.path().join("said");
    let topic = format!("conformance-members{}-{:x}", signal.to_lowercase(), std::process::id());
    let (bus, handled) = (connect(&broker::bootstrap()).await, Handled::default());
    publish(&bus, &topic, 1..=1).await;
    let subscription = subscribe(&bus, &topic, &handled).await;
    let child = Other::start(&topic, &said);
    until("the child's share", || subscription.partitions().len() == 2).await;
    publish(&bus, &topic, 2..=50).await;
    until("the child at work", || heard(&said).values().any(|versions| versions.len() > 10)).await;
    if signal == "-STOP" {
        // A handler that is frozen in its middle ends after the thaw, which nobody can prevent.
        until_drained(&bus, &topic).await;
    }
    child.signal(signal);
    let gone = Instant::now();
    publish(&bus, &topic, 51..=100).await;
    until("the take-over", || subscription.partitions().len() == 4).await;
    println!("taken over {:?} after {signal}", gone.elapsed());
    until("every event", || {
        let handled = handled.lock().expect("no panic");
        (0..KEYS).all(|key| {
            let key = format!("key-{key}");
            handled.get(&key).and_then(|versions| versions.last()).is_some_and(|last| *last == 100)
        })
    })
    .await;
    let before = heard(&said);
    if signal == "-STOP" {
        let (group, name) = ("readers".parse().expect("legal"), topic.parse().expect("legal"));
        let committed = || async { bus.driver().committed(&group, &name).await.expect("offsets") };
        until_drained(&bus, &topic).await;
        let offsets = committed().await;
        tokio::time::sleep(frozen_for().saturating_sub(gone.elapsed())).await;
        println!("thawed after {:?}", gone.elapsed());
        child.signal("-CONT");
        until("the child's return", || subscription.partitions().len() == 2).await;
        assert_eq!(committed().await, offsets, "what the frozen member finished moves no offset");
    }
    drop(child);
    let (handled, said) = (handled.lock().expect("no panic").clone(), heard(&said));
    for key in (0..KEYS).map(|key| format!("key-{key}")) {
        let mut all: Vec<u64> =
            [&handled, &said].into_iter().filter_map(|of| of.get(&key)).flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, (1..=100).collect::<Vec<u64>>(), "{key}: an event is lost");
        let stale = said.get(&key).map_or(0, Vec::len) - before.get(&key).map_or(0, Vec::len);
        assert!(stale == 0, "{key}: the frozen member handled {stale} events after it had lost them");
    }
    bus.close(CLOSE).await.expect("closes");
}

/// Until its partitions are taken over, which is the end of its session; in the long run of the pipeline beyond the 5 minutes
/// without a poll too, after which the client leaves the group by itself.
fn frozen_for() -> Duration {
    if std::env::var_os("BUSLINE_LONG").is_some() { Duration::from_secs(310) } else { Duration::ZERO }
}

async fn until_drained(bus: &Bus, topic: &str) {
    let (group, name) = ("readers".parse().expect("legal"), topic.parse().expect("legal"));
    let start = Instant::now();
    loop {
        let lag = bus.driver().lag(&group, &name).await.expect("lag");
        if lag.iter().all(|lag| lag.records == 0) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "lag stays at {lag:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_member_is_followed() {
    taken_over("-KILL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_member_is_followed_and_handles_nothing_when_it_thaws() {
    taken_over("-STOP").await;
}
