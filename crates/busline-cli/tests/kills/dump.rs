//! What stands in the file, read by plain SQLite and without the bus.

use std::path::Path;

use busline_history::{ContentHash, Dump, Row};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Outcome;

/// The parts of a stored CloudEvent that judges ask for.
#[derive(Deserialize)]
struct Event<'a> {
    id: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The payload that the test's own publishers write.
#[derive(Deserialize)]
struct Payload {
    publisher: String,
    kseq: u64,
}

/// Reads every record; a file without the topic yet is an empty dump.
pub(crate) fn read(file: &Path) -> Outcome<Dump> {
    let mut rows = Vec::new();
    if file.exists() {
        let connection = Connection::open(file)?;
        let damage: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        assert_eq!(damage, "ok");
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'records'", [], |row| row.get(0))?;
        if tables == 1 {
            read_rows(&connection, &mut rows)?;
        }
    }
    Ok(Dump::of(["kills"], rows))
}

fn read_rows(connection: &Connection, rows: &mut Vec<Row>) -> Outcome {
    let mut select = connection.prepare(
        "SELECT partitions.number, records.position & 1099511627775, records.key, records.body, records.time
         FROM topics JOIN partitions USING (topic_id)
         JOIN records ON records.position >> 40 = partitions.partition_id
         WHERE topics.name = 'kills'
         ORDER BY records.position",
    )?;
    let mut found = select.query([])?;
    while let Some(row) = found.next()? {
        let body: Vec<u8> = row.get(3)?;
        let event: Event<'_> = serde_json::from_slice(&body)?;
        let payload: Payload = serde_json::from_str(event.data.get())?;
        rows.push(Row {
            topic: "kills".into(),
            partition: row.get(0)?,
            offset: row.get(1)?,
            id: Some(event.id),
            key: String::from_utf8(row.get(2)?)?,
            publisher: payload.publisher,
            kseq: payload.kseq,
            hash: ContentHash::of(event.data.get().as_bytes(), []),
            time_ns: None,
        });
    }
    Ok(())
}
