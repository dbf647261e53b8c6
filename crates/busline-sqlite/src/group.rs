//! Group commit: the batches that have come together become one transaction and one sync.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use busline_core::{Ack, Batch, Clock, Durability, Error, ErrorKind, Medium, Offset, Result, topic_not_found};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use crate::committer::{Queue, driver_closed};
use crate::config::SqliteConfig;
use crate::error::from_sqlite;
use crate::identity::Identity;
use crate::records::Appender;
use crate::recovery::{self, Settled};
use crate::schema::{OFFSET_END, offset_of, position};
use crate::sink::SinkTopic;
use crate::topics;
use crate::turnstile::{Turnstile, pause};
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

/// The writing side of the file; lives on the committer thread.
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
    /// Why nothing is written any more.
    poison: Option<Error>,
    ringer: Ringer,
}

/// Pauses between two tries to begin: short at first, because another process's transaction is.
const RETRY_MIN: Duration = Duration::from_micros(50);
const RETRY_MAX: Duration = Duration::from_millis(1);

impl Store {
    pub(crate) fn new(config: SqliteConfig, mut connection: Connection, clock: Arc<dyn Clock>) -> Result<Self> {
        let in_file_system = config.vfs.is_none();
        let identity = if in_file_system { Some(Identity::of(&config.path)?) } else { None };
        let turnstile = if in_file_system { Turnstile::beside(&config.path) } else { Turnstile::none() };
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
            poison: None,
            ringer: Ringer::new(),
        })
    }

    pub(crate) fn transaction_limits(&self) -> (usize, usize) {
        (self.config.batch_records_max, self.config.batch_bytes_max)
    }

    /// Stores batches in one transaction and settles each record of them.
    pub(crate) fn publish(&mut self, mut group: Vec<Publish>, queue: &Queue) {
        if let Err(error) = self.check_usable() {
            return settle_all(group, &error);
        }
        if !self.begin_group(&mut group, queue) {
            return;
        }
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
        self.identity.as_ref().map_or(Ok(()), Identity::check)
    }

    /// Begins a transaction for these batches. Those whose deadline passes meanwhile are settled and taken out; gives
    /// whether there is something left to store.
    fn begin_group(&self, group: &mut Vec<Publish>, queue: &Queue) -> bool {
        let start = Instant::now();
        let outcome = self.begin(|| {
            if queue.is_stopping() {
                return Err(driver_closed());
            }
            let now = Instant::now();
            let (overdue, rest) = std::mem::take(group).into_iter().partition(|publish| publish.is_overdue(now));
            *group = rest;
            settle_all(overdue, &self.locked(start.elapsed()));
            settle_all(queue.take_overdue(now), &self.locked(start.elapsed()));
            if group.is_empty() { Err(self.locked(start.elapsed())) } else { Ok(()) }
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
            match connection.execute_batch("BEGIN IMMEDIATE") {
                Ok(()) => break,
                Err(error) if is_busy(&error) => go_on()?,
                Err(error) => return Err(from_sqlite(error)),
            }
            pause(retry);
            retry = (retry * 2).min(RETRY_MAX);
        }
        drop(turn);
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

    fn commit_group(&mut self, group: Vec<Publish>, filled: Vec<Filled>) {
        let committed =
            self.connection().and_then(|connection| connection.execute_batch("COMMIT").map_err(from_sqlite));
        let outcome = match committed {
            // After the commit nobody knows what became of the file that was there before it.
            Ok(()) => self.identity.as_ref().map_or(Ok(()), Identity::check).map_err(Error::indeterminate),
            Err(error) => {
                return self.settle_failed_commit(group, filled, error);
            }
        };
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

    /// After a failed `COMMIT` the records may stand in the file or not. What is full was rolled back; after anything
    /// else the file is opened anew and asked.
    fn settle_failed_commit(&mut self, group: Vec<Publish>, filled: Vec<Filled>, error: Error) {
        self.roll_back(&error);
        if self.poison.is_none() {
            return settle_all(group, &self.publish_error(error));
        }
        let settled = recovery::look_up(&self.config, &group, &filled);
        for ((publish, filled), settled) in group.into_iter().zip(filled).zip(settled) {
            match (filled, settled) {
                (Filled::Refused(refused), _) => publish.batch.settle_all(&refused),
                (Filled::Appended(positions), Settled::Stored) => publish.settle_acked(&positions),
                (_, Settled::NotStored) => publish.batch.settle_all(&self.publish_error(error.clone())),
                (_, Settled::Unknown) => publish.batch.settle_all(&self.publish_error(error.clone()).indeterminate()),
            }
        }
    }

    /// Runs a change in a transaction of its own.
    pub(crate) fn write<T>(&mut self, queue: &Queue, change: &dyn Fn(&Connection) -> Result<T>) -> Result<T> {
        self.check_usable()?;
        let start = Instant::now();
        self.begin(|| {
            let now = Instant::now();
            settle_all(queue.take_overdue(now), &self.locked(start.elapsed()));
            if queue.is_stopping() {
                Err(driver_closed())
            } else if start.elapsed() >= self.config.patience {
                Err(self.locked(start.elapsed()))
            } else {
                Ok(())
            }
        })?;
        let changed = self.connection().and_then(change);
        match changed {
            Ok(value) => {
                let committed =
                    self.connection().and_then(|connection| connection.execute_batch("COMMIT").map_err(from_sqlite));
                if let Err(error) = committed {
                    self.roll_back(&error);
                    return Err(if self.poison.is_some() { error.indeterminate() } else { error });
                }
                self.identity.as_ref().map_or(Ok(()), Identity::check).map_err(Error::indeterminate)?;
                self.checkpoint_if_due();
                Ok(value)
            }
            Err(error) => {
                self.roll_back(&error);
                Err(error)
            }
        }
    }

    /// Deletes one chunk of what deleted topics left; gives whether more may be left.
    pub(crate) fn sweep(&mut self, queue: &Queue) -> bool {
        match self.write(queue, &topics::sweep_chunk) {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!("sweep deleted topics: {error}");
                false
            }
        }
    }

    /// Ends the transaction that `error` interrupted. After an I/O error the store is poisoned: the system may have
    /// dropped what it could not write, so no later sync proves anything.
    fn roll_back(&mut self, error: &Error) {
        let failed = match &self.connection {
            Some(connection) if !connection.is_autocommit() => connection.execute_batch("ROLLBACK").is_err(),
            _ => false,
        };
        if failed || matches!(error.reason(), "Io" | "Store") {
            tracing::error!("{}: {error}", self.config.path.display());
            self.poison = Some(poisoned(error));
            self.connection = None;
        }
    }

    /// Resets the `-wal` once it is long enough. Comes after the acks, which do not wait for it.
    ///
    /// A reader in an old snapshot keeps it from being reset; then the next try waits until as many pages have come again.
    fn checkpoint_if_due(&mut self) {
        let pages = self.wal_pages.load(Ordering::Relaxed);
        if pages < self.checkpoint_at {
            return;
        }
        let Ok(connection) = self.connection() else { return };
        let turn = self.turnstile.pass();
        let busy = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, i64>(0));
        drop(turn);
        self.checkpoint_at = match busy {
            Ok(0) => self.config.checkpoint_pages,
            Ok(_) => pages.saturating_add(self.config.checkpoint_pages),
            Err(error) => {
                // What was acked is in the -wal and synced; only the file's growth suffers.
                tracing::warn!("checkpoint {}: {}", self.config.path.display(), from_sqlite(error));
                pages.saturating_add(self.config.checkpoint_pages)
            }
        };
    }

    /// Closes the connection. The last one to close resets and removes the `-wal`; then nobody takes turns any more.
    pub(crate) fn end(mut self) {
        self.connection = None;
        let mut wal = self.config.path.clone().into_os_string();
        wal.push("-wal");
        if !std::path::Path::new(&wal).exists() {
            self.turnstile.remove();
        }
    }

    fn connection(&self) -> Result<&Connection> {
        self.connection.as_ref().ok_or_else(|| self.poison.clone().unwrap_or_else(driver_closed))
    }

    fn locked(&self, waited: Duration) -> Error {
        Error::new(ErrorKind::Unavailable, "Locked")
            .cause(format!("{} was locked by another program for {waited:.1?}", self.config.path.display()))
            .next("end the program that keeps the file locked")
    }

    fn publish_error(&self, error: Error) -> Error {
        error.at("publish", self.config.path.display())
    }
}

/// What became of a batch inside the transaction.
pub(crate) enum Filled {
    /// The position of each record.
    Appended(Vec<i64>),
    /// Nothing of it was appended.
    Refused(Error),
}

fn append(appender: &mut Appender<'_>, ends: &mut Ends, publish: &Publish, time: i64) -> rusqlite::Result<Vec<i64>> {
    let mut positions = Vec::with_capacity(publish.batch.len());
    for record in publish.batch.records() {
        let id = publish.topic.partition_ids[record.partition.0 as usize];
        let place = position(id, ends.take(id));
        appender.append(place, time, &record)?;
        positions.push(place);
    }
    Ok(positions)
}

/// Ends of the partitions that a transaction touches.
#[derive(Default)]
struct Ends(HashMap<i64, u64>);

impl Ends {
    /// Reads the ends that this batch needs; gives why it cannot be stored, if so.
    fn open(&mut self, connection: &Connection, publish: &Publish) -> Result<Option<Error>> {
        let mut select = connection
            .prepare_cached("SELECT end_offset FROM partitions WHERE partition_id = ?1")
            .map_err(from_sqlite)?;
        for record in publish.batch.records() {
            let id = publish.topic.partition_ids[record.partition.0 as usize];
            if self.0.contains_key(&id) {
                continue;
            }
            match select.query_row([id], |row| row.get::<_, u64>(0)).optional().map_err(from_sqlite)? {
                Some(end) if end + (publish.batch.len() as u64) < OFFSET_END => self.0.insert(id, end),
                Some(_) => return Ok(Some(partition_full(publish))),
                None => return Ok(Some(topic_not_found(&publish.topic.name))),
            };
        }
        Ok(None)
    }

    fn take(&mut self, id: i64) -> u64 {
        let end = self.0.entry(id).or_default();
        *end += 1;
        *end - 1
    }

    fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut update = connection
            .prepare_cached("UPDATE partitions SET end_offset = ?1 WHERE partition_id = ?2 AND end_offset <> ?1")?;
        self.0.iter().try_for_each(|(id, end)| update.execute(params![end, id]).map(drop))
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

fn settle_all(group: Vec<Publish>, error: &Error) {
    for publish in group {
        let error = error.clone().at("publish", &publish.topic.name);
        publish.batch.settle_all(&error);
    }
}

fn partition_full(publish: &Publish) -> Error {
    Error::new(ErrorKind::Unavailable, "PartitionFull")
        .cause(format!("a partition of {} holds no offset above {OFFSET_END}", publish.topic.name))
        .next("publish to a new topic")
}

fn poisoned(cause: &Error) -> Error {
    Error::new(ErrorKind::Unavailable, "Poisoned")
        .cause(format!("an earlier write failed ({cause}), and no later sync can prove anything"))
        .next("check the disk, then close the bus and open it again")
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
