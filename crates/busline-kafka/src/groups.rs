//! Groups as seen from outside: their offsets, members and end.

use busline_core::{
    ErrorKind, GroupName, Lag, Member, Offset, Partition, Result, TopicName, group_active, group_not_found,
    offset_beyond_end, partition_not_found,
};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use uuid::Uuid;

use crate::clients::Clients;
use crate::native;
use crate::{error, topics};

/// What stands between a topic and a group in the name of a Kafka group. No name of ours holds it.
const BETWEEN: &str = "..";

/// The Kafka group of one group on one topic. A member of one subscription never disturbs another topic's.
pub(crate) fn id(group: &GroupName, topic: &TopicName) -> String {
    format!("{topic}{BETWEEN}{group}")
}

/// What is committed with each offset, so that offsets of a deleted topic are told from those of one made again.
pub(crate) fn mark(incarnation: Uuid) -> String {
    incarnation.simple().to_string()
}

pub(crate) fn committed(clients: &Clients, group: &GroupName, topic: &TopicName) -> Result<Vec<Option<Offset>>> {
    let described = topics::describe(clients, topic)?;
    committed_of(clients, group, topic, described.id, described.partitions)
}

fn committed_of(
    clients: &Clients,
    group: &GroupName,
    topic: &TopicName,
    incarnation: Uuid,
    partitions: u32,
) -> Result<Vec<Option<Offset>>> {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition(topic.as_str(), partition as i32);
    }
    let found = clients.patiently(|| {
        let id = id(group, topic);
        match clients.coordinators.ask(|client| native::offsets(client, &id, &list, clients.patience())) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            found => found.map_err(|error| error.at("committed offsets of group", group)),
        }
    })?;
    let mut committed = vec![None; partitions as usize];
    for entry in found.iter().filter(|entry| entry.metadata == mark(incarnation)) {
        if let Some(place) = committed.get_mut(entry.partition as usize) {
            *place = Some(Offset(entry.offset as u64));
        }
    }
    Ok(committed)
}

pub(crate) fn lag(clients: &Clients, group: &GroupName, topic: &TopicName) -> Result<Vec<Lag>> {
    let described = topics::describe(clients, topic)?;
    let committed = committed_of(clients, group, topic, described.id, described.partitions)?;
    let of = |(number, committed): (usize, Option<Offset>)| {
        let partition = Partition(number as u32);
        let bounds = clients.readers.bounds_of(clients, topic, &described, partition)?;
        // Numbers without a record, which transactions and compaction leave, count as records in between.
        Ok(Lag::of_offsets(partition, committed, bounds, None))
    };
    committed.into_iter().enumerate().map(of).collect()
}

pub(crate) fn move_committed(
    clients: &Clients,
    group: &GroupName,
    topic: &TopicName,
    to: &[(Partition, Offset)],
) -> Result<()> {
    let described = topics::describe(clients, topic)?;
    if let Some((missing, _)) = to.iter().find(|(partition, _)| partition.0 >= described.partitions) {
        return Err(partition_not_found(topic, *missing));
    }
    for (partition, offset) in to {
        // Not the end of what can be read: a marker of a transaction may stand behind it, and what comes stands behind that.
        let (_, end) = clients.readers.watermarks(clients, topic, *partition)?;
        if *offset > end {
            return Err(offset_beyond_end(*partition, *offset, end).at("move group", group));
        }
    }
    let list = marked(topic, described.id, to)?;
    check_idle(clients, group, topic)?;
    let id = id(group, topic);
    let moved = clients
        .patiently(|| clients.coordinators.ask(|client| native::alter_offsets(client, &id, &list, clients.patience())));
    match moved {
        // A member has joined since.
        Err(error) if error.kind() == ErrorKind::Fenced || error.reason() == "GroupActive" => {
            check_idle(clients, group, topic)?;
            Err(error.at("move group", group))
        }
        moved => moved.map_err(|error| error.at("move group", group)),
    }
}

/// Offsets to commit, with the topic's mark.
pub(crate) fn marked(topic: &TopicName, incarnation: Uuid, to: &[(Partition, Offset)]) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in to {
        let mut element = list.add_partition(topic.as_str(), partition.0 as i32);
        element.set_offset(KafkaOffset::Offset(offset.0 as i64)).map_err(|error| error::of(&error))?;
        element.set_metadata(mark(incarnation));
    }
    Ok(list)
}

pub(crate) fn delete(clients: &Clients, group: &GroupName, topic: &TopicName) -> Result<()> {
    let id = id(group, topic);
    let deleted =
        clients.patiently(|| clients.coordinators.ask(|client| native::delete(client, &id, clients.patience())));
    deleted.or_else(|error| match error.code().as_str() {
        "NotFound/Group" => Err(group_not_found(group, topic)),
        "Unavailable/GroupActive" => Err(group_active(group, &member_names(clients, group, topic)?)),
        _ => Err(error.at("delete group", group)),
    })
}

/// Every group on every topic, by name.
pub(crate) fn all(clients: &Clients) -> Result<Vec<(GroupName, TopicName)>> {
    let names = native::group_names(&clients.native()?, clients.patience())?;
    let mut pairs: Vec<_> = names.iter().filter_map(|name| split(name)).collect();
    pairs.sort();
    Ok(pairs)
}

/// The groups of one topic.
pub(crate) fn of_topic(clients: &Clients, topic: &TopicName) -> Result<Vec<GroupName>> {
    Ok(all(clients)?.into_iter().filter(|(_, of)| of == topic).map(|(group, _)| group).collect())
}

/// The names in a group's id. A parking topic has [`BETWEEN`] in its own name once, and only its name begins with `__`.
fn split(id: &str) -> Option<(GroupName, TopicName)> {
    let (first, rest) = id.split_once(BETWEEN)?;
    let own = if first.starts_with("__") { rest.find(BETWEEN)? } else { 0 };
    let (topic, group) = if own == 0 { (first, rest) } else { id.split_at(first.len() + BETWEEN.len() + own) };
    let group = group.strip_prefix(BETWEEN).unwrap_or(group);
    Some((GroupName::stored(group).ok()?, TopicName::stored(topic).ok()?))
}

pub(crate) fn members(clients: &Clients, group: &GroupName, topic: &TopicName) -> Result<Vec<Member>> {
    topics::describe(clients, topic)?;
    let id = id(group, topic);
    let found =
        clients.patiently(|| clients.coordinators.ask(|client| native::members(client, &id, clients.patience())))?;
    let of = |member: native::GroupMember| {
        let held = member.partitions.iter().filter(|(of, _)| of == topic.as_str());
        let mut partitions: Vec<_> = held.map(|(_, partition)| Partition(*partition as u32)).collect();
        partitions.sort();
        Member { name: member.client_id, partitions }
    };
    let mut members: Vec<Member> = found.into_iter().map(of).collect();
    members.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(members)
}

/// The names of a group's members.
pub(crate) fn member_names(clients: &Clients, group: &GroupName, topic: &TopicName) -> Result<Vec<String>> {
    Ok(members(clients, group, topic)?.into_iter().map(|member| member.name).collect())
}

fn check_idle(clients: &Clients, group: &GroupName, topic: &TopicName) -> Result<()> {
    let members = member_names(clients, group, topic)?;
    if members.is_empty() { Ok(()) } else { Err(group_active(group, &members)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_and_a_topic_are_told_apart_again() {
        let (group, topic): (GroupName, TopicName) = ("b.c".parse().expect("legal"), "a.b".parse().expect("legal"));
        assert_eq!(id(&group, &topic), "a.b..b.c");
        assert_eq!(split(&id(&group, &topic)), Some((group, topic)));
        assert_eq!(split("somebody-elses"), None);
        let topic = TopicName::stored("__parked.a.b..b.c").expect("one of the bus's own");
        let group = GroupName::stored("b.c..replay").expect("one of the bus's own");
        assert_eq!(split(&id(&group, &topic)), Some((group, topic)));
    }
}
