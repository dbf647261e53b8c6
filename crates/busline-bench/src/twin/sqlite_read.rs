//! The reading twin of the embedded driver: plain rusqlite, one loop, one thread.
//!
//! It selects the rows of the same file, checks each checksum, decodes each envelope with busline-core's codec and looks
//! at its key. It keeps no order, runs no handler, commits no progress and waits for nothing.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OpenFlags, params};

use super::came_to::TwinRead;
use crate::measure::cpu_time;

/// Rows of one statement, so that no transaction is long. Unit: records. It stands in the text too, because SQLite plans
/// a statement with a bound LIMIT anew at each call.
const BATCH_RECORDS: u64 = 1_000;

const PARTITIONS: &str = "SELECT partition_id FROM partitions JOIN topics USING (topic_id)
     WHERE name = ?1 ORDER BY number";

const RECORDS: &str = "SELECT position, time, key, headers, body, checksum FROM records
     WHERE position >= ?1 AND position < (?2 + 1) << 40 ORDER BY position LIMIT 1000";

/// Reads all records of these topics.
///
/// # Errors
/// What SQLite or the codec refuses; a record whose checksum does not fit.
pub(crate) fn read(path: &Path, topics: &[String]) -> Result<TwinRead> {
    let connection = open(path)?;
    let mut partitions = Vec::new();
    for topic in topics {
        let mut select = connection.prepare(PARTITIONS)?;
        let ids = select.query_map([topic], |row| row.get(0))?;
        partitions.extend(ids.collect::<rusqlite::Result<Vec<i64>>>()?);
    }
    let mut select = connection.prepare_cached(RECORDS)?;
    let (start, cpu, mut records) = (Instant::now(), cpu_time(), 0);
    for partition in partitions {
        let mut next = partition << 40;
        loop {
            let (count, last) = read_batch(&mut select, partition, next)?;
            records += count;
            next = last + 1;
            if count < BATCH_RECORDS {
                break;
            }
        }
    }
    Ok(TwinRead { records, read_in: start.elapsed(), cpu: cpu_time() - cpu })
}

/// Opened as the driver opens its reading connections.
fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).context("open the file for the reading twin")?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

/// Reads one batch; gives how many records it had, and the last position.
fn read_batch(select: &mut CachedStatement<'_>, partition: i64, from: i64) -> Result<(u64, i64)> {
    let mut rows = select.query(params![from, partition])?;
    let (mut count, mut last) = (0, from);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        black_box(row.get::<_, i64>(1)?);
        let (key, body) = (row.get_ref(2)?.as_blob()?, row.get_ref(4)?.as_blob()?);
        let headers = row.get_ref(3)?.as_blob_or_null()?.unwrap_or_default();
        let mut sum = crc32c::crc32c(key);
        if !headers.is_empty() {
            sum = crc32c::crc32c_append(sum, headers);
        }
        let sum = crc32c::crc32c_append(sum, body);
        ensure!(row.get::<_, u32>(5)? == sum, "the checksum at position {last} does not fit");
        let envelope = busline::decode(&Bytes::copy_from_slice(body), String::new)?;
        ensure!(envelope.aggregate_id.as_bytes() == key, "the key at position {last} is not that of the envelope");
        black_box(&envelope);
        count += 1;
    }
    Ok((count, last))
}
