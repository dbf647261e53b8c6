//! Several publishing processes on one file, alive and killed.
//!
//! A child is this test binary again, running one ignored test that does its part by environment variables. It writes
//! each ack to a file of its own, one line by one `write`, which outlasts its SIGKILL.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use busline_core::{Result, TopicSpec};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::ledger::{Entry, Ledger, Row, Told, dump, envelope};
use crate::stage::{Stage, TOPIC, close, publisher, topic};

/// Keys of one child. They are its own, so that the order of each can be told.
const KEYS: u64 = 5;

/// Pages after which a child checkpoints.
const CHECKPOINT_PAGES: u32 = 100;

/// A process that runs one ignored test of this binary. Killed when it is dropped.
pub(crate) struct Child(std::process::Child);

impl Child {
    pub(crate) fn start(test: &str, environment: &[(&str, &str)]) -> Self {
        Self::spawn(test, environment, |_| {}).expect("a process")
    }

    /// Under another user, which only root may ask for.
    pub(crate) fn start_as(user: u32, test: &str, environment: &[(&str, &str)]) -> std::io::Result<Self> {
        Self::spawn(test, environment, |command| {
            // Whoever is not root is refused the change of user, and is no exception to mode bits either.
            if is_root() {
                command.uid(user).gid(user);
            }
        })
    }

    fn spawn(test: &str, environment: &[(&str, &str)], set: impl FnOnce(&mut Command)) -> std::io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
        command.envs(environment.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::null());
        set(&mut command);
        command.spawn().map(Self)
    }

    /// Asks it to end by closing its standard input, and waits.
    pub(crate) fn wait(mut self) -> ExitStatus {
        drop(self.0.stdin.take());
        self.0.wait().expect("a child of ours")
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("a child of ours").is_none()
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.0.kill().expect("a child of ours");
        self.0.wait().expect("a child of ours");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Harmless after its end; a failing test must leave no process behind.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("/proc")) == 0
}

/// What this process was started to do, if it is a child.
/// What this process was started for, if it is a child: the test that is its entry ends at once in any other.
pub(crate) fn role() -> Option<String> {
    let role = std::env::var("BUSLINE_ROLE").ok();
    if role.is_none() {
        println!("nothing to do here: this is the entry of a child process");
    }
    role
}

pub(crate) fn argument(name: &str) -> String {
    std::env::var(name).expect("the parent sets it")
}

/// A publishing child and the file of its acks.
struct PublishingChild {
    name: String,
    process: Child,
    acks: PathBuf,
}

impl PublishingChild {
    fn start(stage: &Stage, name: String) -> Self {
        let acks = stage.folder.path().join(format!("{name}.acks"));
        let (path, acks_path) = (stage.path().display().to_string(), acks.display().to_string());
        let process = Child::start(
            "processes::publish_in_a_process_of_its_own",
            &[
                ("BUSLINE_ROLE", "publish"),
                ("BUSLINE_PATH", &path),
                ("BUSLINE_NAME", &name),
                ("BUSLINE_ACKS", &acks_path),
            ],
        );
        Self { name, process, acks }
    }

    fn acked(&self) -> usize {
        read_acks(&self.acks).len()
    }
}

#[test]
fn publish_in_a_process_of_its_own() -> Result<()> {
    if role().as_deref() != Some("publish") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(publish_until_told_to_end())
}

async fn publish_until_told_to_end() -> Result<()> {
    let mut stage = Stage::new();
    stage.config.path = argument("BUSLINE_PATH").into();
    stage.config.checkpoint_pages = CHECKPOINT_PAGES;
    let (name, ended) = (argument("BUSLINE_NAME"), watch_standard_input());
    let mut acks = File::options().append(true).create(true).open(argument("BUSLINE_ACKS")).expect("a writable folder");
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(20)).await?;
    let mut number = 0;
    while !ended.load(Ordering::Relaxed) {
        let mut receipts = Vec::new();
        for _ in 0..8 {
            receipts.push((number, orders.publish(envelope(&name, &key(&name, number), number, 100)).await?));
            number += 1;
        }
        for (number, receipt) in receipts {
            let ack = receipt.await?;
            let line = format!("{number} {} {}\n", ack.partition, ack.offset.expect("the driver gives offsets"));
            acks.write_all(line.as_bytes()).expect("a writable file");
        }
    }
    close(&bus).await;
    Ok(())
}

fn watch_standard_input() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ended);
    std::thread::spawn(move || {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        seen.store(true, Ordering::Relaxed);
    });
    ended
}

fn key(name: &str, number: u64) -> String {
    format!("{name}-{}", number % KEYS)
}

/// Number, partition and offset of each ack.
fn read_acks(path: &Path) -> HashMap<u64, Told> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| {
            let mut fields = line.split_whitespace().map(|field| field.parse::<u64>().expect("a number"));
            let mut next = || fields.next().expect("three fields");
            (next(), Told::Acked { partition: next() as u32, offset: next() })
        })
        .collect()
}

/// Everything that a child can have accepted, in its order.
fn ledger_of(name: &str, acks: &HashMap<u64, Told>, rows: &[Row]) -> Ledger {
    let own = format!("{name}:");
    let stored = rows.iter().filter(|row| row.id.starts_with(&own)).filter_map(|row| {
        let (_, number) = row.id.rsplit_once(':')?;
        number.parse().ok()
    });
    let end = stored.chain(acks.keys().copied()).max().map_or(0, |last: u64| last + 1);
    let entry = |number: u64| Entry {
        id: format!("{name}:{}:{number}", key(name, number)),
        key: key(name, number),
        told: acks.get(&number).copied().unwrap_or(Told::Indeterminate),
    };
    Ledger((0..end).map(entry).collect())
}

/// Judges the file by the acks of all processes that ever wrote to it.
fn judge(stage: &Stage, children: &[(String, PathBuf)]) -> usize {
    let rows = dump(&stage.plain(), TOPIC);
    let mut all = Ledger::default();
    for (name, acks) in children {
        all.0.extend(ledger_of(name, &read_acks(acks), &rows).0);
    }
    all.judge(&rows).unwrap_or_else(|broken| panic!("{broken}"));
    all.count(|told| matches!(told, Told::Acked { .. }))
}

/// Waits for something that another process does.
#[expect(clippy::disallowed_methods, reason = "another process gives no wake-up to wait for")]
fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Makes the topic first, with several partitions, so that all append to the same ones.
fn prepare(stage: &Stage) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let bus = stage.open().await.expect("a new file");
        bus.driver().create_topic(&topic(), &TopicSpec::default()).await.expect("a new topic");
        close(&bus).await;
    });
}

#[test]
fn publishing_processes_share_a_file_fairly() {
    for count in [2, 4] {
        let stage = Stage::new();
        prepare(&stage);
        let mut children: Vec<_> =
            (0..count).map(|number| PublishingChild::start(&stage, format!("process-{number}"))).collect();
        until("every process publishes", || {
            assert!(children.iter_mut().all(|child| child.process.is_running()), "a process failed");
            children.iter().all(|child| child.acked() > 0)
        });
        let before: Vec<usize> = children.iter().map(PublishingChild::acked).collect();
        let acked_since = |children: &[PublishingChild]| -> Vec<usize> {
            children.iter().zip(&before).map(|(child, before)| child.acked() - before).collect()
        };
        let mut log_bytes_max = 0;
        until("all publish a good deal", || {
            assert!(children.iter_mut().all(|child| child.process.is_running()), "a process failed");
            log_bytes_max = log_bytes_max.max(std::fs::metadata(stage.beside("-wal")).map_or(0, |log| log.len()));
            acked_since(&children).iter().sum::<usize>() > 1_500 * count
        });
        let shares = acked_since(&children);
        let mut files = Vec::new();
        for child in children {
            files.push((child.name.clone(), child.acks.clone()));
            let status = child.process.wait();
            assert!(status.success(), "{}: {status}", child.name);
        }
        let acked = judge(&stage, &files);
        println!("{count} processes: {acked} acked, shares {shares:?}, log at most {log_bytes_max} bytes");
        // A third of an equal share: the scheduler of a busy machine takes its part of the difference.
        let equal = shares.iter().sum::<usize>() / count;
        assert!(shares.iter().all(|share| *share * 3 >= equal), "{shares:?}");
        assert!(log_bytes_max < 4 * u64::from(CHECKPOINT_PAGES) * 8_192, "the log grew to {log_bytes_max} bytes");
    }
}

#[test]
fn what_a_killed_process_was_acked_is_stored_and_the_others_go_on() {
    const KILLS: usize = 24;
    let seed = 20_261_125;
    println!("seed {seed}, {KILLS} kills");
    let mut dice = StdRng::seed_from_u64(seed);
    let stage = Stage::new();
    prepare(&stage);
    let mut started = Vec::new();
    let mut start = |number: usize| {
        let child = PublishingChild::start(&stage, format!("process-{number}"));
        started.push((child.name.clone(), child.acks.clone()));
        child
    };
    let mut children: Vec<_> = (0..3).map(&mut start).collect();
    for kill in 0..KILLS {
        let place = dice.random_range(0..children.len());
        let due = children[place].acked() + dice.random_range(1..150);
        until("the victim publishes", || children[place].acked() >= due);
        let victim = std::mem::replace(&mut children[place], start(3 + kill));
        victim.process.kill();
        let other = (place + 1) % children.len();
        let before = children[other].acked();
        until("another process goes on", || children[other].acked() > before + 8);
    }
    // The last ones all at once, so that nobody is left to tidy up.
    for child in children {
        child.process.kill();
    }
    let acked = judge(&stage, &started);
    println!("{acked} acked");
    assert!(acked >= 1_000, "{acked} acked prove nothing");
}
