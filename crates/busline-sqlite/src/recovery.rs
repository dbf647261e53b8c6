//! After a failed `COMMIT`: whether the records stand in the file.
//!
//! `SQLITE_IOERR` from a commit says nothing about what a restart will find: the frames may be in the `-wal` or not. So
//! the file is opened anew and a full checkpoint moves whatever is there into the main file and syncs that. If this
//! succeeds, what is found is durable and what is not found will never appear. If not, the outcome stays unknown.

use busline_core::Result;
use rusqlite::Connection;

use crate::config::SqliteConfig;
use crate::connection::open_writer;
use crate::error::from_sqlite;
use crate::group::{Filled, Publish};
use crate::records::stands_at;

/// What is known of a batch whose commit failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// All of it stands in the file, synced.
    Stored,
    /// Nothing of it does, and nothing will.
    NotStored,
    /// The file cannot say.
    Unknown,
}

/// Opens the file anew and looks for each batch at the positions it was given.
pub(crate) fn look_up(config: &SqliteConfig, group: &[Publish], filled: &[Filled]) -> Vec<Settled> {
    let connection = match reopen(config) {
        Ok(connection) => connection,
        Err(error) => {
            tracing::error!("look up a failed commit in {}: {error}", config.path.display());
            return vec![Settled::Unknown; group.len()];
        }
    };
    group.iter().zip(filled).map(|(publish, filled)| look_up_batch(&connection, publish, filled)).collect()
}

/// Another process may own the offsets by now, so the whole record is compared, not only its place.
fn look_up_batch(connection: &Connection, publish: &Publish, filled: &Filled) -> Settled {
    let Filled::Appended(positions) = filled else { return Settled::NotStored };
    let found: rusqlite::Result<Vec<bool>> =
        publish.batch.records().zip(positions).map(|(record, place)| stands_at(connection, *place, &record)).collect();
    match found {
        Ok(found) if found.iter().all(|stands| *stands) => Settled::Stored,
        Ok(found) if found.iter().all(|stands| !stands) => Settled::NotStored,
        // A transaction is stored whole or not at all; anything else is damage.
        _ => Settled::Unknown,
    }
}

fn reopen(config: &SqliteConfig) -> Result<Connection> {
    let connection = open_writer(config)?;
    let busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(from_sqlite)?;
    if busy != 0 {
        return Err(busline_core::Error::new(busline_core::ErrorKind::Unavailable, "Locked")
            .cause("readers keep the -wal from being checkpointed")
            .next("look the envelopes up before publishing them again"));
    }
    Ok(connection)
}
