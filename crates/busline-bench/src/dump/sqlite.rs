//! The rows of a SQLite file by plain SQL, in a connection that shares nothing with the driver.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use busline::Headers;
use rusqlite::{Connection, OpenFlags};

use super::judge::{Judge, Row, Verdict};
use crate::workload::Workload;

/// What a file shows.
#[derive(Debug)]
pub(crate) struct Dump {
    pub(crate) verdict: Verdict,
    /// Records of each transaction, in their order. All rows of one carry the same time.
    pub(crate) transactions: Vec<usize>,
}

const PARTITIONS: &str = "SELECT partition_id, number FROM partitions JOIN topics USING (topic_id)
     WHERE name = ?1 ORDER BY number";

const RECORDS: &str = "SELECT position, time, key, headers, body, checksum FROM records
     WHERE position >= ?1 << 40 AND position < (?1 + 1) << 40 ORDER BY position";

/// Reads all rows of these topics and judges them.
///
/// # Errors
/// What SQLite finds: a file that cannot be read, or that its own integrity check refuses.
pub(crate) fn judge_file(path: &Path, topics: &[String], workload: &Workload) -> Result<Dump> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).context("open the file")?;
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    anyhow::ensure!(sound == "ok", "SQLite's check of {} says: {sound}", path.display());
    let mut judge = Judge::new(workload);
    let mut transactions = BTreeMap::new();
    let mut partitions = connection.prepare(PARTITIONS)?;
    let mut records = connection.prepare(RECORDS)?;
    for (topic, name) in topics.iter().enumerate() {
        let found = partitions.query_map([name], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?)))?;
        for id_and_number in found {
            let (id, partition) = id_and_number?;
            let mut rows = records.query([id])?;
            while let Some(row) = rows.next()? {
                *transactions.entry(row.get::<_, i64>(1)?).or_insert(0) += 1;
                judge_row(&mut judge, row, topic, partition)?;
            }
        }
    }
    Ok(Dump { verdict: judge.finish(), transactions: transactions.into_values().collect() })
}

fn judge_row(judge: &mut Judge<'_>, row: &rusqlite::Row<'_>, topic: usize, partition: u32) -> Result<()> {
    let offset = row.get::<_, i64>(0)? as u64 & ((1 << 40) - 1);
    let (key, body) = (row.get_ref(2)?.as_blob()?, row.get_ref(4)?.as_blob()?);
    let headers = row.get_ref(3)?.as_blob_or_null()?.unwrap_or_default();
    let sum = [headers, body].iter().fold(crc32c::crc32c(key), |sum, part| crc32c::crc32c_append(sum, part));
    if headers.is_empty() && row.get::<_, u32>(5)? == sum {
        judge.row(&Row { topic, partition, offset, key, headers: &Headers::default(), body });
    } else {
        judge.damaged_row();
    }
    Ok(())
}

/// Number of all rows of a file.
pub(crate) fn count_records(path: &Path) -> Result<u64> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).context("open the file")?;
    Ok(connection.query_row("SELECT count(*) FROM records", [], |row| row.get(0))?)
}
