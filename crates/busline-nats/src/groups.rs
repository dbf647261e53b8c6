//! Groups seen from outside: who is a member, how far a group has come, and changes while nobody is at work.

use std::collections::BTreeMap;
use std::sync::Arc;

use busline_core::{
    Error, GroupName, Lag, Member, Offset, Partition, Result, Source, SourceRequest, TopicInfo, TopicName,
    group_active, group_not_found, offset_beyond_end, partition_not_found,
};
use futures_util::StreamExt;
use futures_util::stream::iter;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::admin::Admin;
use crate::bucket::{Bucket, Expect, Put};
use crate::driver::NatsDriver;
use crate::keys::{Key, Keys, parse};
use crate::leases::Holder;
use crate::offsets::{Known, OffsetKey, Progress};
use crate::shadow;
use crate::source::NatsSource;
use crate::topics::{self, Place};

/// Questions that are asked at once.
const AT_ONCE: usize = 32;

/// How long the server keeps a consumer that only counts, should its deletion be lost.
const COUNTING_NANOS: u64 = 5_000_000_000;

/// A group on a topic, as a call found it.
struct Group<'a> {
    admin: &'a Admin,
    bucket: Bucket,
    keys: Keys,
    topic: TopicInfo,
}

impl NatsDriver {
    pub(crate) async fn join(&self, request: SourceRequest) -> Result<Arc<dyn Source>> {
        let topic = request.topic.name.clone();
        let member = crate::member::Member::new(request, self.admin()?.clone(), self.dialer());
        let source = NatsSource::join(member, self.home(), self.shows_lag(&topic)).await;
        Ok(Arc::new(source.map_err(|error| error.at("subscribe", &topic))?))
    }

    async fn group(&self, group: &GroupName, topic: &TopicName) -> Result<Group<'_>> {
        let admin = self.admin()?;
        let topic = topics::info(admin, topic).await?;
        let keys = Keys::new(group, &topic.name);
        Ok(Group { admin, bucket: Bucket::new(admin.clone()), keys, topic })
    }

    pub(crate) async fn group_committed(&self, group: &GroupName, topic: &TopicName) -> Result<Vec<Option<Offset>>> {
        self.group(group, topic).await?.committed().await
    }

    pub(crate) async fn group_lag(&self, group: &GroupName, topic: &TopicName) -> Result<Vec<Lag>> {
        self.group(group, topic).await?.lag().await
    }

    pub(crate) async fn move_group(
        &self,
        name: &GroupName,
        topic: &TopicName,
        to: &[(Partition, Offset)],
    ) -> Result<()> {
        let group = self.group(name, topic).await?;
        for (partition, _) in to {
            if partition.0 >= group.topic.spec.partitions {
                return Err(partition_not_found(topic, *partition));
            }
        }
        for (partition, offset) in to {
            group.check_place(*partition, *offset).await.map_err(|error| error.at("move group", name))?;
        }
        group.check_idle(name).await?;
        group.bucket.ensure(group.topic.spec.replicas).await?;
        for (partition, offset) in to {
            group.move_to(*partition, *offset).await?;
            if self.shows_lag(topic) {
                let shown = shadow::show(group.admin, &group.topic, name, *partition, *offset).await;
                drop(shown.inspect_err(|error| tracing::debug!("show the lag of {name} for NATS' tools: {error}")));
            }
        }
        Ok(())
    }

    pub(crate) async fn forget_group(&self, name: &GroupName, topic: &TopicName) -> Result<()> {
        let group = self.group(name, topic).await?;
        group.check_idle(name).await?;
        if group.bucket.keys(&group.keys.all()).await?.is_empty() {
            return Err(group_not_found(name, topic));
        }
        group.bucket.purge(&group.keys.all()).await?;
        shadow::forget(group.admin, &group.topic, name).await
    }

    pub(crate) async fn all_groups(&self) -> Result<Vec<(GroupName, TopicName)>> {
        let keys = Bucket::new(self.admin()?.clone()).keys(">").await?;
        let mut groups: Vec<_> =
            keys.iter().filter_map(|key| parse(key)).map(|(_, group, topic)| (group, topic)).collect();
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }

    pub(crate) async fn group_members(&self, group: &GroupName, topic: &TopicName) -> Result<Vec<Member>> {
        self.group(group, topic).await?.members().await
    }

    /// Deletes a topic that no member reads, or what is left of one, and what its groups have of it. The look and the
    /// deletion are two steps.
    pub(crate) async fn delete_with_groups(&self, topic: &TopicName) -> Result<()> {
        let admin = self.admin()?;
        let bucket = Bucket::new(admin.clone());
        topics::check_there(admin, topic).await?;
        let keys = bucket.keys(&Keys::of_topic(topic)).await?;
        let mut members: BTreeMap<GroupName, Vec<String>> = BTreeMap::new();
        for key in &keys {
            if let Some((Key::Member(name), group, _)) = parse(key) {
                members.entry(group).or_default().push(name);
            }
        }
        if let Some((group, members)) = members.first_key_value() {
            return Err(group_active(group, members));
        }
        topics::delete(admin, topic).await?;
        if keys.is_empty() { Ok(()) } else { bucket.purge(&Keys::of_topic(topic)).await }
    }
}

impl Group<'_> {
    /// Refuses an offset behind the end of a partition's stream, which is not the end of what can be read: what comes stands
    /// behind whatever the stream has of other partitions.
    async fn check_place(&self, partition: Partition, offset: Offset) -> Result<()> {
        let end = Place::of(&self.topic, partition).stream_end(self.admin).await?;
        if offset <= end { Ok(()) } else { Err(offset_beyond_end(partition, offset, end)) }
    }

    fn partitions(&self) -> impl Iterator<Item = Partition> {
        (0..self.topic.spec.partitions).map(Partition)
    }

    fn offset_key(&self, partition: Partition) -> OffsetKey {
        OffsetKey { bucket: self.bucket.clone(), key: self.keys.offset(partition), partition }
    }

    /// In the order of the partitions, read through the leader.
    async fn committed(&self) -> Result<Vec<Option<Offset>>> {
        let reads = self.partitions().map(|partition| async move {
            let known = self.offset_key(partition).read().await?;
            // An offset in a topic that was deleted since says nothing about this one.
            let known = known.filter(|known| known.progress.topic == self.topic.incarnation);
            Ok(known.map(|known| known.progress.offset))
        });
        in_order(reads).await
    }

    async fn lag(&self) -> Result<Vec<Lag>> {
        let committed = self.committed().await?;
        let counts = self.partitions().zip(committed).map(|(partition, committed)| async move {
            let place = Place::of(&self.topic, partition);
            let end = place.bounds(self.admin).await?.end;
            let records = self.pending(&place, committed.unwrap_or(Offset(1))).await?;
            Ok(Lag { partition, committed, end, records, deleted: None })
        });
        in_order(counts).await
    }

    /// Records from this offset on, as the server counts them for a consumer that begins there.
    async fn pending(&self, place: &Place, from: Offset) -> Result<u64> {
        let name = format!("busline-lag-{:016x}", rand::random::<u64>());
        let question = json!({ "stream_name": place.stream, "config": {
            "name": name, "deliver_policy": "by_start_sequence", "opt_start_seq": from.0.max(1), "ack_policy": "none",
            "filter_subject": place.subject, "inactive_threshold": COUNTING_NANOS, "num_replicas": 1, "mem_storage": true,
        }});
        let api = format!("CONSUMER.CREATE.{}.{name}.{}", place.stream, place.subject);
        let made: Counted = self.admin.demand(&api, &question).await?;
        match self.admin.ask::<Value>(&format!("CONSUMER.DELETE.{}.{name}", place.stream), &Value::Null).await {
            // Otherwise it ends by itself.
            Ok(_) | Err(_) => Ok(made.num_pending),
        }
    }

    async fn members(&self) -> Result<Vec<Member>> {
        let mut members: BTreeMap<String, Vec<Partition>> = BTreeMap::new();
        let mut leased = Vec::new();
        for key in self.bucket.keys(&self.keys.all()).await? {
            match parse(&key) {
                Some((Key::Member(name), ..)) => drop(members.insert(name, Vec::new())),
                Some((Key::Lease(partition), ..)) => leased.push((partition, key)),
                _ => {}
            }
        }
        let reads = leased.into_iter().map(|(partition, key)| async move {
            let entry = self.bucket.get(&key).await?;
            Ok(entry.as_ref().and_then(Holder::of).map(|holder| (partition, holder.member)))
        });
        for (partition, member) in in_order(reads).await?.into_iter().flatten() {
            if let Some(partitions) = members.get_mut(&member) {
                partitions.push(partition);
            }
        }
        let sorted = |(name, mut partitions): (String, Vec<Partition>)| {
            partitions.sort_unstable();
            Member { name, partitions }
        };
        Ok(members.into_iter().map(sorted).collect())
    }

    async fn check_idle(&self, group: &GroupName) -> Result<()> {
        let keys = self.bucket.keys(&self.keys.members()).await?;
        let alive = keys.iter().filter_map(|key| parse(key)).filter_map(|(key, ..)| match key {
            Key::Member(name) => Some(name),
            _ => None,
        });
        let alive: Vec<String> = alive.collect();
        if alive.is_empty() { Ok(()) } else { Err(group_active(group, &alive)) }
    }

    /// Under a new epoch: whoever still thinks that it holds the partition is fenced.
    async fn move_to(&self, partition: Partition, offset: Offset) -> Result<()> {
        let key = self.offset_key(partition);
        let before: Option<Known> = key.read().await?;
        let (revision, epoch) = before.map_or((0, 0), |known| (known.revision, known.progress.epoch));
        let progress = Progress {
            offset,
            epoch: epoch + 1,
            owner: Uuid::from_bytes(rand::random()),
            topic: self.topic.incarnation,
        };
        let value = progress.encode()?;
        match self.bucket.put(&key.key, value, Expect::Revision(revision), None).await? {
            Put::Stored(_) => Ok(()),
            Put::Conflict => Err(Error::new(busline_core::ErrorKind::Unavailable, "GroupContended")
                .cause(format!("somebody else wrote the offset of partition {partition}"))
                .next("see whether a member has joined, and try again")),
        }
    }
}

/// Asks several things at once and gives the answers in the order of the questions.
async fn in_order<T>(questions: impl Iterator<Item = impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    let answers: Vec<Result<T>> = iter(questions).buffered(AT_ONCE).collect().await;
    answers.into_iter().collect()
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    num_pending: u64,
}
