//! A member that is frozen in the middle of a commit, in a process of its own, and goes on when another one has its
//! partition.
//!
//! The child is this test binary again, running one test that does its part by environment variables and is empty
//! otherwise.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_core::{
    Assignment, Commit, Driver, GroupName, Offset, Source, SourceEvent, SourceRequest, Start, TopicName, TopicSpec,
};
use busline_nats::NatsDriver;
use tokio::time::{Instant, sleep, timeout};

use super::load::driver_of;
use super::proxy::Proxy;

const SOON: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(2);

/// How far the frozen member wants to commit, and how far the next owner does.
const ZOMBIES: Offset = Offset(9);
const OWNERS: Offset = Offset(3);

/// A process that is a member. Killed when it is dropped.
struct Zombie {
    process: std::process::Child,
    said: PathBuf,
}

impl Zombie {
    fn start(url: &str, said: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["zombies::be_a_zombie_in_a_process_of_its_own", "--exact", "--nocapture", "--test-threads=1"]);
        command.env("BUSLINE_ZOMBIE_OF", url).env("BUSLINE_SAID", said);
        let process = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        Self { process, said: said.to_owned() }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {name}");
    }

    fn tell(&mut self, what: &str) {
        let input = self.process.stdin.as_mut().expect("a pipe");
        writeln!(input, "{what}").expect("it listens");
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }
}

impl Drop for Zombie {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn names() -> (GroupName, TopicName) {
    ("billing".parse().expect("legal"), "orders".parse().expect("legal"))
}

async fn join(driver: &NatsDriver, member: &str) -> (Arc<dyn Source>, Assignment) {
    let (group, name) = names();
    let topic = driver.topic(&name).await.expect("it exists");
    let request = SourceRequest { group, topic, member: member.into(), start: Start::Earliest, lease: LEASE };
    let source = driver.source(request).await.expect("joins");
    let assigned = async {
        loop {
            if let SourceEvent::Assigned(assigned) = source.next(1, 1 << 20).await.expect("the source goes on") {
                return assigned[0];
            }
        }
    };
    let assigned = timeout(SOON, assigned).await.expect("the assignment comes");
    (source, assigned)
}

async fn commit(source: &Arc<dyn Source>, held: Assignment, offset: Offset) -> busline_core::Result<()> {
    let commit = Commit { partition: held.partition, generation: held.generation, offset };
    source.commit(vec![commit]).await.remove(0)
}

/// Joins, commits when it is told to, and says how that ended.
#[tokio::test(flavor = "multi_thread")]
async fn be_a_zombie_in_a_process_of_its_own() {
    let Ok(url) = std::env::var("BUSLINE_ZOMBIE_OF") else { return };
    let said = PathBuf::from(std::env::var_os("BUSLINE_SAID").expect("the parent sets it"));
    let driver = driver_of(&url, "best").await;
    let (source, held) = join(&driver, "zombie").await;
    let told = || tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    std::fs::write(&said, "held").expect("a file");
    told().await.expect("no panic").expect("a pipe");
    let outcome = commit(&source, held, ZOMBIES).await;
    let word = outcome.map_or_else(|error| error.code(), |()| "stored".into());
    std::fs::write(&said, word).expect("a file");
    told().await.expect("no panic").expect("a pipe");
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < end, "{what} did not come");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The commit is on its way when its process is stopped. Its lease ends, another member takes the partition over and
/// commits less. Then the process goes on and its commit arrives: it is refused and moves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_a_frozen_member_is_refused_after_the_take_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&Options::default()).expect("a server");
    let driver = driver_of(&server.url(), "best").await;
    let (group, name) = names();
    let spec = TopicSpec { partitions: 1, ..TopicSpec::default() };
    driver.create_topic(&name, &spec).await.expect("a new topic");
    let proxy = Proxy::start(server.port()).await;
    let mut zombie = Zombie::start(&format!("nats://127.0.0.1:{}", proxy.port()), &folder.path().join("said"));
    until("the first assignment", || zombie.said() == "held").await;

    proxy.hold_back(true);
    zombie.tell("commit");
    until("the commit on its way", || proxy.has_held(b"$KV.busline_groups.offset.")).await;
    zombie.signal("-STOP");
    let (source, held) = join(&driver, "owner").await;
    commit(&source, held, OWNERS).await.expect("it owns the partition");
    zombie.signal("-CONT");
    proxy.hold_back(false);
    until("the end of the commit", || zombie.said() != "held").await;
    assert_eq!(zombie.said(), "Fenced/NotOwner");
    let committed = driver.committed(&group, &name).await.expect("the topic exists");
    assert_eq!(committed, [Some(OWNERS)], "the frozen member moves nothing");
    commit(&source, held, Offset(OWNERS.0 + 1)).await.expect("it owns the partition still");

    source.close(Instant::now() + SOON).await.expect("closes");
    driver.close(Instant::now() + SOON).await.expect("closes");
}
