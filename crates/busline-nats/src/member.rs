//! One member of a group: what its keeper, its reader and the subscription share, and what it writes in its own name.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use busline_core::{Commit, Error, ErrorKind, Partition, Result, SourceRequest, Stillness, Until, not_owner};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::admin::Admin;
use crate::bucket::{Bucket, Expect, Put};
use crate::dialer::Dialer;
use crate::held::Held;
use crate::keys::Keys;
use crate::leases::{Holder, Lease, LeaseKey};
use crate::offsets::OffsetKey;

/// Keys that are written at once.
pub(crate) const AT_ONCE: usize = 64;

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
    pub(crate) stillness: Mutex<Stillness>,
    pub(crate) releases: Mutex<Vec<Release>>,
    /// There is something to say to the subscription.
    pub(crate) ready: Notify,
    /// There is something for the reader.
    pub(crate) read: Notify,
    /// There is something for the keeper.
    pub(crate) tend: Notify,
    /// Something is held whose lease may run out.
    pub(crate) watched: Notify,
    /// The member leaves.
    pub(crate) left: Notify,
    closing: AtomicBool,
}

/// A lease to give back.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) lease: Lease,
    pub(crate) done: oneshot::Sender<()>,
}

impl Member {
    pub(crate) fn new(request: SourceRequest, admin: Admin, dialer: Arc<Dialer>) -> Self {
        let keys = Keys::new(&request.group, &request.topic.name);
        Self {
            keys,
            bucket: Bucket::new(admin.clone()),
            admin,
            dialer,
            stillness: Mutex::new(Stillness::new(request.lease / 2)),
            request,
            owner: Uuid::from_bytes(rand::random()),
            held: Mutex::default(),
            until: Until::default(),
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

    /// Has to follow each change of a lease and each loss that was taken in.
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

    pub(crate) fn lease_key(&self, partition: Partition) -> LeaseKey {
        LeaseKey { bucket: self.bucket.clone(), key: self.keys.lease(partition), lifetime: self.request.lease }
    }

    pub(crate) fn holder(&self, epoch: u64) -> Holder {
        Holder { member: self.request.member.clone(), owner: self.owner, epoch }
    }

    /// Tells the other members that there is something to look at. A bell that is not heard costs them a beat.
    pub(crate) async fn ring(&self) {
        drop(self.admin.client().publish(self.keys.bell(), bytes::Bytes::new()).await);
    }

    pub(crate) async fn show_up(&self) -> Result<u64> {
        let key = self.keys.member(&self.request.member);
        let value = self.owner.as_bytes().to_vec();
        match self.bucket.put(&key, value, Expect::Anything, Some(self.request.lease)).await? {
            Put::Stored(revision) => Ok(revision),
            Put::Conflict => Ok(0),
        }
    }
}
