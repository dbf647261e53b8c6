//! Deleting the oldest records, one chunk a transaction: by the limits of their topics, by a trim, and of topics that
//! are gone.

use busline_core::{GroupName, Kept, Offset, Partition, Result, Retention, TopicName};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::from_sqlite;
use crate::schema::{offset_of, position};
use crate::topics;

/// Most records deleted in one transaction, and bytes after which it takes no further one: a publish that waits for the
/// transaction waits for a few milliseconds.
pub(crate) const CHUNK_RECORDS: u64 = 500;
const CHUNK_BYTES: u64 = 1 << 20;

/// What one chunk did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// The partition's start afterwards.
    pub(crate) start: Offset,
    /// Whether a further chunk may find something to delete.
    pub(crate) more: bool,
    /// What each group had not finished of it.
    pub(crate) lost: Vec<Lost>,
}

/// Records deleted before a group had finished them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) topic: TopicName,
    pub(crate) group: GroupName,
    pub(crate) records: u64,
}

/// Deletes a chunk of the records below this offset.
///
/// # Errors
/// `NotFound/Topic`, `NotFound/Partition`.
pub(crate) fn trim_chunk(
    connection: &Connection,
    topic: &TopicName,
    number: Partition,
    below: Offset,
) -> Result<Chunk> {
    let (id, bounds) = topics::partition(connection, topic, number)?;
    let below = below.0.clamp(bounds.start.0, bounds.end.0);
    let head = Head::measure(connection, id, bounds.start.0, below, |_| true)?;
    head.delete(connection, id, topic)
}

/// Deletes a chunk of what the topic's limits let go of this partition.
pub(crate) fn enforce_chunk(connection: &Connection, id: i64, now: Timestamp) -> Result<Chunk> {
    let Some(found) = Limited::find(connection, id)? else {
        return Ok(Chunk { start: Offset(0), more: false, lost: Vec::new() });
    };
    let Limited { topic, limits, start, end, bytes } = found;
    let goes = |head: &Seen| {
        let kept =
            Kept { records: end - head.offset, bytes: bytes.saturating_sub(head.bytes_before), oldest: head.time };
        limits.lets_go(&kept, now)
    };
    Head::measure(connection, id, start, end, goes)?.delete(connection, id, &topic)
}

/// A partition with the limits of its topic.
struct Limited {
    topic: TopicName,
    limits: Retention,
    start: u64,
    end: u64,
    bytes: u64,
}

impl Limited {
    fn find(connection: &Connection, id: i64) -> Result<Option<Self>> {
        let row = connection
            .prepare_cached(
                "SELECT name, spec, start_offset, end_offset, bytes FROM partitions JOIN topics USING (topic_id)
                 WHERE partition_id = ?1",
            )
            .and_then(|mut select| {
                let read = |row: &Row<'_>| {
                    let ends = (row.get(2)?, row.get(3)?, row.get(4)?);
                    Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, ends))
                };
                select.query_row([id], read).optional()
            })
            .map_err(from_sqlite)?;
        let Some((name, spec, (start, end, bytes))) = row else { return Ok(None) };
        topics::bounds(&name, start, end)?;
        let limits = topics::read_spec(&name, &spec)?.retention;
        Ok(Some(Self { topic: TopicName::stored(&name)?, limits, start, end, bytes }))
    }
}

/// The partitions of the first limited topic behind this one that have something to let go, and that topic; `None` if
/// there is no further one.
pub(crate) fn look(connection: &Connection, after: i64, now: Timestamp) -> Result<Option<(i64, Vec<i64>)>> {
    let topic: Option<i64> = connection
        .prepare_cached("SELECT topic_id FROM topics WHERE is_limited AND topic_id > ?1 ORDER BY topic_id LIMIT 1")
        .and_then(|mut select| select.query_row([after], |row| row.get(0)).optional())
        .map_err(from_sqlite)?;
    let Some(topic) = topic else { return Ok(None) };
    let mut select = connection
        .prepare_cached("SELECT partition_id FROM partitions WHERE topic_id = ?1 AND start_offset < end_offset")
        .map_err(from_sqlite)?;
    let ids = select.query_map([topic], |row| row.get(0)).map_err(from_sqlite)?;
    let mut due = Vec::new();
    for id in ids {
        let id = id.map_err(from_sqlite)?;
        if is_due(connection, id, now)? {
            due.push(id);
        }
    }
    Ok(Some((topic, due)))
}

fn is_due(connection: &Connection, id: i64, now: Timestamp) -> Result<bool> {
    let Some(Limited { limits, start, end, bytes, .. }) = Limited::find(connection, id)? else { return Ok(false) };
    let time: Option<i64> = connection
        .prepare_cached("SELECT time FROM records WHERE position = ?1")
        .and_then(|mut select| select.query_row([position(id, start)], |row| row.get(0)).optional())
        .map_err(from_sqlite)?;
    // A head that is missing is damage, which whoever reads it reports.
    let Some(time) = time else { return Ok(false) };
    Ok(limits.lets_go(&Kept { records: end - start, bytes, oldest: instant(time) }, now))
}

fn instant(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A record at the old end, and what goes before it.
struct Seen {
    offset: u64,
    time: Timestamp,
    bytes_before: u64,
}

/// The old end of a partition that is to be deleted: from `start` up to, not including, `to`.
struct Head {
    start: u64,
    to: u64,
    bytes: u64,
    /// It ends where it does because one transaction deletes no more.
    is_cut: bool,
}

impl Head {
    /// Looks at the records from `start` up to `below` while they are to go, and no further than one chunk.
    fn measure(connection: &Connection, id: i64, start: u64, below: u64, goes: impl Fn(&Seen) -> bool) -> Result<Self> {
        let mut select = connection
            .prepare_cached(
                "SELECT position, time, length(key) + coalesce(length(headers), 0) + length(body) FROM records
                 WHERE position >= ?1 AND position < ?2 ORDER BY position",
            )
            .map_err(from_sqlite)?;
        let chunk_end = below.min(start.saturating_add(CHUNK_RECORDS));
        let mut rows = select.query(params![position(id, start), position(id, chunk_end)]).map_err(from_sqlite)?;
        let mut bytes = 0;
        while let Some(row) = rows.next().map_err(from_sqlite)? {
            let (place, time, length) = read_sizes(row).map_err(from_sqlite)?;
            let seen = Seen { offset: offset_of(place), time: instant(time), bytes_before: bytes };
            let goes = goes(&seen);
            if !goes || bytes >= CHUNK_BYTES {
                return Ok(Self { start, to: seen.offset, bytes, is_cut: goes });
            }
            bytes += length;
        }
        Ok(Self { start, to: chunk_end, bytes, is_cut: chunk_end < below })
    }

    fn delete_rows(&self, connection: &Connection, id: i64) -> Result<()> {
        connection
            .prepare_cached("DELETE FROM records WHERE position >= ?1 AND position < ?2")
            .and_then(|mut delete| delete.execute([position(id, self.start), position(id, self.to)]))
            .map(drop)
            .map_err(from_sqlite)
    }

    /// Deletes it, moves the partition's start, and counts for each group what it had not finished.
    fn delete(&self, connection: &Connection, id: i64, topic: &TopicName) -> Result<Chunk> {
        let mut lost = Vec::new();
        if self.start < self.to {
            self.delete_rows(connection, id)?;
            connection
                .prepare_cached(
                    "UPDATE partitions SET start_offset = ?1, bytes = max(bytes - ?2, 0) WHERE partition_id = ?3",
                )
                .and_then(|mut update| update.execute(params![self.to, self.bytes, id]))
                .map_err(from_sqlite)?;
            lost = self.count_lost(connection, id, topic)?;
        }
        Ok(Chunk { start: Offset(self.to), more: self.is_cut, lost })
    }

    fn count_lost(&self, connection: &Connection, id: i64, topic: &TopicName) -> Result<Vec<Lost>> {
        let mut update = connection
            .prepare_cached(
                "UPDATE progress SET deleted = deleted + ?3 - max(committed, ?2)
                 WHERE partition_id = ?1 AND committed < ?3 RETURNING group_name, ?3 - max(committed, ?2)",
            )
            .map_err(from_sqlite)?;
        let rows = update
            .query_map(params![id, self.start, self.to], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))
            .map_err(from_sqlite)?;
        rows.map(|row| {
            let (group, records) = row.map_err(from_sqlite)?;
            Ok(Lost { topic: topic.clone(), group: GroupName::stored(&group)?, records })
        })
        .collect()
    }
}

fn read_sizes(row: &Row<'_>) -> rusqlite::Result<(i64, i64, u64)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

/// Deletes a chunk of the records of deleted topics; gives whether more are left.
pub(crate) fn sweep_chunk(connection: &Connection) -> Result<bool> {
    let id: Option<i64> =
        connection.query_row("SELECT min(partition_id) FROM dropped", [], |row| row.get(0)).map_err(from_sqlite)?;
    let Some(id) = id else { return Ok(false) };
    let first: Option<i64> = connection
        .query_row(
            "SELECT min(position) FROM records WHERE position >= ?1 AND position < ?2",
            [position(id, 0), position(id + 1, 0)],
            |row| row.get(0),
        )
        .map_err(from_sqlite)?;
    match first {
        None => {
            connection.execute("DELETE FROM dropped WHERE partition_id = ?1", [id]).map(drop).map_err(from_sqlite)?
        }
        Some(first) => {
            let start = offset_of(first);
            Head::measure(connection, id, start, start + CHUNK_RECORDS, |_| true)?.delete_rows(connection, id)?;
        }
    }
    Ok(true)
}

/// Whether deleted topics have left something.
pub(crate) fn has_dropped(connection: &Connection) -> Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM dropped)", [], |row| row.get(0)).map_err(from_sqlite)
}

/// Most pages by which one transaction shortens the file. Unit: pages of 8 KiB.
const VACUUM_PAGES: u32 = 64;

/// Share of the file that may be free pages, which further records fill again, before it is made shorter: one part in so
/// many. A topic at its limits deletes as much as it stores, and would otherwise have its pages moved for ever.
const FREE_SHARE_MAX: u32 = 8;

/// Shortens the file by at most [`VACUUM_PAGES`]; gives whether free pages are left.
pub(crate) fn vacuum_step(connection: &Connection) -> Result<bool> {
    // The statement gives a row for each page, so it must be read to its end.
    let mut vacuum =
        connection.prepare_cached(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})")).map_err(from_sqlite)?;
    let mut pages = vacuum.query([]).map_err(from_sqlite)?;
    while pages.next().map_err(from_sqlite)?.is_some() {}
    Ok(pages_of(connection, "freelist_count")? > 0)
}

/// Whether so much of the file is free that it is worth making shorter.
pub(crate) fn has_many_free_pages(connection: &Connection) -> Result<bool> {
    let (free, all) = (pages_of(connection, "freelist_count")?, pages_of(connection, "page_count")?);
    Ok(free > VACUUM_PAGES / 2 && free > all / FREE_SHARE_MAX)
}

fn pages_of(connection: &Connection, pragma: &str) -> Result<u32> {
    connection.pragma_query_value(None, pragma, |row| row.get(0)).map_err(from_sqlite)
}

#[cfg(test)]
mod tests {
    use super::*;
    use busline_core::TopicSpec;

    /// A file in memory with one topic of one partition that holds so many records of so many bytes.
    fn filled(records: u64, bytes: usize) -> (Connection, TopicName) {
        let connection = Connection::open_in_memory().unwrap();
        crate::schema::create(&connection).unwrap();
        let name: TopicName = "orders".parse().unwrap();
        topics::create(&connection, &name, &TopicSpec { partitions: 1, ..TopicSpec::default() }).unwrap();
        for offset in 0..records {
            let row = params![position(1, offset), vec![0_u8; bytes]];
            connection.execute("INSERT INTO records VALUES (?1, 0, x'', NULL, ?2, 0)", row).unwrap();
        }
        let ends = params![records, records * bytes as u64];
        connection.execute("UPDATE partitions SET end_offset = ?1, bytes = ?2", ends).unwrap();
        (connection, name)
    }

    /// Trims all; gives the starts after each chunk.
    fn chunks(records: u64, bytes: usize) -> Vec<u64> {
        let (connection, name) = filled(records, bytes);
        let mut starts = Vec::new();
        loop {
            let chunk = trim_chunk(&connection, &name, Partition(0), Offset(records)).unwrap();
            starts.push(chunk.start.0);
            if !chunk.more {
                let (start, bytes): (u64, u64) = connection
                    .query_row("SELECT start_offset, bytes FROM partitions", [], |row| Ok((row.get(0)?, row.get(1)?)))
                    .unwrap();
                assert_eq!((start, bytes), (records, 0));
                return starts;
            }
        }
    }

    #[test]
    fn a_chunk_is_bounded_by_records_and_bytes() {
        assert_eq!(chunks(3, 10), [3]);
        assert_eq!(chunks(1_201, 10), [500, 1_000, 1_201]);
        assert_eq!(chunks(5, 600_000), [2, 4, 5]);
        assert_eq!(chunks(3, 2_000_000), [1, 2, 3]);
        assert_eq!(chunks(0, 0), [0]);
    }
}
