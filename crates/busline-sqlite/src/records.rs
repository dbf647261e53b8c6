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
        if piece.taken >= request.bytes_max && !piece.is_empty() {
            break;
        }
        let pushed = match rows.next() {
            Ok(Some(row)) => piece.push(row, place),
            Ok(None) => Err(missing(place)),
            Err(error) => Err(from_sqlite(error)),
        };
        match pushed {
            Ok(()) => {}
            Err(_) if !piece.is_empty() => break,
            Err(error) => {
                return Err(error.at("read", format!("{topic}/{}/{}", request.partition, offset_of(place))));
            }
        }
    }
    piece.into_records()
}

/// Records that share buffers: reading one costs no allocation of its own.
struct Piece {
    partition: Partition,
    records: Vec<Record>,
    taken: usize,
    bytes: Vec<u8>,
    parts: Vec<Part>,
}

/// Size from which on a buffer takes no further record. A record that is kept for long keeps its whole buffer, so it must
/// not be large.
const BUFFER_BYTES: usize = 32 * 1024;

/// Where one record lies in the buffer: key, header block and body, one behind the other.
struct Part {
    offset: Offset,
    time: i64,
    key_end: usize,
    header_end: usize,
    body_end: usize,
}

impl Piece {
    fn new(partition: Partition) -> Self {
        Self { partition, records: Vec::new(), taken: 0, bytes: Vec::new(), parts: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.parts.is_empty()
    }

    /// Adds the row of this place if it is the one and its checksum fits.
    fn push(&mut self, row: &Row<'_>, place: i64) -> Result<()> {
        if row.get::<_, i64>(0).map_err(from_sqlite)? != place {
            return Err(missing(place));
        }
        let offset = Offset(offset_of(place));
        self.open_buffer();
        let start = self.bytes.len();
        let (part, stored) =
            self.copy(row, offset).map_err(|error| damaged(offset, "a column has another type").because(error))?;
        let (key, rest) = self.bytes[start..].split_at(part.key_end - start);
        let (headers, body) = rest.split_at(part.header_end - part.key_end);
        if checksum(key, headers, body) != stored {
            self.bytes.truncate(start);
            return Err(damaged(offset, "its checksum does not fit"));
        }
        self.taken += self.bytes.len() - start;
        self.parts.push(part);
        if self.bytes.len() >= BUFFER_BYTES {
            self.seal()?;
        }
        Ok(())
    }

    /// A buffer large enough for all it will take but its last record; a small piece gives the rest back when it is sealed.
    fn open_buffer(&mut self) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(BUFFER_BYTES + BUFFER_BYTES / 8);
        }
    }

    fn copy(&mut self, row: &Row<'_>, offset: Offset) -> rusqlite::Result<(Part, u32)> {
        let mut append = |blob: &[u8]| {
            self.bytes.extend_from_slice(blob);
            self.bytes.len()
        };
        let key_end = append(row.get_ref(2)?.as_blob()?);
        let header_end = append(row.get_ref(3)?.as_blob_or_null()?.unwrap_or_default());
        let body_end = append(row.get_ref(4)?.as_blob()?);
        Ok((Part { offset, time: row.get(1)?, key_end, header_end, body_end }, row.get(5)?))
    }

    /// Turns the buffer into records that share it.
    fn seal(&mut self) -> Result<()> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.shrink_to_fit();
        let bytes = Bytes::from(bytes);
        let mut start = 0;
        self.records.reserve(self.parts.len());
        for part in self.parts.drain(..) {
            self.records.push(Record {
                partition: self.partition,
                offset: part.offset,
                time: Timestamp::from_nanosecond(i128::from(part.time)).unwrap_or(Timestamp::UNIX_EPOCH),
                key: bytes.slice(start..part.key_end),
                headers: Headers::decode(bytes.slice(part.key_end..part.header_end))?,
                body: bytes.slice(part.header_end..part.body_end),
            });
            start = part.body_end;
        }
        Ok(())
    }

    fn into_records(mut self) -> Result<Vec<Record>> {
        self.seal()?;
        Ok(self.records)
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
