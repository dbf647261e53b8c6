//! Records as rows: appending them, and reading them back with their checksums.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use busline_core::{
    Error, ErrorKind, Gathered, Headers, Offset, Partition, ReadRequest, Record, RecordRef, Result, TopicName, checksum,
};

use crate::error::from_sqlite;
use crate::schema::{offset_of, position};
use crate::topics;

/// The statement that appends records, prepared for one transaction.
pub(crate) struct Appender<'c>(CachedStatement<'c>);

impl<'c> Appender<'c> {
    pub(crate) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        connection
            .prepare_cached(
                "INSERT INTO records (position, time, key, headers, body, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .map(Self)
    }

    pub(crate) fn append(&mut self, position: i64, time: i64, record: &RecordRef<'_>) -> rusqlite::Result<()> {
        let headers = (!record.header_block.is_empty()).then_some(record.header_block);
        self.0.execute(params![position, time, record.key, headers, record.body, record.checksum]).map(drop)
    }
}

/// Whether exactly this record stands at this position.
pub(crate) fn stands_at(connection: &Connection, position: i64, record: &RecordRef<'_>) -> rusqlite::Result<bool> {
    let mut select = connection.prepare_cached("SELECT key, headers, body FROM records WHERE position = ?1")?;
    let same = select
        .query_row([position], |row| {
            Ok(row.get_ref(0)?.as_blob()? == record.key
                && row.get_ref(1)?.as_blob_or_null()?.unwrap_or_default() == record.header_block
                && row.get_ref(2)?.as_blob()? == record.body)
        })
        .optional()?;
    Ok(same.unwrap_or(false))
}

/// Reads a bounded piece of a partition, within one snapshot of the file.
///
/// # Errors
/// `Corrupt/Checksum` if the first record of the piece is damaged, `Corrupt/Store` if it is missing; a later one ends the
/// piece before it.
pub(crate) fn read(connection: &Connection, topic: &TopicName, request: &ReadRequest) -> Result<Vec<Record>> {
    let (id, bounds) = topics::partition(connection, topic, request.partition)?;
    let within = |offset: Offset| offset.0.clamp(bounds.start.0, bounds.end.0);
    let (from, to) = (position(id, within(request.from)), position(id, within(request.to)));
    // Offsets are dense, so the bound can stand among the positions. A bound LIMIT would have SQLite plan the statement
    // anew at each call (since 3.48 it looks at the value), which costs more than reading 30 records.
    let to = to.min(from.saturating_add(i64::try_from(request.records_max).unwrap_or(i64::MAX)));
    let mut select = connection
        .prepare_cached(
            "SELECT position, time, key, headers, body, checksum FROM records
             WHERE position >= ?1 AND position < ?2 ORDER BY position",
        )
        .map_err(from_sqlite)?;
    let mut rows = select.query(params![from, to]).map_err(from_sqlite)?;
    let mut piece = Piece::new(request.partition);
    for place in from..to {
        if piece.taken >= request.bytes_max && !piece.gathered.is_empty() {
            break;
        }
        let pushed = match rows.next() {
            Ok(Some(row)) => piece.push(row, place),
            Ok(None) => Err(missing(place)),
            Err(error) => Err(from_sqlite(error)),
        };
        match pushed {
            Ok(()) => {}
            Err(_) if !piece.gathered.is_empty() => break,
            Err(error) => {
                return Err(error.at("read", format!("{topic}/{}/{}", request.partition, offset_of(place))));
            }
        }
    }
    Ok(piece.gathered.finish())
}

/// The rows that were read, as records whose checksums fit.
struct Piece {
    partition: Partition,
    gathered: Gathered,
    /// Bytes of keys, headers and bodies.
    taken: usize,
}

impl Piece {
    fn new(partition: Partition) -> Self {
        Self { partition, gathered: Gathered::default(), taken: 0 }
    }

    /// Adds the row of this place if it is the one and its checksum fits.
    fn push(&mut self, row: &Row<'_>, place: i64) -> Result<()> {
        if row.get::<_, i64>(0).map_err(from_sqlite)? != place {
            return Err(missing(place));
        }
        let offset = Offset(offset_of(place));
        let stored = Stored::of(row).map_err(|error| damaged(offset, "a column has another type").because(error))?;
        let Stored { time, key, headers, body, checksum: sum } = stored;
        if checksum(key, headers, body) != sum {
            return Err(damaged(offset, "its checksum does not fit"));
        }
        let time = Timestamp::from_nanosecond(i128::from(time)).unwrap_or(Timestamp::UNIX_EPOCH);
        self.taken += key.len() + headers.len() + body.len();
        let headers = Headers::decode(Bytes::copy_from_slice(headers))?;
        self.gathered.push((self.partition, offset), time, headers, key, body);
        Ok(())
    }
}

/// The columns of a row.
struct Stored<'a> {
    time: i64,
    key: &'a [u8],
    headers: &'a [u8],
    body: &'a [u8],
    checksum: u32,
}

impl<'a> Stored<'a> {
    fn of(row: &'a Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            time: row.get(1)?,
            key: row.get_ref(2)?.as_blob()?,
            headers: row.get_ref(3)?.as_blob_or_null()?.unwrap_or_default(),
            body: row.get_ref(4)?.as_blob()?,
            checksum: row.get(5)?,
        })
    }
}

/// Offsets are dense, so a hole is damage.
fn missing(place: i64) -> Error {
    topics::damaged(format!("the record at offset {} is missing", offset_of(place)))
}

fn damaged(offset: Offset, how: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "Checksum")
        .cause(format!("the record at offset {offset} is damaged: {how}"))
        .next("restore the file from a copy, or read on behind this offset")
}

/// The first offset stored at or after this time, or the end.
pub(crate) fn offset_at(
    connection: &Connection,
    topic: &TopicName,
    partition: Partition,
    time: Timestamp,
) -> Result<Offset> {
    let (id, bounds) = topics::partition(connection, topic, partition)?;
    let nanos =
        i64::try_from(time.as_nanosecond()).unwrap_or(if time < Timestamp::UNIX_EPOCH { i64::MIN } else { i64::MAX });
    let found: Option<i64> = connection
        .query_row(
            "SELECT position FROM records WHERE position >= ?1 AND position < ?2 AND time >= ?3 ORDER BY position LIMIT 1",
            params![position(id, bounds.start.0), position(id, bounds.end.0), nanos],
            |row| row.get(0),
        )
        .optional()
        .map_err(from_sqlite)?;
    Ok(found.map_or(bounds.end, |position| Offset(offset_of(position))))
}
