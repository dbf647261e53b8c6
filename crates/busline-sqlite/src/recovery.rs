//! After a failed `COMMIT`: what a definite outcome may be based on.
//!
//! An error from `COMMIT` says nothing about what a restart will find: the frames may stand in the `-wal` or not, on the
//! disk or in the page cache alone. So the file is opened anew, asked, and the old `-wal` done away with.
//!
//! What is *found* is never acked. The system marks pages clean whose write-back failed, so they are read as if they
//! were there, no later sync writes them, and a checkpoint may copy them into the main file in part: the next power loss
//! takes them. Such records are indeterminate. What is *not found* will never appear, once the log that may hold it is
//! gone for good. A checkpoint with `TRUNCATE` empties the log but does not sync that, and a removed log can come back
//! in the same way; the commit that follows writes a log of another salt and syncs it, with its folder if it is new.
//!
//! # Source
//! Fault F17; SQLite's file format, section 4.1 (a frame counts only with the salt of the log's header); the tests on
//! failed syncs in `tests/power`.

use std::time::Instant;

use busline_core::{Error, ErrorKind, Result};
use rusqlite::Connection;

use crate::config::SqliteConfig;
use crate::connection::{open_existing, retried};
use crate::error::from_sqlite;
use crate::fill::Filled;
use crate::group::Publish;
use crate::identity::Identity;
use crate::records::stands_at;
use crate::schema::SCHEMA_VERSION;

/// What a failed commit has left of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing stands in the file, and nothing of it will.
    Nothing,
    /// Something does, or the file cannot say.
    Unknown,
}

/// Opens the file anew and looks for each batch at the positions it was given.
pub(crate) fn look_up(
    config: &SqliteConfig,
    identity: Option<&Identity>,
    group: &[Publish],
    filled: &[Filled],
) -> Vec<Left> {
    let looked_up = look_up_all(config, identity, group, filled);
    looked_up.unwrap_or_else(|error| {
        tracing::error!("look up a failed commit in {}: {error}", config.path.display());
        vec![Left::Unknown; group.len()]
    })
}

fn look_up_all(
    config: &SqliteConfig,
    identity: Option<&Identity>,
    group: &[Publish],
    filled: &[Filled],
) -> Result<Vec<Left>> {
    let connection = open_existing(config)?;
    for (publish, filled) in group.iter().zip(filled) {
        if is_there(&connection, publish, filled).map_err(from_sqlite)? {
            // One transaction held them all. Its log stays as it is: copying it would tear the main file if it goes.
            return Ok(vec![Left::Unknown; group.len()]);
        }
    }
    retried(Instant::now() + config.patience, || forget_log(&connection))?;
    identity.map_or(Ok(()), Identity::check_database)?;
    Ok(vec![Left::Nothing; group.len()])
}

/// Whether any record of the batch stands in the file. Another process may own the offsets by now, so the whole record
/// is compared, not only its place.
fn is_there(connection: &Connection, publish: &Publish, filled: &Filled) -> rusqlite::Result<bool> {
    let Filled::Appended(positions) = filled else { return Ok(false) };
    for (record, place) in publish.batch.records().zip(positions) {
        if stands_at(connection, *place, &record)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Empties the `-wal`, and makes that last by a commit of its own.
fn forget_log(connection: &Connection) -> Result<()> {
    let busy: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(from_sqlite)?;
    if busy {
        return Err(Error::new(ErrorKind::Unavailable, "Locked")
            .cause("readers keep the -wal from being checkpointed")
            .next("look the envelopes up before publishing them again"));
    }
    connection.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(from_sqlite)
}
