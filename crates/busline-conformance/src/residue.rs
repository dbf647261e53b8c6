//! What a process holds at the moment, as exact lists: tasks, threads and descriptors.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// Tasks of this runtime, threads and open descriptors of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Residue {
    tasks: usize,
    threads: BTreeMap<String, usize>,
    descriptors: BTreeMap<String, usize>,
}

/// How long what ends may take to be gone.
const SETTLING_MAX: Duration = Duration::from_secs(1);

impl Residue {
    /// What is held once nothing changes any more.
    pub(crate) async fn at_rest() -> Self {
        let mut before = Self::now();
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = Self::now();
            if now == before {
                return now;
            }
            before = now;
        }
    }

    fn now() -> Self {
        Self { tasks: tasks(), threads: threads(), descriptors: descriptors() }
    }

    /// Waits up to 1 s until exactly this is left, and fails with the difference.
    pub(crate) async fn settles(&self, after: &str) {
        let end = Instant::now() + SETTLING_MAX;
        loop {
            let now = Self::now();
            if now == *self {
                return;
            }
            assert!(Instant::now() < end, "{after} must leave nothing behind; before {self}, after {now}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Waits up to 1 s until this runtime has exactly so many tasks.
pub(crate) async fn tasks_settle(expected: usize, after: &str) {
    let end = Instant::now() + SETTLING_MAX;
    while tasks() != expected {
        assert!(Instant::now() < end, "{after} must leave no task: {} instead of {expected}", tasks());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Tasks of this runtime that have not ended.
pub(crate) fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

fn threads() -> BTreeMap<String, usize> {
    let name = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("comm")).ok();
    count(entries("/proc/self/task").filter_map(name).map(|name| name.trim().to_owned()))
}

fn descriptors() -> BTreeMap<String, usize> {
    // The listing's own descriptor shows the folder itself.
    let target = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
    let names = entries("/proc/self/fd").filter_map(target).map(|path| path.display().to_string());
    count(names.filter(|name| !name.starts_with("/proc/")))
}

fn entries(folder: &str) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(folder).expect("this is Linux").filter_map(Result::ok)
}

fn count(names: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_insert(0) += 1;
    }
    counts
}

impl fmt::Display for Residue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks, threads {:?}, descriptors {:?}", self.tasks, self.threads, self.descriptors)
    }
}
