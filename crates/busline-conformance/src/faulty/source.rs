//! The reading end: commits meet their fates, and whoever watches is told what comes and goes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use busline_core::{BoxFuture, Commit, Error, ErrorKind, Partition, Record, Result, Source, SourceEvent, SourceLayer};
use tokio::time::Instant;

use super::control::Control;
use super::life::{Life, Side};

/// What the sources of a faulty driver are to do with commits, and who watches them.
#[derive(Default)]
pub(super) struct Commits(Mutex<CommitOrders>);

#[derive(Default)]
struct CommitOrders {
    fates: VecDeque<CommitFate>,
    spoiled_key: Option<String>,
    watch: Option<Arc<dyn Watch>>,
}

/// What happens to one call of commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommitFate {
    /// Stored, but the answer is lost.
    Lose,
    /// Not stored.
    Refuse,
}

/// Is told what a source gives and takes, in the order in which the subscription sees it.
pub(crate) trait Watch: Send + Sync {
    fn assigned(&self, partition: Partition, generation: u64);
    /// Before others may take it.
    fn revoked(&self, partition: Partition, generation: u64);
    fn committing(&self, commits: &[Commit]);
    fn committed(&self, commits: &[Commit], outcomes: &[Result<()>]);
}

impl Commits {
    pub(super) fn order(&self, fate: CommitFate, calls: usize) {
        self.lock().fates.extend(std::iter::repeat_n(fate, calls));
    }

    pub(super) fn forgive(&self) {
        self.lock().fates.clear();
    }

    pub(super) fn spoil(&self, key: &str) {
        self.lock().spoiled_key = Some(key.into());
    }

    /// Makes what was read of the spoiled key undecodable.
    pub(super) fn spoil_read(&self, records: &mut [Record]) {
        let Some(key) = self.lock().spoiled_key.clone() else { return };
        for record in records.iter_mut().filter(|record| record.key == key.as_bytes()) {
            record.body = bytes::Bytes::from_static(b"no envelope");
        }
    }

    pub(super) fn watch(&self, watch: Arc<dyn Watch>) {
        self.lock().watch = Some(watch);
    }

    fn watcher(&self) -> Option<Arc<dyn Watch>> {
        self.lock().watch.clone()
    }

    fn lock(&self) -> MutexGuard<'_, CommitOrders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct FaultySource {
    commits: Arc<Commits>,
    life: Arc<Life>,
    held: Mutex<Vec<(Partition, u64)>>,
}

impl FaultySource {
    pub(super) fn new(control: &Control) -> Self {
        let (commits, life) = (Arc::clone(&control.commits), Arc::clone(&control.life));
        Self { commits, life, held: Mutex::default() }
    }

    fn note(&self, event: &SourceEvent) {
        match event {
            SourceEvent::Assigned(assignments) => {
                for assignment in assignments {
                    let share = (assignment.partition, assignment.generation);
                    self.held().push(share);
                    self.commits.watcher().inspect(|watch| watch.assigned(share.0, share.1));
                }
            }
            SourceEvent::Lost(partitions) => {
                let held = self.held().clone();
                self.note_revoked(held.into_iter().filter(|(partition, _)| partitions.contains(partition)));
            }
            _ => {}
        }
    }

    fn note_revoked(&self, shares: impl Iterator<Item = (Partition, u64)>) {
        for share in shares {
            self.held().retain(|held| *held != share);
            self.commits.watcher().inspect(|watch| watch.revoked(share.0, share.1));
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<(Partition, u64)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SourceLayer for FaultySource {
    fn next<'a>(&'a self, inner: &'a dyn Source, records: usize, bytes: usize) -> BoxFuture<'a, Result<SourceEvent>> {
        Box::pin(async move {
            let mut event = inner.next(records, bytes).await?;
            self.life.pass("", Side::After).await;
            if let SourceEvent::Records { records, .. } = &mut event {
                self.commits.spoil_read(records);
            }
            self.note(&event);
            Ok(event)
        })
    }

    fn commit<'a>(&'a self, inner: &'a dyn Source, commits: Vec<Commit>) -> BoxFuture<'a, Vec<Result<()>>> {
        Box::pin(async move {
            self.life.pass("commit", Side::Before).await;
            let watch = self.commits.watcher();
            watch.iter().for_each(|watch| watch.committing(&commits));
            let fate = self.commits.lock().fates.pop_front();
            let outcomes = match fate {
                Some(CommitFate::Refuse) => vec![Err(refused()); commits.len()],
                Some(CommitFate::Lose) => {
                    inner.commit(commits.clone()).await;
                    vec![Err(refused()); commits.len()]
                }
                None => inner.commit(commits.clone()).await,
            };
            watch.iter().for_each(|watch| watch.committed(&commits, &outcomes));
            self.life.pass("commit", Side::After).await;
            outcomes
        })
    }

    fn release<'a>(&'a self, inner: &'a dyn Source, partitions: Vec<(Partition, u64)>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.life.pass("release", Side::Before).await;
            self.note_revoked(partitions.iter().copied());
            let released = inner.release(partitions).await;
            self.life.pass("release", Side::After).await;
            released
        })
    }

    fn close<'a>(&'a self, inner: &'a dyn Source, deadline: Instant) -> BoxFuture<'a, Result<()>> {
        let held = self.held().clone();
        self.note_revoked(held.into_iter());
        inner.close(deadline)
    }
}

fn refused() -> Error {
    Error::new(ErrorKind::Unavailable, "Injected")
        .cause("the test lost this commit")
        .next("commit again")
        .at("commit", "faulty source")
        .indeterminate()
}

impl fmt::Debug for FaultySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultySource").finish_non_exhaustive()
    }
}
