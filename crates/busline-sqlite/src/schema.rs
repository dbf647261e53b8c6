//! What stands in the file: every table, its version, and how a file is told to be ours.

use busline_core::{Error, ErrorKind, Result};
use rusqlite::Connection;

use crate::error::from_sqlite;
use crate::topics::damaged;

/// SQLite's `application_id` of our files: `Busl`.
pub const APPLICATION_ID: i32 = 0x4275_736c;

/// SQLite's `user_version` of our files.
pub const SCHEMA_VERSION: i32 = 2;

/// Bits of a record's position that hold its offset; those above hold the partition's id.
const OFFSET_BITS: u32 = 40;

/// The first offset that a partition can no longer hold: about 10¹².
pub(crate) const OFFSET_END: u64 = 1 << OFFSET_BITS;

/// The last id of a partition whose positions are positive. Ids are never given twice.
pub(crate) const PARTITION_ID_MAX: i64 = (1 << (63 - OFFSET_BITS)) - 1;

/// Where a record stands in the table: partition and offset in one integer, so that an append goes to the right edge
/// of its partition and a read is a range. Measured against four other layouts: a composite key inserts at 0.75 × its
/// speed, an index beside the key reads at half of it.
pub(crate) fn position(partition_id: i64, offset: u64) -> i64 {
    (partition_id << OFFSET_BITS) | offset as i64
}

/// The offset in a position.
pub(crate) fn offset_of(position: i64) -> u64 {
    position as u64 & (OFFSET_END - 1)
}

const CREATE: &str = "
CREATE TABLE topics (
    topic_id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name           TEXT NOT NULL UNIQUE,
    collision_form TEXT NOT NULL UNIQUE,
    incarnation    BLOB NOT NULL,
    spec           TEXT NOT NULL,
    is_limited     INTEGER NOT NULL DEFAULT 0  -- whether the spec has a limit of retention
) STRICT;

CREATE INDEX limited_topics ON topics (topic_id) WHERE is_limited;

-- One row for each partition, because the newest record cannot say where to go on once it is trimmed.
CREATE TABLE partitions (
    partition_id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic_id     INTEGER NOT NULL REFERENCES topics,
    number       INTEGER NOT NULL,
    start_offset INTEGER NOT NULL DEFAULT 0,
    end_offset   INTEGER NOT NULL DEFAULT 0,
    bytes        INTEGER NOT NULL DEFAULT 0,  -- keys, headers and bodies of its records
    UNIQUE (topic_id, number)
) STRICT;

-- Partitions of deleted topics whose records are still being deleted.
CREATE TABLE dropped (
    partition_id INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE records (
    position INTEGER PRIMARY KEY,  -- partition_id * 2^40 + offset
    time     INTEGER NOT NULL,     -- when it was stored, in nanoseconds since 1970
    key      BLOB NOT NULL,
    headers  BLOB,
    body     BLOB NOT NULL,
    checksum INTEGER NOT NULL      -- CRC32C over key, headers and body
) STRICT;

CREATE TABLE members (
    group_name TEXT NOT NULL,
    topic_id   INTEGER NOT NULL REFERENCES topics,
    member     TEXT NOT NULL,
    beat       INTEGER NOT NULL,   -- counted up by the member; others watch it stand still
    wake       TEXT NOT NULL,      -- abstract socket address
    PRIMARY KEY (group_name, topic_id, member)
) STRICT, WITHOUT ROWID;

CREATE TABLE progress (
    group_name   TEXT NOT NULL,
    partition_id INTEGER NOT NULL,
    owner        TEXT,
    generation   INTEGER NOT NULL DEFAULT 0,
    committed    INTEGER,          -- the first offset that is not finished
    deleted      INTEGER NOT NULL DEFAULT 0,  -- records deleted before they were finished
    PRIMARY KEY (group_name, partition_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX progress_of_partition ON progress (partition_id);
";

/// From version 1: retention needs the bytes of a partition and its limited topics, and counts what groups lose.
const FROM_VERSION_1: &str = "
ALTER TABLE topics ADD COLUMN is_limited INTEGER NOT NULL DEFAULT 0;
ALTER TABLE partitions ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE progress ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;
CREATE INDEX limited_topics ON topics (topic_id) WHERE is_limited;
CREATE INDEX progress_of_partition ON progress (partition_id);
UPDATE topics SET is_limited = 1
    WHERE (SELECT count(value) FROM json_each(spec, '$.retention')) > 0;
UPDATE partitions SET bytes = (
    SELECT coalesce(sum(length(key) + coalesce(length(headers), 0) + length(body)), 0) FROM records
    WHERE position >= partition_id << 40 AND position < (partition_id + 1) << 40
);
PRAGMA user_version = 2;
";

/// What a connection finds in the file it has opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    Nothing,
    Ours,
    /// Ours, at the schema of an earlier version.
    Older,
}

/// Reads whose file this is; writes nothing.
///
/// # Errors
/// `Invalid/NotABuslineFile`; `Unsupported/SchemaNewer` with both numbers; `Corrupt/Store`.
pub(crate) fn inspect(connection: &Connection) -> Result<Contents> {
    // One statement, so one view: between two of them another process may make the file ours.
    let (application, version, tables): (i32, i32, i64) = connection
        .query_row(
            "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
                 (SELECT count(*) FROM sqlite_schema)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .map_err(from_sqlite)?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(Contents::Nothing);
    }
    if application != APPLICATION_ID {
        return Err(Error::invalid("NotABuslineFile")
            .cause("the file is a SQLite database of another application")
            .next("name a file that Busline made, or a new one"));
    }
    if version > SCHEMA_VERSION {
        return Err(Error::new(ErrorKind::Unsupported, "SchemaNewer")
            .cause(format!("the file has schema {version}, this version knows up to {SCHEMA_VERSION}"))
            .next("use the newer version of Busline; nothing was written"));
    }
    match version {
        SCHEMA_VERSION => Ok(Contents::Ours),
        1.. => Ok(Contents::Older),
        _ => Err(damaged(format!("schema {version} never was"))),
    }
}

/// Tables that are small beside the records, and that have indexes.
const INDEXED: [&str; 4] = ["topics", "partitions", "members", "progress"];

/// Checks that small tables and their indexes agree, page by page. Records have no index; their damage shows on reading.
///
/// # Errors
/// `Corrupt/Store` with what SQLite says of the first fault.
pub(crate) fn check_whole(connection: &Connection) -> Result<()> {
    for table in INDEXED {
        let said: String = connection
            .query_row(&format!("PRAGMA integrity_check({table})"), [], |row| row.get(0))
            .map_err(from_sqlite)?;
        // A line that names the database may stand before the fault.
        let fault = said.lines().last().unwrap_or_default();
        if fault != "ok" {
            return Err(damaged(format!("table {table}: {fault}")));
        }
    }
    Ok(())
}

/// Brings a file of an earlier version to this one, inside one transaction.
pub(crate) fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(FROM_VERSION_1)
}

/// Makes the tables in an empty file, in one transaction.
pub(crate) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(CREATE)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_hold_partition_and_offset() {
        let last = position(PARTITION_ID_MAX, OFFSET_END - 1);
        assert!(last > 0);
        assert_eq!(offset_of(last), OFFSET_END - 1);
        assert!(position(1, OFFSET_END - 1) < position(2, 0));
    }
}
