//! Records as rows: appending them, and reading them back with their checksums.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use busline_core::{
    Error, ErrorKind, Headers, Offset, Partition, ReadRequest, Record, RecordRef, Result, TopicName, checksum,
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

/// Reads a bounded piece of a partition.
///
/// # Errors
/// `Corrupt/Checksum` if the first record of the piece is damaged, `Corrupt/Store` if it is missing; a later one ends the
/// piece before it.
pub(crate) fn read(connection: &Connection, topic: &TopicName, request: &ReadRequest) -> Result<Vec<Record>> {
    let (id, bounds) = topics::partition(connection, topic, request.partition)?;
    let within = |offset: Offset| offset.0.clamp(bounds.start.0, bounds.end.0);
    let (from, to) = (position(id, within(request.from)), position(id, within(request.to)));
    let mut select = connection
        .prepare_cached(
            "SELECT position, time, key, headers, body, checksum FROM records
             WHERE position >= ?1 AND position < ?2 ORDER BY position LIMIT ?3",
        )
        .map_err(from_sqlite)?;
    let limit = i64::try_from(request.records_max).unwrap_or(i64::MAX);
    let mut rows = select.query(params![from, to, limit]).map_err(from_sqlite)?;
    let (mut records, mut room) = (Vec::new(), request.bytes_max);
    for place in (from..to).take(request.records_max) {
        if room == 0 && !records.is_empty() {
            break;
        }
        let next = match rows.next() {
            Ok(Some(row)) => from_row(row, request.partition, place),
            Ok(None) => Err(missing(place)),
            Err(error) => Err(from_sqlite(error)),
        };
        match next {
            Ok(record) => {
                room = room.saturating_sub(record.key.len() + record.body.len());
                records.push(record);
            }
            Err(_) if !records.is_empty() => break,
            Err(error) => return Err(error.at("read", format!("{topic}/{}", request.partition))),
        }
    }
    Ok(records)
}

/// The record at this place, where the row must stand.
fn from_row(row: &Row<'_>, partition: Partition, place: i64) -> Result<Record> {
    if row.get::<_, i64>(0).map_err(from_sqlite)? != place {
        return Err(missing(place));
    }
    let offset = Offset(offset_of(place));
    let stored: RowParts =
        row_parts(row).map_err(|error| damaged(offset, "a column has another type").because(error))?;
    let headers = stored.headers.unwrap_or_default();
    if checksum(&stored.key, &headers, &stored.body) != stored.checksum {
        return Err(damaged(offset, "its checksum does not fit"));
    }
    Ok(Record {
        partition,
        offset,
        time: Timestamp::from_nanosecond(i128::from(stored.time)).unwrap_or(Timestamp::UNIX_EPOCH),
        key: stored.key.into(),
        headers: Headers::decode(Bytes::from(headers))?,
        body: stored.body.into(),
    })
}

struct RowParts {
    time: i64,
    key: Vec<u8>,
    headers: Option<Vec<u8>>,
    body: Vec<u8>,
    checksum: u32,
}

fn row_parts(row: &Row<'_>) -> rusqlite::Result<RowParts> {
    Ok(RowParts { time: row.get(1)?, key: row.get(2)?, headers: row.get(3)?, body: row.get(4)?, checksum: row.get(5)? })
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
