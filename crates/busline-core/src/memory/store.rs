//! Topics and records in memory.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use super::groups::Group;
use crate::ack::{Ack, Durability, Medium};
use crate::batch::RecordRef;
use crate::clock::Clock;
use crate::driver::{Lag, ReadRequest};
use crate::error::Result;
use crate::headers::Headers;
use crate::record::Record;
use crate::retention::{Kept, Retention};
use crate::topic::{
    Bounds, GroupName, Offset, Partition, TopicInfo, TopicName, TopicSpec, colliding_name, group_not_found,
    offset_beyond_end, partition_not_found, topic_exists, topic_not_found, warn_deleted,
};

/// All topics by name.
#[derive(Debug, Default)]
pub(super) struct Store {
    topics: BTreeMap<TopicName, Topic>,
}

#[derive(Debug)]
struct Topic {
    info: TopicInfo,
    partitions: Vec<Log>,
    groups: BTreeMap<GroupName, Group>,
}

/// The records of one partition; the first one has offset `start`.
#[derive(Debug, Default)]
struct Log {
    start: u64,
    records: VecDeque<Record>,
    /// Bytes of its records: keys, headers and bodies.
    bytes: u64,
}

impl Store {
    pub(super) fn create(&mut self, name: &TopicName, spec: &TopicSpec) -> Result<TopicInfo> {
        spec.validate()?;
        spec.check_single_copy("memory").map_err(|error| error.at("create topic", name))?;
        if self.topics.contains_key(name) {
            return Err(topic_exists(name));
        }
        if let Some(other) = self.topics.keys().find(|other| other.collision_form() == name.collision_form()) {
            return Err(colliding_name(name, other));
        }
        let info = TopicInfo { name: name.clone(), spec: spec.clone(), incarnation: Uuid::from_bytes(rand::random()) };
        let partitions = (0..spec.partitions).map(|_| Log::default()).collect();
        self.topics.insert(name.clone(), Topic { info: info.clone(), partitions, groups: BTreeMap::new() });
        Ok(info)
    }

    pub(super) fn update(&mut self, name: &TopicName, spec: &TopicSpec) -> Result<TopicInfo> {
        spec.validate()?;
        let topic = self.topics.get_mut(name).ok_or_else(|| topic_not_found(name))?;
        spec.check_single_copy("memory").map_err(|error| error.at("update topic", name))?;
        topic.info.spec.check_update(spec).map_err(|error| error.at("update topic", name))?;
        topic.info.spec = spec.clone();
        Ok(topic.info.clone())
    }

    pub(super) fn info(&self, name: &TopicName) -> Result<TopicInfo> {
        self.topics.get(name).map(|topic| topic.info.clone()).ok_or_else(|| topic_not_found(name))
    }

    pub(super) fn infos(&self) -> Vec<TopicInfo> {
        self.topics.values().map(|topic| topic.info.clone()).collect()
    }

    pub(super) fn delete(&mut self, name: &TopicName) -> Result<()> {
        let mut groups = self.topics.get(name).into_iter().flat_map(|topic| &topic.groups);
        groups.try_for_each(|(name, group)| group.check_idle(name))?;
        self.topics.remove(name).map(drop).ok_or_else(|| topic_not_found(name))
    }

    /// Stores a record, unless its topic was deleted or made anew since `incarnation`.
    pub(super) fn append(&mut self, topic: &TopicInfo, record: &RecordRef<'_>, time: Timestamp) -> Result<Ack> {
        let stored = self.topics.get_mut(&topic.name).filter(|stored| stored.info.incarnation == topic.incarnation);
        let log = &mut stored.ok_or_else(|| topic_not_found(&topic.name))?.partitions[record.partition.0 as usize];
        let offset = Offset(log.end());
        log.push(Record {
            partition: record.partition,
            offset,
            time,
            key: Bytes::copy_from_slice(record.key),
            headers: Headers::decode(Bytes::copy_from_slice(record.header_block))?,
            body: Bytes::copy_from_slice(record.body),
        });
        let durability = Durability::one(Medium::Memory);
        Ok(Ack { partition: record.partition, offset: Some(offset), duplicate: false, durability })
    }

    pub(super) fn trim(&mut self, topic: &TopicName, partition: Partition, below: Offset) -> Result<Offset> {
        let stored = self.topics.get_mut(topic).ok_or_else(|| topic_not_found(topic))?;
        let number = partition.0 as usize;
        let log = stored.partitions.get(number).ok_or_else(|| partition_not_found(topic, partition))?;
        let below = below.0.clamp(log.start, log.end());
        stored.delete_below(number, below);
        Ok(Offset(stored.partitions[number].start))
    }

    /// Deletes what the topics' limits let go. Whoever looks at the store calls this first, so nobody sees more.
    pub(super) fn let_go(&mut self, clock: &dyn Clock) {
        for topic in self.topics.values_mut().filter(|topic| topic.info.spec.retention.is_limited()) {
            let now = clock.now();
            for number in 0..topic.partitions.len() {
                let below = topic.partitions[number].kept_from(&topic.info.spec.retention, now);
                topic.delete_below(number, below);
            }
        }
    }

    pub(super) fn read(&self, topic: &TopicName, request: &ReadRequest) -> Result<Vec<Record>> {
        let log = self.log(topic, request.partition)?;
        let mut room = request.bytes_max;
        let mut read = Vec::new();
        for record in log.from(request.from.0).take_while(|record| record.offset < request.to).take(request.records_max)
        {
            if room == 0 {
                break;
            }
            room = room.saturating_sub(record.bytes());
            read.push(record.clone());
        }
        Ok(read)
    }

    pub(super) fn bounds(&self, topic: &TopicName, partition: Partition) -> Result<Bounds> {
        Ok(self.log(topic, partition)?.bounds())
    }

    pub(super) fn offset_at(&self, topic: &TopicName, partition: Partition, time: Timestamp) -> Result<Offset> {
        let log = self.log(topic, partition)?;
        Ok(log.records.iter().find(|record| record.time >= time).map_or(Offset(log.end()), |record| record.offset))
    }

    /// A group of a topic, made if it is new.
    pub(super) fn group(&mut self, group: &GroupName, topic: &TopicName) -> Result<&mut Group> {
        let stored = self.topics.get_mut(topic).ok_or_else(|| topic_not_found(topic))?;
        let partitions = stored.partitions.len();
        Ok(stored.groups.entry(group.clone()).or_insert_with(|| Group::new(partitions)))
    }

    /// A group of a topic, if it exists.
    pub(super) fn find_group(&self, group: &GroupName, topic: &TopicName) -> Result<Option<&Group>> {
        let stored = self.topics.get(topic).ok_or_else(|| topic_not_found(topic))?;
        Ok(stored.groups.get(group))
    }

    pub(super) fn lag(&self, group: &GroupName, topic: &TopicName) -> Result<Vec<Lag>> {
        let stored = self.topics.get(topic).ok_or_else(|| topic_not_found(topic))?;
        let found = stored.groups.get(group);
        let committed = found.map_or_else(|| vec![None; stored.partitions.len()], Group::committed);
        let deleted = found.map_or_else(|| vec![0; stored.partitions.len()], Group::deleted);
        let of = |((number, log), (committed, deleted)): ((usize, &Log), (Option<Offset>, u64))| {
            Lag::of_offsets(Partition(number as u32), committed, log.bounds(), Some(deleted))
        };
        Ok(stored.partitions.iter().enumerate().zip(committed.into_iter().zip(deleted)).map(of).collect())
    }

    /// Moves committed offsets of a group without members.
    pub(super) fn move_committed(
        &mut self,
        group: &GroupName,
        topic: &TopicName,
        to: &[(Partition, Offset)],
    ) -> Result<()> {
        for (partition, offset) in to {
            let end = self.bounds(topic, *partition)?.end;
            if *offset > end {
                return Err(offset_beyond_end(*partition, *offset, end).at("move group", group));
            }
        }
        let stored = self.group(group, topic)?;
        stored.check_idle(group)?;
        stored.move_committed(to);
        Ok(())
    }

    pub(super) fn delete_group(&mut self, group: &GroupName, topic: &TopicName) -> Result<()> {
        let stored = self.topics.get_mut(topic).ok_or_else(|| topic_not_found(topic))?;
        let found = stored.groups.get(group).ok_or_else(|| group_not_found(group, topic))?;
        found.check_idle(group)?;
        stored.groups.remove(group);
        Ok(())
    }

    pub(super) fn groups(&self) -> Vec<(GroupName, TopicName)> {
        let of = |(topic, stored): (&TopicName, &Topic)| {
            stored.groups.keys().map(|group| (group.clone(), topic.clone())).collect::<Vec<_>>()
        };
        let mut pairs: Vec<_> = self.topics.iter().flat_map(of).collect();
        pairs.sort();
        pairs
    }

    fn log(&self, topic: &TopicName, partition: Partition) -> Result<&Log> {
        let stored = self.topics.get(topic).ok_or_else(|| topic_not_found(topic))?;
        stored.partitions.get(partition.0 as usize).ok_or_else(|| partition_not_found(topic, partition))
    }
}

impl Topic {
    /// Deletes the records of a partition below this offset, and says what groups lose by it.
    fn delete_below(&mut self, partition: usize, below: u64) {
        let log = &mut self.partitions[partition];
        let start = log.start;
        if below <= start {
            return;
        }
        log.delete_below(below);
        for (group, state) in &mut self.groups {
            let lost = state.note_deleted(partition, start, below);
            if lost > 0 {
                warn_deleted(&self.info.name, group, lost);
            }
        }
    }
}

impl Log {
    fn bounds(&self) -> Bounds {
        Bounds { start: Offset(self.start), end: Offset(self.end()) }
    }

    fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }

    fn push(&mut self, record: Record) {
        self.bytes += bytes_of(&record);
        self.records.push_back(record);
    }

    fn delete_below(&mut self, below: u64) {
        let gone = self.records.drain(..(below - self.start) as usize);
        self.bytes -= gone.map(|record| bytes_of(&record)).sum::<u64>();
        self.start = below;
    }

    /// The first offset that these limits keep.
    fn kept_from(&self, limits: &Retention, now: Timestamp) -> u64 {
        let (mut kept_from, mut bytes) = (self.start, self.bytes);
        for record in &self.records {
            let kept = Kept { records: self.end() - kept_from, bytes, oldest: record.time };
            if !limits.lets_go(&kept, now) {
                break;
            }
            kept_from += 1;
            bytes -= bytes_of(record);
        }
        kept_from
    }

    fn from(&self, offset: u64) -> impl Iterator<Item = &Record> {
        let skipped = offset.clamp(self.start, self.end()) - self.start;
        self.records.range(skipped as usize..)
    }
}

fn bytes_of(record: &Record) -> u64 {
    let headers = record.headers.iter().map(|header| header.name.len() + header.value.len()).sum::<usize>();
    (record.key.len() + headers + record.body.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_not_moved_beyond_the_end() {
        let (mut store, topic) = (Store::default(), "orders".parse().expect("legal"));
        store.create(&topic, &TopicSpec { partitions: 2, ..TopicSpec::default() }).expect("a new topic");
        let group = "billing".parse().expect("legal");
        let to = [(Partition(0), Offset(0)), (Partition(1), Offset(1))];
        let error = store.move_committed(&group, &topic, &to).expect_err("what comes there would be passed over");
        assert_eq!(error.code(), "Invalid/Offset", "{error}");
        assert!(store.find_group(&group, &topic).expect("the topic is there").is_none(), "nothing was moved");
        store.move_committed(&group, &topic, &to[..1]).expect("the end itself is a place");
        let moved = store.find_group(&group, &topic).expect("the topic is there").map(Group::committed);
        assert_eq!(moved, Some(vec![Some(Offset(0)), None]));
    }
}
