//! One member of a group: its keeper renews what it holds, looks at the others, and takes and gives up partitions.
//!
//! Only the keeper writes leases, so a renewal and a release never cross. It runs on the driver's thread: handlers that
//! block every thread of the caller's runtime cannot stop it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use busline_core::{
    Commit, Error, ErrorKind, Offset, Partition, Result, SourceRequest, Start, Until, assign, not_owner,
    topic_not_found,
};
use futures_util::StreamExt;
use futures_util::stream::iter;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use crate::admin::Admin;
use crate::bucket::{BUCKET_GONE, Bucket, Expect, Put};
use crate::dialer::Dialer;
use crate::held::{Held, Part};
use crate::keys::{Key, Keys, parse};
use crate::leases::{Holder, Lease, LeaseKey, Renewed};
use crate::offsets::OffsetKey;
use crate::stillness::Stillness;
use crate::topics::Place;
use crate::{records, topics};

/// Beats in one lease: each renews everything.
const BEATS_PER_LEASE: u32 = 5;

/// Pause after a beat that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Keys that are written at once.
const AT_ONCE: usize = 64;

/// What a member is made of, shared by its tasks and its source.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) request: SourceRequest,
    pub(crate) admin: Admin,
    pub(crate) bucket: Bucket,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) keys: Keys,
    /// Random, of this life of the member.
    pub(crate) owner: Uuid,
    held: Mutex<Held>,
    /// Until when what is held may be worked on, as `held` has it: asked before each attempt, by every worker.
    pub(crate) until: Until,
    stillness: Mutex<Stillness>,
    releases: Mutex<Vec<Release>>,
    /// There is something to say to the subscription.
    pub(crate) ready: Notify,
    /// There is something for the reader.
    pub(crate) read: Notify,
    /// There is something for the keeper.
    pub(crate) tend: Notify,
    /// Something is held whose lease may run out.
    watched: Notify,
    /// The member leaves.
    pub(crate) left: Notify,
    closing: AtomicBool,
}

/// A lease to give back.
#[derive(Debug)]
struct Release {
    lease: Lease,
    done: oneshot::Sender<()>,
}

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
    pub(crate) fn new(request: SourceRequest, admin: Admin, dialer: Arc<Dialer>) -> Self {
        let keys = Keys::new(&request.group, &request.topic.name);
        Self {
            keys,
            bucket: Bucket::new(admin.clone()),
            admin,
            dialer,
            request,
            owner: Uuid::from_bytes(rand::random()),
            held: Mutex::default(),
            until: Until::default(),
            stillness: Mutex::default(),
            releases: Mutex::default(),
            ready: Notify::new(),
            read: Notify::new(),
            tend: Notify::new(),
            watched: Notify::new(),
            left: Notify::new(),
            closing: AtomicBool::new(false),
        }
    }

    /// Makes the bucket if need be, and the member's key.
    pub(crate) async fn join(&self) -> Result<()> {
        self.bucket.ensure(self.request.topic.spec.replicas).await?;
        self.show_up().await?;
        self.ring().await;
        Ok(())
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes which partitions are held or until when, and wakes whoever waits for that.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        let mut held = self.held();
        let changed = change(&mut held);
        self.note_until(&held);
        drop(held);
        self.ready.notify_one();
        self.read.notify_one();
        changed
    }

    /// Has to follow each change of a lease and each loss that is told.
    pub(crate) fn note_until(&self, held: &Held) {
        // Handlers stop starting well before the lease runs out.
        self.until.set(held.term(self.request.lease / 10));
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Ends the tasks; the keeper leaves the group.
    pub(crate) fn end(&self) {
        self.closing.store(true, Ordering::Release);
        self.tend.notify_one();
        self.read.notify_one();
        self.watched.notify_one();
        self.ready.notify_one();
        self.left.notify_one();
    }

    /// The source gives nothing more, for this reason.
    pub(crate) fn fail(&self, error: Error) {
        self.held().ended = Some(error.at("read", &self.request.topic.name));
        self.end();
    }

    /// Gives leases back; the answer comes when the keeper has done it.
    pub(crate) fn release(&self, leases: Vec<Lease>) -> Vec<oneshot::Receiver<()>> {
        let mut releases = self.releases.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answers = Vec::with_capacity(leases.len());
        for lease in leases {
            let (done, answer) = oneshot::channel();
            releases.push(Release { lease, done });
            answers.push(answer);
        }
        drop(releases);
        self.tend.notify_one();
        answers
    }

    pub(crate) fn offset_key(&self, partition: Partition) -> OffsetKey {
        OffsetKey { bucket: self.bucket.clone(), key: self.keys.offset(partition), partition }
    }

    /// Commits one offset, if the member still knows the partition under that generation.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<()> {
        let Commit { partition, generation, offset } = commit;
        let known = self.held().part(partition, generation).map(|part| part.known.clone());
        let known = known.ok_or_else(|| not_owner(partition))?;
        let stored = self.offset_key(partition).commit(&known, offset).await;
        match stored {
            Ok(known) => {
                if let Some(part) = self.held().part(partition, generation) {
                    part.known = known;
                }
                Ok(())
            }
            Err(error) => {
                if error.kind() == ErrorKind::Fenced {
                    self.change(|held| held.lose_under(partition, generation));
                    self.tend.notify_one();
                }
                Err(error)
            }
        }
    }

    /// Commits where a stream has deleted a committed offset behind which there was nothing of its partition: to the next
    /// owner it would look like a loss.
    async fn follow_streams(&self) {
        let overtaken = self.held().overtaken();
        let each = overtaken.into_iter().map(|(partition, generation, offset)| async move {
            if let Err(error) = self.commit(Commit { partition, generation, offset }).await {
                tracing::debug!("move an offset after its stream: {error}");
            }
        });
        iter(each).buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
    }

    fn lease_key(&self, partition: Partition) -> LeaseKey {
        LeaseKey { bucket: self.bucket.clone(), key: self.keys.lease(partition), lifetime: self.request.lease }
    }

    fn holder(&self, epoch: u64) -> Holder {
        Holder { member: self.request.member.clone(), owner: self.owner, epoch }
    }

    /// Tells the other members that there is something to look at. A bell that is not heard costs them a beat.
    async fn ring(&self) {
        drop(self.admin.client().publish(self.keys.bell(), bytes::Bytes::new()).await);
    }

    async fn show_up(&self) -> Result<u64> {
        let key = self.keys.member(&self.request.member);
        let value = self.owner.as_bytes().to_vec();
        match self.bucket.put(&key, value, Expect::Anything, Some(self.request.lease)).await? {
            Put::Stored(revision) => Ok(revision),
            Put::Conflict => Ok(0),
        }
    }
}

/// Keeps the member's leases until it closes, and then leaves the group.
pub(crate) async fn keep(member: Arc<Member>) {
    let every = member.request.lease / BEATS_PER_LEASE;
    let mut next_beat = Instant::now();
    let mut revision = 0;
    while !member.is_closing() {
        let now = Instant::now();
        let tended = if now >= next_beat {
            next_beat = now + every;
            member.beat(&mut revision).await
        } else {
            member.look_around().await
        };
        if let Err(error) = &tended {
            tracing::warn!("keep the group {}: {error}", member.request.group);
            if error.reason() == BUCKET_GONE {
                member.mend().await;
                next_beat = Instant::now();
            }
        }
        if tended.is_err() {
            // Sooner than the next beat: perhaps the server has just come back.
            next_beat = next_beat.min(Instant::now() + RETRY_PAUSE);
        }
        member.held().keeping_trouble = tended.err();
        drop(timeout_at(next_beat, member.tend.notified()).await);
    }
    member.leave(revision).await;
}

/// Gives up what could not be renewed in time, whatever the keeper waits for.
pub(crate) async fn watch(member: Arc<Member>) {
    while !member.is_closing() {
        let end = member.held().first_end();
        match end {
            Some(end) => drop(timeout_at(end, member.watched.notified()).await),
            None => member.watched.notified().await,
        }
        member.change(|held| held.lose(held.run_out(Instant::now())));
    }
}

impl Member {
    /// Renews everything, then looks around.
    async fn beat(&self, revision: &mut u64) -> Result<()> {
        self.give_back().await;
        let (shown, renewed) = futures_util::future::join(self.show_up(), self.renew_all()).await;
        *revision = shown?;
        renewed?;
        self.check_topic().await?;
        self.follow_streams().await;
        self.look_around().await
    }

    async fn renew_all(&self) -> Result<()> {
        let held: Vec<(Partition, u64, Lease)> = {
            let held = self.held();
            held.partitions.iter().map(|(p, part)| (*p, part.generation(), part.lease)).collect()
        };
        let renewals = held.into_iter().map(|(partition, generation, lease)| async move {
            let renewed = self.lease_key(partition).renew(&self.holder(generation), lease).await;
            self.note_renewal(partition, generation, renewed)
        });
        iter(renewals).buffer_unordered(AT_ONCE).fold(Ok(()), |all, one| async move { all.and(one) }).await
    }

    fn note_renewal(&self, partition: Partition, generation: u64, renewed: Result<Renewed>) -> Result<()> {
        match renewed? {
            Renewed::Held(lease) => {
                if !self.change(|held| held.renew(partition, generation, lease)) {
                    // It was released or lost while it was renewed.
                    drop(self.release(vec![lease]));
                }
            }
            Renewed::Lost => self.change(|held| held.lose_under(partition, generation)),
        }
        Ok(())
    }

    /// That the topic is still the one that was subscribed to.
    async fn check_topic(&self) -> Result<()> {
        let topic = &self.request.topic;
        match topics::info(&self.admin, &topic.name).await {
            Ok(found) if found.incarnation == topic.incarnation => Ok(()),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => {
                self.fail(topic_not_found(&topic.name));
                Ok(())
            }
        }
    }

    /// Gives leases back that were released.
    async fn give_back(&self) {
        let releases = std::mem::take(&mut *self.releases.lock().unwrap_or_else(PoisonError::into_inner));
        if releases.is_empty() {
            return;
        }
        let deletions = releases.into_iter().map(|release| async move {
            // One that cannot be deleted runs out by itself.
            drop(self.bucket.delete(release.lease.revision).await);
            // Whoever released it may not wait any more.
            let _ = release.done.send(());
        });
        iter(deletions).buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
        self.ring().await;
    }

    /// Looks at the others, begins to give up what is theirs, and takes what is this member's and free.
    async fn look_around(&self) -> Result<()> {
        self.give_back().await;
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
        let entries = self.bucket.list(&[self.keys.members(), self.keys.leases()]).await?;
        let (now, lifetime) = (Instant::now(), self.request.lease);
        let mut stillness = self.stillness.lock().unwrap_or_else(PoisonError::into_inner);
        stillness.look(entries.iter().map(|entry| (entry.key.as_str(), entry.revision)), now, lifetime);
        let mut look = Look::default();
        for entry in &entries {
            let is_still = stillness.is_still(&entry.key, now, lifetime);
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
            Ok(start) => offset_key.fence(self.owner, topic, start).await,
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

    /// Where a group begins that has no offset in this partition.
    async fn start(&self, offset_key: &OffsetKey) -> Result<Offset> {
        let topic = &self.request.topic;
        let found = offset_key.read().await?;
        if let Some(known) = found.filter(|known| known.progress.topic == topic.incarnation) {
            return Ok(known.progress.offset);
        }
        let partition = offset_key.partition;
        // The key is gone, and this member knew it: somebody deleted the bucket.
        if let Some(offset) = self.held().remembered.get(&partition) {
            return Ok(*offset);
        }
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

    /// The bucket is gone: it is made again, and what was held is taken anew.
    async fn mend(&self) {
        if let Err(error) = self.bucket.ensure(self.request.topic.spec.replicas).await {
            tracing::warn!("make the groups' bucket again: {error}");
            sleep_until(Instant::now() + RETRY_PAUSE).await;
        }
    }

    /// Gives everything back and ends the member.
    async fn leave(&self, revision: u64) {
        let leases = self.change(|held| {
            let partitions: Vec<Partition> = held.partitions.keys().copied().collect();
            partitions.into_iter().filter_map(|partition| held.forget(partition)).map(|part| part.lease).collect()
        });
        drop(self.release(leases));
        self.give_back().await;
        if let Err(error) = self.bucket.delete(revision).await {
            tracing::warn!("{}", error.at("leave the group", &self.request.group));
        }
        self.ring().await;
    }
}
