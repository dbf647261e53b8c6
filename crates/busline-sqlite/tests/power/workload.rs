//! A writer on the driver's settings, and the judge of what a database holds of its work.

use rusqlite::{Connection, OpenFlags};

use super::dice::Dice;
use super::vfs::PowerDisk;

/// The database; its folder needs no making.
pub(crate) const PATH: &str = "/bus/log.db";
/// More than one, so that a torn transaction can be told from a missing one.
pub(crate) const ROWS_PER_TX: i64 = 3;
/// Transactions of a writer whose power stays on.
pub(crate) const TXS_PER_LIFE: i64 = 24;

/// A connection that has set nothing.
pub(crate) fn open(disk: &PowerDisk) -> rusqlite::Result<Connection> {
    Connection::open_with_flags_and_vfs(PATH, OpenFlags::default(), disk.vfs_name())
}

/// A connection on the driver's settings, but for the syncs, which a test may weaken. Makes the table.
pub(crate) fn connect(disk: &PowerDisk, synchronous: &str) -> rusqlite::Result<Connection> {
    let connection = open(disk)?;
    connection.execute_batch(&format!(
        "PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;
         PRAGMA synchronous={synchronous}; PRAGMA wal_autocheckpoint=0;
         CREATE TABLE IF NOT EXISTS log(id INTEGER PRIMARY KEY, tx INTEGER NOT NULL, body BLOB);"
    ))?;
    Ok(connection)
}

/// Writes the log back and begins it anew; true if a reader was in the way.
pub(crate) fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(0))
}

/// Commits one small row.
pub(crate) fn insert(connection: &Connection, tx: i64) -> rusqlite::Result<usize> {
    connection.execute("INSERT INTO log(tx) VALUES (?1)", [tx])
}

/// Rows that the connection sees.
pub(crate) fn count(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM log", [], |row| row.get(0))
}

/// A writer that remembers what it was told, through all its lives.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// The last transaction begun, acknowledged or not.
    pub(crate) issued: i64,
    /// The last transaction whose `COMMIT` returned.
    pub(crate) acked: i64,
    /// The last transaction that a begun trim would delete.
    pub(crate) trimmed: i64,
}

impl Writer {
    /// Commits transactions, trims and checkpoints now and then, until done or until the disk fails.
    pub(crate) fn work(&mut self, connection: &Connection, dice: &mut Dice) -> rusqlite::Result<()> {
        for _ in 0..TXS_PER_LIFE {
            self.commit(connection, dice)?;
            if dice.below(6) == 0 {
                self.trim(connection)?;
            }
            if dice.below(5) == 0 {
                checkpoint(connection)?;
            }
        }
        Ok(())
    }

    /// Commits one transaction.
    pub(crate) fn commit(&mut self, connection: &Connection, dice: &mut Dice) -> rusqlite::Result<()> {
        self.issued += 1;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..ROWS_PER_TX {
            // Up to three pages, so that some rows overflow theirs.
            let body = vec![self.issued as u8; dice.below(24 * 1024)];
            connection.execute("INSERT INTO log(tx, body) VALUES (?1, ?2)", (self.issued, body))?;
        }
        connection.execute_batch("COMMIT")?;
        self.acked = self.issued;
        Ok(())
    }

    /// Deletes the old and shrinks the file, so that truncations are among the operations.
    pub(crate) fn trim(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.trimmed = self.trimmed.max(self.acked - 8);
        connection.execute("DELETE FROM log WHERE tx <= ?1", [self.trimmed])?;
        connection.execute_batch("PRAGMA incremental_vacuum")
    }

    /// Begins a life at what the disk has kept, and forgets what it has not.
    pub(crate) fn resume(&mut self, last: i64) {
        self.issued = last;
        self.acked = last;
    }
}

/// What a database holds after a power loss.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The last transaction, 0 if there is none.
    pub(crate) last: i64,
}

/// Reads the database, and judges all that holds whatever was lost: it opens, it is sound, its transactions are whole
/// and without holes, and none is missing at the front but what a trim has taken.
pub(crate) fn inspect(connection: &Connection, writer: &Writer) -> Result<Found, String> {
    let failed = |error: rusqlite::Error| error.to_string();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(failed)?;
    if check != "ok" {
        return Err(check);
    }
    let mut select = connection.prepare("SELECT tx, count(*) FROM log GROUP BY tx ORDER BY tx").map_err(failed)?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    let txs = rows.collect::<rusqlite::Result<Vec<(i64, i64)>>>().map_err(failed)?;
    judge(&txs, writer)
}

/// Judges transactions and their row counts, in order.
pub(crate) fn judge(txs: &[(i64, i64)], writer: &Writer) -> Result<Found, String> {
    let first = txs.first().map_or(1, |(tx, _)| *tx);
    if first > writer.trimmed + 1 {
        return Err(format!("begins at {first}, trimmed to {}", writer.trimmed));
    }
    let whole = txs.iter().zip(first..).all(|((tx, rows), due)| *tx == due && *rows == ROWS_PER_TX);
    let last = txs.last().map_or(0, |(tx, _)| *tx);
    if !whole || last > writer.issued {
        return Err(format!("torn or invented transactions: {txs:?}"));
    }
    Ok(Found { last })
}

#[test]
fn judge_tells_broken_from_whole() {
    let writer = Writer { issued: 5, acked: 4, trimmed: 2 };
    assert_eq!(judge(&[(3, 3), (4, 3)], &writer), Ok(Found { last: 4 }));
    assert_eq!(judge(&[(1, 3), (2, 3)], &writer), Ok(Found { last: 2 }));
    for broken in [&[(4, 3)][..], &[(3, 3), (5, 3)], &[(3, 3), (4, 2)], &[(3, 3), (4, 3), (5, 3), (6, 3)]] {
        assert!(judge(broken, &writer).is_err(), "{broken:?} passes");
    }
}
