//! Leases: who holds a partition, in keys that the server deletes by itself when they are not renewed.

use std::time::Duration;

use busline_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use crate::bucket::{Bucket, Entry, Expect, Put};

/// The value of a lease key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The member's name.
    pub(crate) member: String,
    /// Random, of one life of the member.
    pub(crate) owner: Uuid,
    /// The epoch of its offset key; 0 until it has fenced it.
    pub(crate) epoch: u64,
}

impl Holder {
    /// `None`: a value that is none of ours, which holds the key all the same.
    pub(crate) fn of(entry: &Entry) -> Option<Self> {
        serde_json::from_slice(&entry.value).ok()
    }
}

/// A lease that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) revision: u64,
    /// When the server may have deleted it: a lease runs from *sending* its renewal, since the answer may be late.
    pub(crate) until: Instant,
}

/// How a renewal ended that got an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewed {
    Held(Lease),
    /// It expired, and perhaps somebody else has it.
    Lost,
}

/// The lease key of one partition.
#[derive(Debug, Clone)]
pub(crate) struct LeaseKey {
    pub(crate) bucket: Bucket,
    pub(crate) key: String,
    pub(crate) lifetime: Duration,
}

impl LeaseKey {
    /// Takes the lease if it stands at this revision, 0 for none; `None` if somebody else was quicker.
    pub(crate) async fn take(&self, holder: &Holder, revision: u64) -> Result<Option<Lease>> {
        let sent = Instant::now();
        match self.write(holder, revision).await? {
            Put::Stored(revision) => Ok(Some(Lease { revision, until: sent + self.lifetime })),
            Put::Conflict => Ok(None),
        }
    }

    /// Lengthens a lease that is held.
    pub(crate) async fn renew(&self, holder: &Holder, lease: Lease) -> Result<Renewed> {
        let sent = Instant::now();
        if let Put::Stored(revision) = self.write(holder, lease.revision).await? {
            return Ok(Renewed::Held(Lease { revision, until: sent + self.lifetime }));
        }
        // Perhaps an earlier renewal was stored and its answer was lost.
        let found = self.bucket.get(&self.key).await?;
        match found.filter(|found| Holder::of(found).is_some_and(|found| found.owner == holder.owner)) {
            Some(found) => self.renew_own(holder, found.revision).await,
            None => Ok(Renewed::Lost),
        }
    }

    async fn renew_own(&self, holder: &Holder, revision: u64) -> Result<Renewed> {
        Ok(self.take(holder, revision).await?.map_or(Renewed::Lost, Renewed::Held))
    }

    async fn write(&self, holder: &Holder, revision: u64) -> Result<Put> {
        let value = serde_json::to_vec(holder)
            .map_err(|error| Error::new(ErrorKind::Internal, "Json").because(error).next("report this"))?;
        self.bucket.put(&self.key, value, Expect::Revision(revision), Some(self.lifetime)).await
    }
}
