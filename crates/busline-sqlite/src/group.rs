//! Group commit: the batches that have come together become one transaction and one sync.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use busline_core::{Ack, Batch, Clock, Durability, Error, ErrorKind, Medium, Offset, Result, bus_closed};
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};

use crate::config::SqliteConfig;
use crate::error::from_sqlite;
use crate::fill::{Ends, Filled, append};
use crate::identity::{Identity, log_of};
use crate::queue::Queue;
use crate::readers::in_snapshot;
use crate::records::Appender;
use crate::recovery::{self, Left};
use crate::retention;
use crate::schema::offset_of;
use crate::sink::SinkTopic;
use crate::turnstile::{Turnstile, pause};
use crate::upkeep::Vacuum;
use crate::wake::{Ring, Ringer};

/// A batch on its way into a transaction.
pub(crate) struct Publish {
    pub(crate) batch: Batch,
    pub(crate) topic: Arc<SinkTopic>,
}

impl Publish {
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.batch.deadline().into_std() <= now
    }
}

/// The writing side of the file; used by one thread at a time.
pub(crate) struct Store {
    config: SqliteConfig,
    connection: Option<Connection>,
    identity: Option<Identity>,
    turnstile: Turnstile,
    clock: Arc<dyn Clock>,
    /// Pages in the `-wal`, as the last commit found it.
    wal_pages: Arc<AtomicU32>,
    /// Pages from which on the next checkpoint is due; moved up while readers keep the `-wal` from being reset.
    checkpoint_at: u32,
    /// When the lock was first met that has kept every transaction since from beginning.
    locked_since: Cell<Option<Instant>>,
    /// Why nothing is written any more.
    poison: Option<Error>,
    ringer: Ringer,
}

/// Pauses between two tries to begin: short at first, because another process's transaction is.
const RETRY_MIN: Duration = Duration::from_micros(50);
const RETRY_MAX: Duration = Duration::from_millis(1);

/// Longest wait of a checkpoint for readers and writers; shorter than the wait at the turnstile, which it holds.
const CHECKPOINT_WAIT_MAX: Duration = Duration::from_millis(15);

/// Longest wait of upkeep for a locked file; it can be done later.
const TIDY_WAIT_MAX: Duration = Duration::from_millis(20);

/// Time from which on a lock of another program is said to be trouble.
const LOCK_TROUBLE: Duration = Duration::from_secs(1);

impl Store {
    pub(crate) fn new(
        config: SqliteConfig,
        mut connection: Connection,
        identity: Option<Identity>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let turnstile = if config.vfs.is_none() { Turnstile::beside(&config.path) } else { Turnstile::none() };
        let wal_pages = count_wal_pages(&mut connection).map_err(from_sqlite)?;
        let checkpoint_at = config.checkpoint_pages;
        let connection = Some(connection);
        Ok(Self {
            config,
            connection,
            identity,
            turnstile,
            clock,
            wal_pages,
            checkpoint_at,
            locked_since: Cell::new(None),
            poison: None,
            ringer: Ringer::new(),
        })
    }

    pub(crate) fn patience(&self) -> Duration {
        self.config.patience
    }

    pub(crate) fn retention_interval(&self) -> Duration {
        self.config.retention_interval
    }

    /// The time that records are stamped with.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn transaction_limits(&self) -> (usize, usize) {
        (self.config.batch_records_max, self.config.batch_bytes_max)
    }

    /// Stores batches in one transaction and settles each record of them.
    pub(crate) fn publish(&mut self, mut group: Vec<Publish>, queue: &Queue) {
        if let Err(error) = self.check_usable() {
            settle_all(group, &error);
            return queue.set_trouble(Some(error));
        }
        if !self.begin_group(&mut group, queue) {
            return;
        }
        queue.set_trouble(None);
        match self.fill(&group) {
            Ok(filled) => self.commit_group(group, filled),
            Err(error) => {
                self.roll_back(&error);
                settle_all(group, &self.publish_error(error));
            }
        }
        self.checkpoint_if_due();
    }

    fn check_usable(&self) -> Result<()> {
        if let Some(poison) = &self.poison {
            return Err(poison.clone());
        }
        self.check_identity()
    }

    fn check_identity(&self) -> Result<()> {
        self.identity.as_ref().map_or(Ok(()), Identity::check)
    }

    /// Begins a transaction for these batches. Those whose deadline passes meanwhile are settled and taken out; gives
    /// whether there is something left to store.
    fn begin_group(&self, group: &mut Vec<Publish>, queue: &Queue) -> bool {
        let outcome = self.begin(|| {
            if queue.is_stopping() {
                return Err(bus_closed());
            }
            let now = Instant::now();
            let locked = self.locked();
            let (overdue, rest) = std::mem::take(group).into_iter().partition(|publish| publish.is_overdue(now));
            *group = rest;
            settle_all(overdue, &locked);
            queue.refuse_overdue(now, &locked);
            self.tell_lock(queue, &locked);
            if group.is_empty() { Err(locked) } else { Ok(()) }
        });
        if let Err(error) = outcome {
            settle_all(std::mem::take(group), &error);
            return false;
        }
        true
    }

    /// Tries `BEGIN IMMEDIATE` until it succeeds or `go_on` refuses to.
    fn begin(&self, mut go_on: impl FnMut() -> Result<()>) -> Result<()> {
        let connection = self.connection()?;
        let mut retry = RETRY_MIN;
        let turn = self.turnstile.pass();
        loop {
            match execute(connection, "BEGIN IMMEDIATE") {
                Ok(()) => break,
                Err(error) if is_busy(&error) => {
                    self.locked_since.set(self.locked_since.get().or_else(|| Some(Instant::now())));
                    go_on()?;
                }
                Err(error) => return Err(from_sqlite(error)),
            }
            pause(retry);
            retry = (retry * 2).min(RETRY_MAX);
        }
        drop(turn);
        self.locked_since.set(None);
        Ok(())
    }

    /// Appends all records and moves the ends of their partitions.
    fn fill(&self, group: &[Publish]) -> Result<Vec<Filled>> {
        let connection = self.connection()?;
        let time = i64::try_from(self.clock.now().as_nanosecond()).unwrap_or(i64::MAX);
        let mut ends = Ends::default();
        let mut appender = Appender::new(connection).map_err(from_sqlite)?;
        let mut filled = Vec::with_capacity(group.len());
        for publish in group {
            filled.push(match ends.open(connection, publish)? {
                Some(refused) => Filled::Refused(refused),
                None => Filled::Appended(append(&mut appender, &mut ends, publish, time).map_err(from_sqlite)?),
            });
        }
        ends.store(connection).map_err(from_sqlite)?;
        Ok(filled)
    }

    /// Commits the open transaction.
    ///
    /// A full disk stops SQLite before the commit frame is whole, and a lock before the first frame. After any other
    /// error the commit frame may stand in the `-wal`, un-synced or even synced, where a restart would find it; then the
    /// store is poisoned.
    fn commit(&mut self) -> std::result::Result<(), CommitFailure> {
        let committed = self.connection().and_then(|connection| execute(connection, "COMMIT").map_err(from_sqlite));
        let Err(error) = committed else { return Ok(()) };
        if matches!(error.reason(), "DiskFull" | "Locked") {
            self.roll_back(&error);
        } else {
            self.poison(&error);
        }
        Err(if self.poison.is_some() { CommitFailure::Unknown(error) } else { CommitFailure::RolledBack(error) })
    }

    fn commit_group(&mut self, group: Vec<Publish>, filled: Vec<Filled>) {
        if let Err(failure) = self.commit() {
            return self.settle_failed_commit(group, &filled, failure);
        }
        // After the commit nobody knows what became of the file that was there before it.
        let outcome = self.check_identity().map_err(Error::indeterminate);
        for (publish, filled) in group.into_iter().zip(filled) {
            match (filled, &outcome) {
                (Filled::Refused(error), _) => publish.batch.settle_all(&error),
                (Filled::Appended(positions), Ok(())) => publish.settle_acked(&positions),
                (Filled::Appended(_), Err(error)) => publish.batch.settle_all(error),
            }
        }
        self.ring(Ring::Records);
    }

    /// Wakes the members of all groups.
    pub(crate) fn ring(&mut self, why: Ring) {
        if let Some(connection) = &self.connection {
            self.ringer.ring(connection, why);
        }
    }

    /// What an unknown commit has left is looked up in the file, opened anew.
    fn settle_failed_commit(&self, group: Vec<Publish>, filled: &[Filled], failure: CommitFailure) {
        let (left, error) = match failure {
            CommitFailure::RolledBack(error) => (vec![Left::Nothing; group.len()], error),
            CommitFailure::Unknown(error) => {
                (recovery::look_up(&self.config, self.identity.as_ref(), &group, filled), error)
            }
        };
        let failed = self.publish_error(error);
        for ((publish, filled), left) in group.into_iter().zip(filled).zip(left) {
            match (filled, left) {
                (Filled::Refused(refused), _) => publish.batch.settle_all(refused),
                (Filled::Appended(_), Left::Nothing) => publish.batch.settle_all(&failed),
                (Filled::Appended(_), Left::Unknown) => publish.batch.settle_all(&failed.clone().indeterminate()),
            }
        }
    }

    /// Runs a change in a transaction of its own, begun before `until`.
    pub(crate) fn write<T>(
        &mut self,
        queue: &Queue,
        until: Instant,
        change: &dyn Fn(&Connection) -> Result<T>,
    ) -> Result<T> {
        self.check_usable()?;
        self.begin(|| {
            let now = Instant::now();
            let locked = self.locked();
            queue.refuse_overdue(now, &locked);
            if queue.is_stopping() {
                Err(bus_closed())
            } else if now >= until {
                Err(locked)
            } else {
                self.tell_lock(queue, &locked);
                Ok(())
            }
        })?;
        queue.set_trouble(None);
        let changed = self.connection().and_then(change);
        match changed {
            Ok(value) => {
                self.commit().map_err(CommitFailure::into_error)?;
                self.check_identity().map_err(Error::indeterminate)?;
                self.checkpoint_if_due();
                Ok(value)
            }
            Err(error) => {
                self.roll_back(&error);
                Err(error)
            }
        }
    }

    /// Runs a step of upkeep in a transaction of its own, which does not wait long for others.
    pub(crate) fn tidy<T>(&mut self, queue: &Queue, step: &dyn Fn(&Connection) -> Result<T>) -> Result<T> {
        self.write(queue, Instant::now() + TIDY_WAIT_MAX, step)
    }

    /// Reads what upkeep there is.
    pub(crate) fn look<T>(&self, look: impl Fn(&Connection) -> Result<T>) -> Result<T> {
        self.check_usable()?;
        in_snapshot(self.connection()?, look)
    }

    /// Deletes a chunk of what deleted topics left; gives whether more may be left.
    pub(crate) fn sweep(&mut self, queue: &Queue) -> Result<bool> {
        Ok(self.look(retention::has_dropped)? && self.tidy(queue, &retention::sweep_chunk)?)
    }

    /// Gives some free pages back to the file system, if there are many or it has begun; gives how far it is then. The
    /// file becomes shorter with the checkpoint behind the last of them.
    pub(crate) fn vacuum(&mut self, queue: &Queue, vacuum: Vacuum) -> Result<Vacuum> {
        if vacuum != Vacuum::Begun && !self.look(retention::has_many_free_pages)? {
            return Ok(Vacuum::Done);
        }
        if self.tidy(queue, &retention::vacuum_step)? {
            return Ok(Vacuum::Begun);
        }
        self.checkpoint();
        Ok(Vacuum::Done)
    }

    /// Ends the transaction that `error` interrupted before its commit: nothing of it is stored. After an I/O error or
    /// damage the store is poisoned all the same, because the next transaction would meet it too.
    fn roll_back(&mut self, error: &Error) {
        let failed = match &self.connection {
            Some(connection) if !connection.is_autocommit() => connection.execute_batch("ROLLBACK").is_err(),
            _ => false,
        };
        if failed || matches!(error.reason(), "Io" | "Store") {
            self.poison(error);
        }
    }

    /// Gives the file up: the system may have dropped what it could not write, so no later sync proves anything.
    fn poison(&mut self, error: &Error) {
        tracing::error!("{}: {error}", self.config.path.display());
        self.poison = Some(poisoned(error));
        self.connection = None;
    }

    /// Gives the file up after a panic: nobody knows what was done to it. Its transaction goes with the connection.
    pub(crate) fn give_up_after_panic(&mut self) {
        self.poison(&Error::new(ErrorKind::Internal, "Panic").cause("the code that writes has panicked"));
    }

    /// Resets the `-wal` once it is long enough. Comes after the acks, which do not wait for it.
    ///
    /// A reader in an old snapshot keeps it from being reset; then the next try waits until as many pages have come again.
    fn checkpoint_if_due(&mut self) {
        if self.wal_pages.load(Ordering::Relaxed) >= self.checkpoint_at {
            self.checkpoint();
        }
    }

    fn checkpoint(&mut self) {
        let pages = self.wal_pages.load(Ordering::Relaxed);
        let Ok(connection) = self.connection() else { return };
        let turn = self.turnstile.pass();
        let busy = restart_log(connection);
        drop(turn);
        self.checkpoint_at = match busy {
            Ok(false) => {
                self.wal_pages.store(0, Ordering::Relaxed);
                self.config.checkpoint_pages
            }
            Ok(true) => pages.saturating_add(self.config.checkpoint_pages),
            Err(error) => {
                // What was acked is in the -wal and synced, and the next checkpoint writes all of it again, whatever
                // a failed sync has dropped; only the file's growth suffers.
                tracing::warn!("checkpoint {}: {}", self.config.path.display(), from_sqlite(error));
                pages.saturating_add(self.config.checkpoint_pages)
            }
        };
    }

    /// Closes the connection. The last one to close resets and removes the `-wal`; then nobody takes turns any more.
    pub(crate) fn end(&mut self) {
        self.connection = None;
        if !log_of(&self.config.path).exists() {
            self.turnstile.remove();
        }
    }

    fn connection(&self) -> Result<&Connection> {
        self.connection.as_ref().ok_or_else(|| self.poison.clone().unwrap_or_else(bus_closed))
    }

    fn locked(&self) -> Error {
        let waited = self.locked_since.get().map(|since| since.elapsed()).unwrap_or_default();
        Error::new(ErrorKind::Unavailable, "Locked")
            .cause(format!("{} was locked by another program for {waited:.1?}", self.config.path.display()))
            .next("end the program that keeps the file locked")
    }

    /// A lock that lasts is trouble; one that other publishers take turns with is not.
    fn tell_lock(&self, queue: &Queue, locked: &Error) {
        if self.locked_since.get().is_some_and(|since| since.elapsed() >= LOCK_TROUBLE) {
            queue.set_trouble(Some(locked.clone()));
        }
    }

    fn publish_error(&self, error: Error) -> Error {
        error.at("publish", self.config.path.display())
    }
}

/// Why a transaction was not committed.
enum CommitFailure {
    /// Nothing of it is stored.
    RolledBack(Error),
    /// All of it may be stored, or nothing.
    Unknown(Error),
}

impl CommitFailure {
    fn into_error(self) -> Error {
        match self {
            Self::RolledBack(error) => error,
            Self::Unknown(error) => error.indeterminate(),
        }
    }
}

impl Publish {
    fn settle_acked(self, positions: &[i64]) {
        let durability = Durability::one(Medium::Synced);
        let outcomes = self
            .batch
            .records()
            .zip(positions)
            .map(|(record, place)| {
                let offset = Some(Offset(offset_of(*place)));
                Ok(Ack { partition: record.partition, offset, duplicate: false, durability })
            })
            .collect();
        self.batch.settle(outcomes);
    }
}

pub(crate) fn settle_all(group: Vec<Publish>, error: &Error) {
    for publish in group {
        let error = error.clone().at("publish", &publish.topic.name);
        publish.batch.settle_all(&error);
    }
}

fn poisoned(cause: &Error) -> Error {
    Error::new(ErrorKind::Unavailable, "Poisoned")
        .cause(format!("an earlier write failed ({cause}), and no later sync can prove anything"))
        .next("check the disk, then close the bus and open it again")
}

/// Writes the `-wal` back, so that the next transaction begins it anew; gives whether somebody was in the way.
///
/// Tries for a while, because the transaction of another process ends soon and the turnstile keeps further ones out. A
/// single try would nearly always meet one, and the `-wal` of busy processes would never be reset.
fn restart_log(connection: &Connection) -> rusqlite::Result<bool> {
    let start = Instant::now();
    loop {
        let busy: bool = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(0))?;
        if !busy || start.elapsed() >= CHECKPOINT_WAIT_MAX {
            return Ok(busy);
        }
        pause(RETRY_MIN);
    }
}

/// Runs a statement that is parsed once and kept: a transaction of one record is short enough to feel the parsing.
fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn count_wal_pages(connection: &mut Connection) -> rusqlite::Result<Arc<AtomicU32>> {
    let pages = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&pages);
    connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, now: std::ffi::c_int| {
        counted.store(now.unsigned_abs(), Ordering::Relaxed);
        Ok(())
    }))?;
    Ok(pages)
}
