//! Filling a transaction: each record gets the next offset of its partition.

use std::collections::HashMap;

use busline_core::{Error, ErrorKind, Result, topic_not_found};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::from_sqlite;
use crate::group::Publish;
use crate::records::Appender;
use crate::schema::{OFFSET_END, position};

/// What became of a batch inside the transaction.
pub(crate) enum Filled {
    /// The position of each record.
    Appended(Vec<i64>),
    /// Nothing of it was appended.
    Refused(Error),
}

pub(crate) fn append(
    appender: &mut Appender<'_>,
    ends: &mut Ends,
    publish: &Publish,
    time: i64,
) -> rusqlite::Result<Vec<i64>> {
    let mut positions = Vec::with_capacity(publish.batch.len());
    for record in publish.batch.records() {
        let id = publish.topic.partition_ids[record.partition.0 as usize];
        let bytes = record.key.len() + record.header_block.len() + record.body.len();
        let place = position(id, ends.take(id, bytes as u64));
        appender.append(place, time, &record)?;
        positions.push(place);
    }
    Ok(positions)
}

/// Ends of the partitions that a transaction touches, each with the bytes that it appends there.
#[derive(Default)]
pub(crate) struct Ends(HashMap<i64, End>);

#[derive(Debug, Clone, Copy, Default)]
struct End {
    offset: u64,
    bytes: u64,
}

impl Ends {
    /// Reads the ends that this batch needs; gives why it cannot be stored, if so.
    pub(crate) fn open(&mut self, connection: &Connection, publish: &Publish) -> Result<Option<Error>> {
        let mut select = connection
            .prepare_cached("SELECT end_offset FROM partitions WHERE partition_id = ?1")
            .map_err(from_sqlite)?;
        for record in publish.batch.records() {
            let id = publish.topic.partition_ids[record.partition.0 as usize];
            let end = match self.0.get(&id) {
                Some(end) => Some(*end),
                None => select
                    .query_row([id], |row| Ok(End { offset: row.get(0)?, bytes: 0 }))
                    .optional()
                    .map_err(from_sqlite)?,
            };
            match end {
                Some(end) if end.offset + (publish.batch.len() as u64) < OFFSET_END => self.0.insert(id, end),
                Some(_) => return Ok(Some(partition_full(publish))),
                None => return Ok(Some(topic_not_found(&publish.topic.name))),
            };
        }
        Ok(None)
    }

    fn take(&mut self, id: i64, bytes: u64) -> u64 {
        let end = self.0.entry(id).or_default();
        end.offset += 1;
        end.bytes += bytes;
        end.offset - 1
    }

    pub(crate) fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut update = connection.prepare_cached(
            "UPDATE partitions SET end_offset = ?1, bytes = bytes + ?2 WHERE partition_id = ?3 AND end_offset <> ?1",
        )?;
        self.0.iter().try_for_each(|(id, end)| update.execute(params![end.offset, end.bytes, id]).map(drop))
    }
}

fn partition_full(publish: &Publish) -> Error {
    Error::new(ErrorKind::Unavailable, "PartitionFull")
        .cause(format!("a partition of {} holds no offset above {OFFSET_END}", publish.topic.name))
        .next("publish to a new topic")
}
