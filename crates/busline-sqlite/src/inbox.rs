//! An inbox: which events a group has handled, kept in the user's own SQLite transaction.

use std::time::Duration;

use busline_core::{Clock, Delivery, Result};
use rusqlite::{Connection, Transaction, params};

use crate::error::from_sqlite;

/// Remembers the ids of handled events, so that a handler whose effects are rows of one SQLite file has them once.
///
/// # What it guarantees
/// An id that is noted in a transaction which commits is told as known to every later transaction on that file, until it is
/// trimmed. So effects that are written in the same transaction as the note are there once for each (group, id), however
/// often the event is delivered: after a crash, a lost commit, a hand-over or a replay.
///
/// # What it does not
/// - Effects outside that file (a mail, a call to another service) may happen again.
/// - It knows ids, not contents: two different events that were published under one id are one for it.
/// - An event that comes again after its note was trimmed is handled again. Keep notes longer than an event may be
///   parked, and longer than a group may be moved back.
/// - It does not keep order. The bus does.
///
/// # Examples
/// ```
/// # use busline_sqlite::Inbox;
/// # fn charge(_: &rusqlite::Transaction<'_>) -> rusqlite::Result<()> { Ok(()) }
/// # fn handle(connection: &mut rusqlite::Connection, delivery: &busline_core::Delivery) -> Result<(), Box<dyn std::error::Error>> {
/// let transaction = connection.transaction()?;
/// if Inbox::note(&transaction, delivery)? {
///     charge(&transaction)?;
/// }
/// transaction.commit()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Inbox;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS busline_inbox (
    group_name TEXT NOT NULL,
    id         TEXT NOT NULL,
    noted_ms   INTEGER NOT NULL,
    PRIMARY KEY (group_name, id)
) WITHOUT ROWID";

const NOTE: &str = "INSERT INTO busline_inbox (group_name, id, noted_ms) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";

const TRIM: &str = "DELETE FROM busline_inbox WHERE (group_name, id) IN
    (SELECT group_name, id FROM busline_inbox WHERE noted_ms < ?1 LIMIT ?2)";

/// Notes deleted in one step of a trim, so that it holds no lock for long.
const TRIMMED_AT_ONCE: usize = 1_000;

impl Inbox {
    /// Makes the table `busline_inbox`, if it is not there.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn create(connection: &Connection) -> Result<()> {
        connection.execute(CREATE, []).map(drop).map_err(from_sqlite)
    }

    /// Notes the event for its group; gives whether that is the first time. Whoever rolls the transaction back takes the
    /// note back.
    ///
    /// # Errors
    /// What SQLite says; nothing is noted then.
    pub fn note(transaction: &Transaction<'_>, delivery: &Delivery) -> Result<bool> {
        Self::note_id(transaction, delivery.group().as_str(), &delivery.envelope.id)
    }

    /// The same for an id that does not come from a delivery.
    ///
    /// # Errors
    /// What SQLite says; nothing is noted then.
    pub fn note_id(transaction: &Transaction<'_>, group: &str, id: &str) -> Result<bool> {
        let mut note = transaction.prepare_cached(NOTE).map_err(from_sqlite)?;
        let now = busline_core::SystemClock.now().as_millisecond();
        note.execute(params![group, id, now]).map(|rows| rows == 1).map_err(from_sqlite)
    }

    /// Forgets notes that are older than this, a thousand in a transaction; gives their number.
    ///
    /// # Errors
    /// What SQLite says; what was forgotten before stays so.
    pub fn trim(connection: &Connection, older_than: Duration) -> Result<u64> {
        let age = i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX);
        let before = busline_core::SystemClock.now().as_millisecond().saturating_sub(age);
        let mut trimmed = 0;
        loop {
            let rows = connection.execute(TRIM, params![before, TRIMMED_AT_ONCE]).map_err(from_sqlite)?;
            trimmed += rows as u64;
            if rows < TRIMMED_AT_ONCE {
                return Ok(trimmed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = Connection::open(folder.path().join("shop.db")).expect("a file");
        Inbox::create(&connection).expect("a table");
        Inbox::create(&connection).expect("is there already");
        connection.execute("CREATE TABLE effects (id TEXT)", []).expect("a table");
        (folder, connection)
    }

    fn handle(connection: &mut Connection, group: &str, id: &str, commits: bool) -> bool {
        let transaction = connection.transaction().expect("begins");
        let is_first = Inbox::note_id(&transaction, group, id).expect("noted");
        if is_first {
            transaction.execute("INSERT INTO effects VALUES (?1)", [id]).expect("an effect");
        }
        if commits {
            transaction.commit().expect("commits");
        }
        is_first
    }

    fn effects(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM effects", [], |row| row.get(0)).expect("a count")
    }

    #[test]
    fn an_event_has_its_effects_once_for_each_group() {
        let (_folder, mut connection) = file();
        assert!(handle(&mut connection, "billing", "e-1", false), "rolled back, so it was not handled");
        assert!(handle(&mut connection, "billing", "e-1", true));
        assert!(!handle(&mut connection, "billing", "e-1", true), "it comes again after a crash");
        assert_eq!(effects(&connection), 1);
        assert!(handle(&mut connection, "audit", "e-1", true));
        assert!(handle(&mut connection, "billing", "e-2", true));
        assert_eq!(effects(&connection), 3);
    }

    #[test]
    fn old_notes_are_forgotten_and_young_ones_kept() {
        let (_folder, mut connection) = file();
        for id in 0..2_500 {
            handle(&mut connection, "billing", &id.to_string(), true);
        }
        // A day against an hour: to write them all may take minutes where the machine has much else to do.
        connection.execute("UPDATE busline_inbox SET noted_ms = noted_ms - 86400000 WHERE id < '9'", []).expect("aged");
        let old = connection.query_row("SELECT count(*) FROM busline_inbox WHERE id < '9'", [], |row| row.get(0));
        let old: u64 = old.expect("a count");
        assert!(old > 2_000);
        assert_eq!(Inbox::trim(&connection, Duration::from_secs(3_600)).expect("trims"), old);
        assert!(handle(&mut connection, "billing", "1", true), "a trimmed event is handled again");
        assert!(!handle(&mut connection, "billing", "999", true));
    }
}
