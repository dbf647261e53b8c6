//! Which partitions are a member's: a look at the group, what the rule makes of it, and the taking of what is free.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use busline_core::{Error, Offset, Partition, Result, Start, assign};
use futures_util::StreamExt;
use futures_util::future::try_join;
use futures_util::stream::iter;
use tokio::time::Instant;

use crate::held::Part;
use crate::keys::{Key, parse};
use crate::leases::{Holder, Lease};
use crate::member::{AT_ONCE, Member};
use crate::offsets::{Beginning, OffsetKey};
use crate::records;
use crate::topics::{Place, stream_info};

/// Lifetimes for which a key's revision must stand still before a member calls it left.
///
/// Deleting it is the server's matter, and its clock's, so the server has the first word; it may fail to, after a change of
/// the leader for instance. To take such a key is safe: its owner is fenced like any other.
const LIFETIMES: u32 = 2;

/// The group as a look found it.
#[derive(Debug, Default)]
struct Look {
    members: Vec<String>,
    leases: BTreeMap<Partition, Found>,
}

/// A lease as a look found it.
#[derive(Debug)]
struct Found {
    revision: u64,
    member: String,
    /// Free although it is there: it has not been renewed for too long, or it is in this member's name from a write whose
    /// answer was lost.
    is_left: bool,
}

impl Member {
    /// Looks at the others, begins to give up what is theirs, and takes what is this member's and free.
    pub(crate) async fn look_around(&self) -> Result<()> {
        if self.is_closing() {
            return Ok(());
        }
        let look = self.look().await?;
        let free = self.share(&look);
        let takes = free.into_iter().map(|(partition, revision)| async move {
            Ok::<_, Error>(self.take(partition, revision).await?.map(|part| (partition, part)))
        });
        let taken: Vec<Result<Option<(Partition, Part)>>> = iter(takes).buffer_unordered(AT_ONCE).collect().await;
        let (mut parts, mut failed) = (Vec::new(), Ok(()));
        for outcome in taken {
            match outcome {
                Ok(part) => parts.extend(part),
                Err(error) => failed = Err(error),
            }
        }
        parts.sort_by_key(|(partition, _)| *partition);
        self.change(|held| held.assign(parts));
        self.watched.notify_one();
        failed
    }

    async fn look(&self) -> Result<Look> {
        // Two questions: a topic may have as many partitions as the server gives values to one.
        let (members, leases) = (self.keys.members(), self.keys.leases());
        let (mut entries, leases) = try_join(self.bucket.list(&members), self.bucket.list(&leases)).await?;
        entries.extend(leases);
        let mut stillness = self.stillness.lock().unwrap_or_else(PoisonError::into_inner);
        stillness.look(entries.iter().map(|entry| (entry.key.as_str(), entry.revision)), Instant::now());
        let mut look = Look::default();
        for entry in &entries {
            let is_still = stillness.is_still(&entry.key, self.request.lease * LIFETIMES);
            match parse(&entry.key) {
                Some((Key::Member(name), ..)) if !is_still => look.members.push(name),
                Some((Key::Lease(partition), ..)) => {
                    let holder = Holder::of(entry);
                    let is_left = is_still || holder.as_ref().is_some_and(|holder| holder.owner == self.owner);
                    // A value that cannot be read is held by nobody who is a member.
                    let member = holder.map_or_else(String::new, |holder| holder.member);
                    look.leases.insert(partition, Found { revision: entry.revision, member, is_left });
                }
                _ => {}
            }
        }
        // A copy of the bucket may not know this member yet.
        look.members.push(self.request.member.clone());
        look.members.sort_unstable();
        look.members.dedup();
        Ok(look)
    }

    /// Begins to give up what the rule gives to others, and says what to take, with the revision of its lease.
    fn share(&self, look: &Look) -> Vec<(Partition, u64)> {
        let me = self.request.member.as_str();
        let mut held = self.held();
        let partitions: Vec<Partition> = (0..self.request.topic.spec.partitions).map(Partition).collect();
        // At which revision a lease can be taken.
        let revision = |partition: &Partition| match look.leases.get(partition) {
            None => Some(0),
            Some(found) => found.is_left.then_some(found.revision),
        };
        let owner = |partition: &Partition| {
            if held.partitions.contains_key(partition) {
                return Some(me);
            }
            look.leases.get(partition).filter(|found| !found.is_left).map(|found| found.member.as_str())
        };
        let owners: Vec<Option<&str>> = partitions.iter().map(owner).collect();
        let members: Vec<&str> = look.members.iter().map(String::as_str).collect();
        let wanted = assign(&members, &owners);
        let (mut free, mut others, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for (partition, wanted) in partitions.iter().zip(wanted) {
            match (held.partitions.contains_key(partition), wanted == Some(me)) {
                (true, false) => others.push(*partition),
                (false, true) => free.extend(revision(partition).map(|revision| (*partition, revision))),
                (false, false) => left.extend(revision(partition).filter(|revision| *revision > 0)),
                (true, true) => {}
            }
        }
        held.revoke(others.into_iter());
        drop(held);
        let until = Instant::now();
        drop(self.release(left.into_iter().map(|revision| Lease { revision, until }).collect()));
        free
    }

    /// Takes a partition: its lease, and then its offset under a new epoch, which fences whoever held it before.
    async fn take(&self, partition: Partition, revision: u64) -> Result<Option<Part>> {
        let (lease_key, offset_key) = (self.lease_key(partition), self.offset_key(partition));
        let Some(lease) = lease_key.take(&self.holder(0), revision).await? else { return Ok(None) };
        let topic = self.request.topic.incarnation;
        let fenced = match self.start(&offset_key).await {
            Ok(start) => offset_key.fence(self.owner, topic, start, self.former_epoch(partition)).await,
            Err(error) => Err(error),
        };
        match fenced {
            Ok(known) if lease.until > Instant::now() => Ok(Some(Part::new(lease, known))),
            Ok(_) => Ok(None),
            Err(error) => {
                drop(self.bucket.delete(lease.revision).await);
                Err(error)
            }
        }
    }

    /// The epoch under which this member held the partition last, or 0.
    fn former_epoch(&self, partition: Partition) -> u64 {
        self.held().remembered.get(&partition).map_or(0, |remembered| remembered.epoch)
    }

    /// Where this member begins with a partition.
    async fn start(&self, offset_key: &OffsetKey) -> Result<Beginning> {
        let (topic, partition) = (&self.request.topic, offset_key.partition);
        let found = offset_key.read().await?;
        if let Some(known) = found.filter(|known| known.progress.topic == topic.incarnation) {
            return self.goes_on(offset_key, known.progress.offset).await;
        }
        // The key is gone, and this member knew it: somebody deleted the bucket.
        let remembered = self.held().remembered.get(&partition).map(|remembered| remembered.committed);
        match remembered {
            Some(committed) => self.goes_on(offset_key, committed).await,
            None => self.first_start(partition).await.map(Beginning::from),
        }
    }

    /// Where a group goes on that has finished everything before `committed`.
    ///
    /// A server that lost its power may have lost the end of the stream, and gives its numbers again. What was stored
    /// since the offset was committed was not finished by anybody, whatever its number.
    async fn goes_on(&self, offset_key: &OffsetKey, committed: Offset) -> Result<Beginning> {
        let (topic, group, partition) = (&self.request.topic, &self.request.group, offset_key.partition);
        let place = Place::of(topic, partition);
        let Some(stream) = stream_info(&self.admin, &place.stream).await? else { return Ok(committed.into()) };
        let end = Offset(stream.state.last_seq).next();
        if committed <= end {
            return Ok(committed.into());
        }
        let since = match offset_key.written().await? {
            Some(written) => records::offset_at(&self.admin, &place, written).await?,
            None => end,
        };
        let offset = end.min(since);
        tracing::warn!(
            "group {group} has finished {}/{partition} up to offset {committed}, and its stream ends at {end}: the server \
             has lost records, and the group goes on at {offset}",
            topic.name
        );
        Ok(Beginning { offset, lost: true })
    }

    /// Where a group begins that has no offset in this partition.
    async fn first_start(&self, partition: Partition) -> Result<Offset> {
        let topic = &self.request.topic;
        let place = Place::of(topic, partition);
        let bounds = place.bounds(&self.admin).await?;
        match &self.request.start {
            Start::Earliest => Ok(bounds.start),
            Start::Latest => Ok(bounds.end),
            Start::Offsets(offsets) => {
                let named = offsets.iter().find(|(named, _)| *named == partition);
                Ok(named.map_or(bounds.start, |(_, offset)| *offset))
            }
            Start::Time(time) => records::offset_at(&self.admin, &place, *time).await,
        }
    }
}
