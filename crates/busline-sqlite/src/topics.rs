//! Topics and partitions as rows.

use busline_core::{
    Bounds, Error, ErrorKind, Offset, Partition, Result, TopicInfo, TopicName, TopicSpec, colliding_name,
    partition_not_found, topic_exists, topic_not_found,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::error::from_sqlite;
use crate::groups;
use crate::schema::{OFFSET_END, PARTITION_ID_MAX};

/// The ids of a topic's partitions, by number.
pub(crate) type PartitionIds = Vec<i64>;

pub(crate) fn create(connection: &Connection, name: &TopicName, spec: &TopicSpec) -> Result<TopicInfo> {
    spec.validate()?;
    spec.check_single_copy("sqlite").map_err(|error| error.at("create topic", name))?;
    refuse_taken(connection, name)?;
    let incarnation = Uuid::from_bytes(rand::random());
    connection
        .execute(
            "INSERT INTO topics (name, collision_form, incarnation, spec, is_limited) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                name.as_str(),
                name.collision_form(),
                incarnation.as_bytes(),
                to_json(spec)?,
                spec.retention.is_limited()
            ],
        )
        .map_err(from_sqlite)?;
    let topic_id = connection.last_insert_rowid();
    let mut insert =
        connection.prepare_cached("INSERT INTO partitions (topic_id, number) VALUES (?1, ?2)").map_err(from_sqlite)?;
    for number in 0..spec.partitions {
        let id = insert.insert(params![topic_id, number]).map_err(from_sqlite)?;
        if id > PARTITION_ID_MAX {
            return Err(Error::new(ErrorKind::Unavailable, "PartitionIds")
                .cause(format!("a file numbers {PARTITION_ID_MAX} partitions in all its life"))
                .next("make further topics in a new file"));
        }
    }
    Ok(TopicInfo { name: name.clone(), spec: spec.clone(), incarnation })
}

fn refuse_taken(connection: &Connection, name: &TopicName) -> Result<()> {
    let taken: Option<String> = connection
        .query_row(
            // By name too: files of before hold the bus's own topics under another form.
            "SELECT name FROM topics WHERE collision_form = ?1 OR name = ?2",
            [name.collision_form().as_str(), name.as_str()],
            |row| row.get(0),
        )
        .optional()
        .map_err(from_sqlite)?;
    match taken {
        None => Ok(()),
        Some(existing) if existing == name.as_str() => Err(topic_exists(name)),
        Some(existing) => Err(colliding_name(name, &TopicName::stored(&existing)?)),
    }
}

pub(crate) fn update(connection: &Connection, name: &TopicName, spec: &TopicSpec) -> Result<TopicInfo> {
    spec.validate()?;
    let found = info(connection, name)?;
    spec.check_single_copy("sqlite").map_err(|error| error.at("update topic", name))?;
    found.spec.check_update(spec).map_err(|error| error.at("update topic", name))?;
    connection
        .execute(
            "UPDATE topics SET spec = ?1, is_limited = ?2 WHERE name = ?3",
            params![to_json(spec)?, spec.retention.is_limited(), name.as_str()],
        )
        .map_err(from_sqlite)?;
    Ok(TopicInfo { spec: spec.clone(), ..found })
}

pub(crate) fn info(connection: &Connection, name: &TopicName) -> Result<TopicInfo> {
    connection
        .query_row("SELECT name, spec, incarnation FROM topics WHERE name = ?1", [name.as_str()], read_row)
        .optional()
        .map_err(from_sqlite)?
        .ok_or_else(|| topic_not_found(name))?
        .into_info()
}

pub(crate) fn infos(connection: &Connection) -> Result<Vec<TopicInfo>> {
    let mut select =
        connection.prepare("SELECT name, spec, incarnation FROM topics ORDER BY name").map_err(from_sqlite)?;
    let rows = select.query_map([], read_row).map_err(from_sqlite)?;
    rows.map(|row| row.map_err(from_sqlite)?.into_info()).collect()
}

struct TopicRow {
    name: String,
    spec: String,
    incarnation: [u8; 16],
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<TopicRow> {
    Ok(TopicRow { name: row.get(0)?, spec: row.get(1)?, incarnation: row.get(2)? })
}

impl TopicRow {
    fn into_info(self) -> Result<TopicInfo> {
        let spec = read_spec(&self.name, &self.spec)?;
        Ok(TopicInfo { name: TopicName::stored(&self.name)?, spec, incarnation: Uuid::from_bytes(self.incarnation) })
    }
}

/// The spec of a topic as it is stored.
///
/// # Errors
/// `Corrupt/Store`.
pub(crate) fn read_spec(name: &str, spec: &str) -> Result<TopicSpec> {
    serde_json::from_str(spec)
        .map_err(|error| damaged(format!("the spec of topic {name} cannot be read")).because(error))
}

/// The file contradicts itself.
pub(crate) fn damaged(how: String) -> Error {
    Error::new(ErrorKind::Corrupt, "Store").cause(how).next("restore the file from a copy made with VACUUM INTO")
}

fn to_json(spec: &TopicSpec) -> Result<String> {
    serde_json::to_string(spec).map_err(|error| Error::new(ErrorKind::Internal, "Json").because(error))
}

/// Deletes the topic; its records are only marked, because deleting many in one transaction would hold up publishers.
pub(crate) fn delete(connection: &Connection, name: &TopicName) -> Result<()> {
    info(connection, name)?;
    for group in groups::with_members(connection, name)? {
        groups::check_idle(connection, &group, name)?;
    }
    for sql in [
        "DELETE FROM progress WHERE partition_id IN
         (SELECT partition_id FROM partitions JOIN topics USING (topic_id) WHERE name = ?1)",
        "INSERT INTO dropped SELECT partition_id FROM partitions JOIN topics USING (topic_id) WHERE name = ?1",
        "DELETE FROM partitions WHERE topic_id = (SELECT topic_id FROM topics WHERE name = ?1)",
        "DELETE FROM topics WHERE name = ?1",
    ] {
        connection.execute(sql, [name.as_str()]).map_err(from_sqlite)?;
    }
    Ok(())
}

/// The id of the topic of this incarnation.
///
/// # Errors
/// `NotFound/Topic` if it was deleted, also if another was made under its name.
pub(crate) fn id(connection: &Connection, topic: &TopicInfo) -> Result<i64> {
    connection
        .prepare_cached("SELECT topic_id FROM topics WHERE name = ?1 AND incarnation = ?2")
        .and_then(|mut select| {
            let key = params![topic.name.as_str(), topic.incarnation.as_bytes()];
            select.query_row(key, |row| row.get(0)).optional()
        })
        .map_err(from_sqlite)?
        .ok_or_else(|| topic_not_found(&topic.name))
}

/// The ids of the partitions of the topic of this incarnation.
///
/// # Errors
/// `NotFound/Topic` if it was deleted, also if another was made under its name.
pub(crate) fn partition_ids(connection: &Connection, topic: &TopicInfo) -> Result<PartitionIds> {
    let mut select = connection
        .prepare_cached(
            "SELECT partition_id FROM partitions JOIN topics USING (topic_id)
             WHERE name = ?1 AND incarnation = ?2 ORDER BY number",
        )
        .map_err(from_sqlite)?;
    let rows = select
        .query_map(params![topic.name.as_str(), topic.incarnation.as_bytes()], |row| row.get(0))
        .map_err(from_sqlite)?;
    let ids = rows.collect::<rusqlite::Result<PartitionIds>>().map_err(from_sqlite)?;
    match ids.len() {
        0 => Err(topic_not_found(&topic.name)),
        found if found == topic.spec.partitions as usize => Ok(ids),
        found => {
            Err(damaged(format!("{found} partitions of {} where its spec says {}", topic.name, topic.spec.partitions)))
        }
    }
}

/// The bounds of a partition as they are stored: what counts from them relies on their order.
///
/// # Errors
/// `Corrupt/Store`.
pub(crate) fn bounds(topic: &str, start: u64, end: u64) -> Result<Bounds> {
    if start <= end && end <= OFFSET_END {
        return Ok(Bounds { start: Offset(start), end: Offset(end) });
    }
    Err(damaged(format!("a partition of {topic} begins at offset {start} and ends at {end}")))
}

/// The id and the bounds of one partition.
///
/// # Errors
/// `NotFound/Topic`, `NotFound/Partition`; `Corrupt/Store`.
pub(crate) fn partition(connection: &Connection, topic: &TopicName, number: Partition) -> Result<(i64, Bounds)> {
    let found = connection
        .prepare_cached(
            "SELECT partition_id, start_offset, end_offset FROM partitions JOIN topics USING (topic_id)
             WHERE name = ?1 AND number = ?2",
        )
        .and_then(|mut select| {
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, u64>(1)?, row.get::<_, u64>(2)?));
            select.query_row(params![topic.as_str(), number.0], read).optional()
        })
        .map_err(from_sqlite)?;
    match found {
        Some((id, start, end)) => Ok((id, bounds(topic.as_str(), start, end)?)),
        None => {
            info(connection, topic)?;
            Err(partition_not_found(topic, number))
        }
    }
}
