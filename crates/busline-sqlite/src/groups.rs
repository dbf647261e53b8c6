//! Groups as rows: who is a member, who holds which partition, and how far each group has come.
//!
//! A member counts its beats up in its own row. Others that see the count stand still take it for dead, end its row and
//! free what it held; no wall clock is compared. Whoever takes a partition raises its generation, and every commit names
//! the owner and the generation in the statement that moves the offset, so a member that was taken for dead changes no
//! row.

use busline_core::{
    Assignment, Bounds, Commit, GroupName, Lag, Member, Offset, Partition, Result, SourceRequest, Start, TopicName,
    assign, group_active, group_not_found, not_owner, offset_beyond_end,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::from_sqlite;
use crate::wake::is_heard;
use crate::{records, topics};

/// One row of a group's progress.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub(crate) partition: Partition,
    partition_id: i64,
    owner: Option<String>,
    pub(crate) generation: u64,
    committed: Option<u64>,
    deleted: u64,
}

/// Makes the member's row, or makes it anew after others took the member for dead.
pub(crate) fn join(connection: &Connection, request: &SourceRequest, wake: &str) -> Result<()> {
    let topic_id = topics::id(connection, &request.topic)?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO members (group_name, topic_id, member, beat, wake) VALUES (?1, ?2, ?3, 0, ?4)",
        )
        .and_then(|mut insert| insert.execute(params![request.group.as_str(), topic_id, request.member, wake]))
        .map_err(from_sqlite)?;
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO progress (group_name, partition_id)
             SELECT ?1, partition_id FROM partitions WHERE topic_id = ?2",
        )
        .and_then(|mut insert| insert.execute(params![request.group.as_str(), topic_id]))
        .map_err(from_sqlite)?;
    check_committed(connection, &request.group, topic_id, &request.topic.name)
}

/// Checks that the group has not finished records that no partition holds yet.
///
/// # Errors
/// `Corrupt/Store` with both offsets.
fn check_committed(connection: &Connection, group: &GroupName, topic_id: i64, topic: &TopicName) -> Result<()> {
    let beyond: Option<(u32, u64, u64)> = connection
        .prepare_cached(
            "SELECT number, committed, end_offset FROM partitions JOIN progress USING (partition_id)
             WHERE topic_id = ?2 AND group_name = ?1 AND committed > end_offset LIMIT 1",
        )
        .and_then(|mut select| {
            let key = params![group.as_str(), topic_id];
            select.query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
        })
        .map_err(from_sqlite)?;
    beyond.map_or(Ok(()), |(partition, committed, end)| {
        Err(topics::damaged(format!(
            "group {group} has finished {topic}/{partition} up to offset {committed}, and it ends at {end}"
        )))
    })
}

/// Counts the member's beat up; gives whether its row is still there.
pub(crate) fn beat(connection: &Connection, request: &SourceRequest) -> Result<bool> {
    let topic_id = topics::id(connection, &request.topic)?;
    let changed = connection
        .prepare_cached("UPDATE members SET beat = beat + 1 WHERE group_name = ?1 AND topic_id = ?2 AND member = ?3")
        .and_then(|mut update| update.execute(params![request.group.as_str(), topic_id, request.member]))
        .map_err(from_sqlite)?;
    Ok(changed == 1)
}

/// The members of a group and their beats, by name.
pub(crate) fn beats(connection: &Connection, group: &GroupName, topic_id: i64) -> Result<Vec<(String, u64)>> {
    let mut select = connection
        .prepare_cached("SELECT member, beat FROM members WHERE group_name = ?1 AND topic_id = ?2 ORDER BY member")
        .map_err(from_sqlite)?;
    let rows = select
        .query_map(params![group.as_str(), topic_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(from_sqlite)?;
    rows.collect::<rusqlite::Result<_>>().map_err(from_sqlite)
}

/// Ends a member and frees what it holds.
pub(crate) fn end_member(connection: &Connection, group: &GroupName, topic_id: i64, member: &str) -> Result<()> {
    for sql in [
        "DELETE FROM members WHERE group_name = ?1 AND topic_id = ?2 AND member = ?3",
        "UPDATE progress SET owner = NULL WHERE group_name = ?1 AND owner = ?3
         AND partition_id IN (SELECT partition_id FROM partitions WHERE topic_id = ?2)",
    ] {
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params![group.as_str(), topic_id, member]))
            .map_err(from_sqlite)?;
    }
    Ok(())
}

/// What a group has of the partitions that it has a row of, by number.
pub(crate) fn owned(connection: &Connection, group: &GroupName, topic_id: i64) -> Result<Vec<Owned>> {
    let mut select = connection
        .prepare_cached(
            "SELECT number, partition_id, owner, generation, committed, deleted FROM partitions
             JOIN progress USING (partition_id)
             WHERE topic_id = ?2 AND group_name = ?1 ORDER BY number",
        )
        .map_err(from_sqlite)?;
    let rows = select
        .query_map(params![group.as_str(), topic_id], |row| {
            Ok(Owned {
                partition: Partition(row.get(0)?),
                partition_id: row.get(1)?,
                owner: row.get(2)?,
                generation: row.get(3)?,
                committed: row.get(4)?,
                deleted: row.get(5)?,
            })
        })
        .map_err(from_sqlite)?;
    rows.collect::<rusqlite::Result<_>>().map_err(from_sqlite)
}

/// Changes of one member's share.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Taken in this look.
    pub(crate) taken: Vec<Assignment>,
    /// Held, and somebody else's by the rule.
    pub(crate) to_give: Vec<Partition>,
    /// Held at the end of this look, with their generations.
    pub(crate) held: Vec<(Partition, u64)>,
}

/// Takes what is free and is this member's by the rule, and says what is to be given up. `known` is what the member knows
/// that it holds: what a failed release has left in its name is free.
pub(crate) fn balance(
    connection: &Connection,
    request: &SourceRequest,
    members: &[&str],
    known: &[(Partition, u64)],
) -> Result<Share> {
    let topic_id = topics::id(connection, &request.topic)?;
    let mut rows = owned(connection, &request.group, topic_id)?;
    let is_left = |row: &Owned| {
        row.owner.as_deref() == Some(&request.member) && !known.contains(&(row.partition, row.generation))
    };
    let left: Vec<(Partition, u64)> =
        rows.iter().filter(|row| is_left(row)).map(|row| (row.partition, row.generation)).collect();
    release(connection, request, &left)?;
    for row in &mut rows {
        row.owner.take_if(|_| left.contains(&(row.partition, row.generation)));
    }
    let owners: Vec<Option<&str>> = rows.iter().map(|row| row.owner.as_deref()).collect();
    let mut share = Share::default();
    for (row, wanted) in rows.iter().zip(assign(members, &owners)) {
        let mine = row.owner.as_deref() == Some(&request.member);
        if mine {
            share.held.push((row.partition, row.generation));
            if wanted != Some(&request.member) {
                share.to_give.push(row.partition);
            }
        } else if row.owner.is_none() && wanted == Some(&request.member) {
            let assignment = take(connection, request, row)?;
            share.held.push((assignment.partition, assignment.generation));
            share.taken.push(assignment);
        }
    }
    Ok(share)
}

/// Takes a free partition under a new generation. Where the group has no committed offset, its start is resolved and
/// committed in the same transaction, before anything is handed over.
fn take(connection: &Connection, request: &SourceRequest, row: &Owned) -> Result<Assignment> {
    let committed = match row.committed {
        Some(committed) => committed,
        None => start(connection, request, row.partition)?.0,
    };
    let generation = row.generation + 1;
    connection
        .prepare_cached(
            "UPDATE progress SET owner = ?1, generation = ?2, committed = ?3 WHERE group_name = ?4 AND partition_id = ?5",
        )
        .and_then(|mut update| {
            update.execute(params![request.member, generation, committed, request.group.as_str(), row.partition_id])
        })
        .map_err(from_sqlite)?;
    Ok(Assignment { partition: row.partition, generation, committed: Offset(committed) })
}

fn start(connection: &Connection, request: &SourceRequest, partition: Partition) -> Result<Offset> {
    let (_, Bounds { start, end }) = topics::partition(connection, &request.topic.name, partition)?;
    Ok(match &request.start {
        Start::Earliest => start,
        Start::Latest => end,
        Start::Offsets(offsets) => {
            offsets.iter().find(|(named, _)| *named == partition).map_or(start, |(_, offset)| *offset)
        }
        Start::Time(time) => records::offset_at(connection, &request.topic.name, partition, *time)?,
    })
}

/// Moves committed offsets forward, each only for its owner and generation.
pub(crate) fn commit(connection: &Connection, request: &SourceRequest, commits: &[Commit]) -> Result<Vec<Result<()>>> {
    let topic_id = topics::id(connection, &request.topic)?;
    let mut update = connection
        .prepare_cached(
            "UPDATE progress SET committed = max(committed, ?1)
             WHERE group_name = ?2 AND owner = ?3 AND generation = ?4
             AND partition_id = (SELECT partition_id FROM partitions WHERE topic_id = ?5 AND number = ?6)",
        )
        .map_err(from_sqlite)?;
    let mut outcomes = Vec::with_capacity(commits.len());
    for commit in commits {
        let changed = update
            .execute(params![
                commit.offset.0,
                request.group.as_str(),
                request.member,
                commit.generation,
                topic_id,
                commit.partition.0
            ])
            .map_err(from_sqlite)?;
        outcomes.push(if changed == 1 { Ok(()) } else { Err(not_owner(commit.partition)) });
    }
    Ok(outcomes)
}

/// Gives partitions up that are held under these generations.
pub(crate) fn release(connection: &Connection, request: &SourceRequest, held: &[(Partition, u64)]) -> Result<()> {
    let topic_id = topics::id(connection, &request.topic)?;
    let mut update = connection
        .prepare_cached(
            "UPDATE progress SET owner = NULL WHERE group_name = ?1 AND owner = ?2 AND generation = ?3
             AND partition_id = (SELECT partition_id FROM partitions WHERE topic_id = ?4 AND number = ?5)",
        )
        .map_err(from_sqlite)?;
    for (partition, generation) in held {
        update
            .execute(params![request.group.as_str(), request.member, generation, topic_id, partition.0])
            .map_err(from_sqlite)?;
    }
    Ok(())
}

/// The committed offset of each partition, by number.
pub(crate) fn committed(connection: &Connection, group: &GroupName, topic: &TopicName) -> Result<Vec<Option<Offset>>> {
    let rows = by_number(connection, group, topic)?;
    Ok(rows.into_iter().map(|row| row.and_then(|row| row.committed).map(Offset)).collect())
}

/// What a group has of each partition, by number; `None` of those that it has no row of.
fn by_number(connection: &Connection, group: &GroupName, topic: &TopicName) -> Result<Vec<Option<Owned>>> {
    let info = topics::info(connection, topic)?;
    let mut rows = vec![None; info.spec.partitions as usize];
    // A group whose offsets were moved before it had a member has rows of those partitions alone.
    for row in owned(connection, group, topics::id(connection, &info)?)? {
        if let Some(place) = rows.get_mut(row.partition.0 as usize) {
            *place = Some(row);
        }
    }
    Ok(rows)
}

/// How far the group is behind in each partition, by number.
pub(crate) fn lag(connection: &Connection, group: &GroupName, topic: &TopicName) -> Result<Vec<Lag>> {
    let topic_id = topics::id(connection, &topics::info(connection, topic)?)?;
    check_committed(connection, group, topic_id, topic)?;
    let rows = by_number(connection, group, topic)?;
    let mut lags = Vec::with_capacity(rows.len());
    for (number, row) in rows.into_iter().enumerate() {
        let partition = Partition(number as u32);
        let (_, bounds) = topics::partition(connection, topic, partition)?;
        let committed = row.as_ref().and_then(|row| row.committed).map(Offset);
        lags.push(Lag::of_offsets(partition, committed, bounds, Some(row.map_or(0, |row| row.deleted))));
    }
    Ok(lags)
}

/// Moves committed offsets of a group without members.
pub(crate) fn move_committed(
    connection: &Connection,
    group: &GroupName,
    topic: &TopicName,
    to: &[(Partition, Offset)],
) -> Result<()> {
    check_idle(connection, group, topic)?;
    for (partition, offset) in to {
        let (id, bounds) = topics::partition(connection, topic, *partition)?;
        if *offset > bounds.end {
            return Err(offset_beyond_end(*partition, *offset, bounds.end).at("move group", group));
        }
        connection
            .execute(
                "INSERT INTO progress (group_name, partition_id, committed) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET committed = excluded.committed",
                params![group.as_str(), id, offset.0],
            )
            .map_err(from_sqlite)?;
    }
    Ok(())
}

/// Forgets a group without members.
pub(crate) fn delete(connection: &Connection, group: &GroupName, topic: &TopicName) -> Result<()> {
    check_idle(connection, group, topic)?;
    let deleted = connection
        .execute(
            "DELETE FROM progress WHERE group_name = ?1
             AND partition_id IN (SELECT partition_id FROM partitions JOIN topics USING (topic_id) WHERE name = ?2)",
            params![group.as_str(), topic.as_str()],
        )
        .map_err(from_sqlite)?;
    if deleted == 0 { Err(group_not_found(group, topic)) } else { Ok(()) }
}

/// Checks that no member of the group is at work on the topic. One whose bell is gone with its process is ended, which
/// fences it, should it live where its bell cannot be heard.
pub(crate) fn check_idle(connection: &Connection, group: &GroupName, topic: &TopicName) -> Result<()> {
    let topic_id = topics::id(connection, &topics::info(connection, topic)?)?;
    let mut alive = Vec::new();
    for (member, wake) in bells(connection, group, topic_id)? {
        if is_heard(&wake) {
            alive.push(member);
        } else {
            end_member(connection, group, topic_id, &member)?;
        }
    }
    if alive.is_empty() { Ok(()) } else { Err(group_active(group, &alive)) }
}

/// The members of a group with the addresses of their bells, by name.
fn bells(connection: &Connection, group: &GroupName, topic_id: i64) -> Result<Vec<(String, String)>> {
    let mut select = connection
        .prepare_cached("SELECT member, wake FROM members WHERE group_name = ?1 AND topic_id = ?2 ORDER BY member")
        .map_err(from_sqlite)?;
    let rows = select
        .query_map(params![group.as_str(), topic_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(from_sqlite)?;
    rows.collect::<rusqlite::Result<_>>().map_err(from_sqlite)
}

/// The members of a group with what they hold, by name; without those whose bell is gone with their process.
pub(crate) fn members(connection: &Connection, group: &GroupName, topic: &TopicName) -> Result<Vec<Member>> {
    let topic_id = topics::id(connection, &topics::info(connection, topic)?)?;
    let rows = owned(connection, group, topic_id)?;
    let held =
        |name: &String| rows.iter().filter(|row| row.owner.as_ref() == Some(name)).map(|row| row.partition).collect();
    let alive = bells(connection, group, topic_id)?.into_iter().filter(|(_, wake)| is_heard(wake));
    Ok(alive.map(|(name, _)| Member { partitions: held(&name), name }).collect())
}

/// Every group with the topics it has progress or members on, by name.
pub(crate) fn all(connection: &Connection) -> Result<Vec<(GroupName, TopicName)>> {
    let mut select = connection
        .prepare(
            "SELECT DISTINCT group_name, name FROM progress
             JOIN partitions USING (partition_id) JOIN topics USING (topic_id) ORDER BY group_name, name",
        )
        .map_err(from_sqlite)?;
    let rows =
        select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).map_err(from_sqlite)?;
    rows.map(|row| {
        let (group, topic) = row.map_err(from_sqlite)?;
        Ok((GroupName::stored(&group)?, TopicName::stored(&topic)?))
    })
    .collect()
}

/// The groups with members on this topic, dead ones included, by name.
pub(crate) fn with_members(connection: &Connection, topic: &TopicName) -> Result<Vec<GroupName>> {
    let mut select = connection
        .prepare(
            "SELECT DISTINCT group_name FROM members JOIN topics USING (topic_id) WHERE name = ?1 ORDER BY group_name",
        )
        .map_err(from_sqlite)?;
    let names = select.query_map([topic.as_str()], |row| row.get::<_, String>(0)).map_err(from_sqlite)?;
    names.map(|name| GroupName::stored(&name.map_err(from_sqlite)?)).collect()
}

/// Addresses of all members of all groups, to wake them.
pub(crate) fn wake_addresses(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut select = connection.prepare_cached("SELECT wake FROM members")?;
    let rows = select.query_map([], |row| row.get(0))?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use busline_core::TopicSpec;
    use std::time::Duration;

    #[test]
    fn what_a_failed_release_has_left_is_taken_anew() {
        let connection = Connection::open_in_memory().unwrap();
        crate::schema::create(&connection).unwrap();
        let spec = TopicSpec { partitions: 2, ..TopicSpec::default() };
        let topic = topics::create(&connection, &"orders".parse().unwrap(), &spec).unwrap();
        let (group, member, lease) = ("billing".parse().unwrap(), "me".to_owned(), Duration::from_secs(5));
        let request = SourceRequest { group, topic, member, start: Start::Earliest, lease };
        join(&connection, &request, "nowhere").unwrap();
        let taken = balance(&connection, &request, &["me"], &[]).unwrap().taken;
        let shares: Vec<(Partition, u64)> = taken.iter().map(|taken| (taken.partition, taken.generation)).collect();
        assert_eq!(shares, [(Partition(0), 1), (Partition(1), 1)]);

        // The member knows of the first one only.
        let share = balance(&connection, &request, &["me"], &shares[..1]).unwrap();
        let taken: Vec<_> = share.taken.iter().map(|taken| (taken.partition, taken.generation)).collect();
        assert_eq!((taken, share.held), (vec![(Partition(1), 2)], vec![(Partition(0), 1), (Partition(1), 2)]));

        // With another member in the group it is that one's.
        let share = balance(&connection, &request, &["me", "you"], &[(Partition(0), 1)]).unwrap();
        assert_eq!((share.taken.len(), share.held, share.to_give.len()), (0, vec![(Partition(0), 1)], 0));
        let topic_id = topics::id(&connection, &request.topic).unwrap();
        assert_eq!(owned(&connection, &request.group, topic_id).unwrap()[1].owner, None);
    }
}
