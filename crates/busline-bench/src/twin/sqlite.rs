//! The twin of the embedded driver: plain rusqlite, one loop, one thread.
//!
//! It writes the rows that the bus writes (tables, checksums, ends of partitions) with the same pragmas, in transactions
//! of the recorded sizes, and checkpoints by the same rule. It takes no turns with other processes, knows the ends of
//! its partitions without asking, never looks whether the file is still there, and answers nobody: what the bus does
//! beyond these rows is what the comparison is about.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use busline::{Clock, SystemClock, Wire};
use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OpenFlags, params};

use super::came_to::{Bodies, TwinRun};
use super::murmur2::partition_of;
use crate::latency::Latencies;
use crate::measure::cpu_time;
use crate::workload::{Event, Workload};

/// Stores the workload's events in their order, in transactions of these sizes, into a file that the driver has made.
pub(crate) fn run(
    path: &Path,
    topics: &[String],
    workload: &Workload,
    transactions: &[usize],
    bodies: Bodies,
) -> Result<TwinRun> {
    let mut connection = open(path)?;
    let wal_pages = count_wal_pages(&mut connection)?;
    let mut writer = Writer::new(&connection, topics, wal_pages)?;
    let mut events = workload.events();
    match bodies {
        Bodies::Encoded => writer.store_encoded(workload, &mut events, transactions),
        Bodies::Premade => writer.store_premade(workload, &mut events, transactions),
    }
}

/// Opened as the driver opens its writing connection.
fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).context("open the twin's file")?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

fn count_wal_pages(connection: &mut Connection) -> Result<Arc<AtomicU32>> {
    let pages = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&pages);
    connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, now: std::ffi::c_int| {
        counted.store(now.unsigned_abs(), Ordering::Relaxed);
        Ok(())
    }))?;
    Ok(pages)
}

/// The driver's default. Unit: pages of 8 KiB.
const CHECKPOINT_PAGES: u32 = 2_000;

const PARTITIONS: &str = "SELECT partition_id FROM partitions JOIN topics USING (topic_id)
     WHERE name = ?1 ORDER BY number";

const INSERT: &str =
    "INSERT INTO records (position, time, key, headers, body, checksum) VALUES (?1, ?2, ?3, NULL, ?4, ?5)";

const MOVE_END: &str = "UPDATE partitions SET end_offset = ?1, bytes = bytes + ?2 WHERE partition_id = ?3";

/// The one loop.
struct Writer<'c> {
    connection: &'c Connection,
    insert: CachedStatement<'c>,
    move_end: CachedStatement<'c>,
    wal_pages: Arc<AtomicU32>,
    sources: Vec<String>,
    /// By topic and partition.
    ends: Vec<Vec<End>>,
}

/// Where a partition goes on.
struct End {
    partition_id: i64,
    offset: i64,
    /// Appended since the last commit.
    bytes: u64,
    moved: bool,
}

/// One record, made.
struct Made {
    topic: usize,
    partition: usize,
    key: String,
    body: Vec<u8>,
    checksum: u32,
}

impl<'c> Writer<'c> {
    fn new(connection: &'c Connection, topics: &[String], wal_pages: Arc<AtomicU32>) -> Result<Self> {
        let mut select = connection.prepare(PARTITIONS)?;
        let mut ends_of = |topic: &String| -> Result<Vec<End>> {
            let ids = select.query_map([topic], |row| row.get(0))?;
            ids.map(|id| Ok(End { partition_id: id?, offset: 0, bytes: 0, moved: false })).collect()
        };
        Ok(Self {
            connection,
            insert: connection.prepare_cached(INSERT)?,
            move_end: connection.prepare_cached(MOVE_END)?,
            wal_pages,
            sources: topics.iter().map(|topic| format!("/busline/{topic}")).collect(),
            ends: topics.iter().map(&mut ends_of).collect::<Result<_>>()?,
        })
    }

    fn store_encoded(
        &mut self,
        workload: &Workload,
        events: &mut impl Iterator<Item = Event>,
        transactions: &[usize],
    ) -> Result<TwinRun> {
        let mut latencies = Latencies::default();
        let mut body = Vec::new();
        let (start, cpu, mut envelopes) = (Instant::now(), cpu_time(), 0);
        for size in transactions {
            self.checkpoint_if_due()?;
            let called = Instant::now();
            let time = self.begin()?;
            for event in events.take(*size) {
                let envelope = workload.envelope(event);
                let topic = workload.topic_of(event.aggregate);
                body.clear();
                Wire::CloudEvents.encode(&envelope, &self.sources[topic], &mut body);
                let key = envelope.aggregate_id.as_bytes();
                let (partition, checksum) = self.place(topic, key, &body);
                self.append(topic, partition, time, key, &body, checksum)?;
                envelopes += 1;
            }
            self.commit()?;
            latencies.record(called.elapsed(), 1);
        }
        Ok(TwinRun { envelopes, stored_in: start.elapsed(), cpu: cpu_time() - cpu, latencies })
    }

    fn store_premade(
        &mut self,
        workload: &Workload,
        events: &mut impl Iterator<Item = Event>,
        transactions: &[usize],
    ) -> Result<TwinRun> {
        let mut latencies = Latencies::default();
        let (mut stored_in, mut cpu_used, mut envelopes) = (Duration::ZERO, Duration::ZERO, 0);
        for block in blocks(transactions) {
            let made: Vec<Made> = events.take(block.iter().sum()).map(|event| self.make(workload, event)).collect();
            envelopes += made.len() as u64;
            let mut records = made.iter();
            let (start, cpu) = (Instant::now(), cpu_time());
            for size in block {
                self.checkpoint_if_due()?;
                let called = Instant::now();
                let time = self.begin()?;
                for one in records.by_ref().take(*size) {
                    self.append(one.topic, one.partition, time, one.key.as_bytes(), &one.body, one.checksum)?;
                }
                self.commit()?;
                latencies.record(called.elapsed(), 1);
            }
            stored_in += start.elapsed();
            cpu_used += cpu_time() - cpu;
        }
        Ok(TwinRun { envelopes, stored_in, cpu: cpu_used, latencies })
    }

    fn make(&self, workload: &Workload, event: Event) -> Made {
        let envelope = workload.envelope(event);
        let topic = workload.topic_of(event.aggregate);
        let mut body = Vec::new();
        Wire::CloudEvents.encode(&envelope, &self.sources[topic], &mut body);
        let (partition, checksum) = self.place(topic, envelope.aggregate_id.as_bytes(), &body);
        Made { topic, partition, key: envelope.aggregate_id, body, checksum }
    }

    fn place(&self, topic: usize, key: &[u8], body: &[u8]) -> (usize, u32) {
        let checksum = crc32c::crc32c_append(crc32c::crc32c(key), body);
        (partition_of(key, self.ends[topic].len()), checksum)
    }

    /// Begins a transaction; gives the time that its records carry.
    fn begin(&self) -> Result<i64> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(i64::try_from(SystemClock.now().as_nanosecond())?)
    }

    fn append(
        &mut self,
        topic: usize,
        partition: usize,
        time: i64,
        key: &[u8],
        body: &[u8],
        checksum: u32,
    ) -> Result<()> {
        let end = &mut self.ends[topic][partition];
        let position = (end.partition_id << 40) | end.offset;
        end.offset += 1;
        end.moved = true;
        end.bytes += (key.len() + body.len()) as u64;
        self.insert.execute(params![position, time, key, body, checksum])?;
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        for end in self.ends.iter_mut().flatten().filter(|end| end.moved) {
            self.move_end.execute(params![end.offset, end.bytes, end.partition_id])?;
            end.moved = false;
            end.bytes = 0;
        }
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    fn checkpoint_if_due(&self) -> Result<()> {
        if self.wal_pages.load(Ordering::Relaxed) >= CHECKPOINT_PAGES {
            self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
            // The hook counts again with the next commit.
            self.wal_pages.store(0, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Records that are made at once before they are stored: enough to keep the making out of the storing, and few enough
/// to stay out of the way of memory.
const BLOCK_RECORDS_MAX: usize = 32_768;

/// The transactions in blocks of about [`BLOCK_RECORDS_MAX`] records.
fn blocks(transactions: &[usize]) -> Vec<&[usize]> {
    let (mut blocks, mut rest) = (Vec::new(), transactions);
    while !rest.is_empty() {
        let mut records = 0;
        let fits = rest.iter().take_while(|size| {
            records += **size;
            records <= BLOCK_RECORDS_MAX
        });
        let (block, behind) = rest.split_at(fits.count().max(1));
        blocks.push(block);
        rest = behind;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_every_transaction_once_and_one_at_least() {
        let sizes = [40_000, 1, 30_000, 2_767, 1, 5];
        let found = blocks(&sizes);
        assert_eq!(found, [&sizes[..1], &sizes[1..4], &sizes[4..]]);
        assert!(blocks(&[]).is_empty());
    }
}
