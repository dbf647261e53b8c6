//! Committed offsets: one key for each partition of a group, with the epoch that fences former owners.

use busline_core::{Error, ErrorKind, Offset, Partition, Result, not_owner};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::bucket::{Bucket, Entry, Expect, Put};

/// Writes that others may come between.
const TRIES_MAX: usize = 8;

/// The value of an offset key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The first offset that is not finished.
    pub(crate) offset: Offset,
    /// Rises with each owner.
    pub(crate) epoch: u64,
    /// Random, of the owner under this epoch: after a loss of power the server may give an epoch twice.
    pub(crate) owner: Uuid,
    /// The incarnation of the topic that the offset belongs to.
    pub(crate) topic: Uuid,
}

impl Progress {
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::new(ErrorKind::Internal, "Json").because(error).next("report this"))
    }
}

/// Where a member begins with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub(crate) offset: Offset,
    /// What the group had finished from here on is lost, and other records have its numbers, or will.
    pub(crate) lost: bool,
}

impl From<Offset> for Beginning {
    fn from(offset: Offset) -> Self {
        Self { offset, lost: false }
    }
}

/// A progress and the revision it was read or written under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) progress: Progress,
    pub(crate) revision: u64,
}

/// The offset key of one partition.
#[derive(Debug, Clone)]
pub(crate) struct OffsetKey {
    pub(crate) bucket: Bucket,
    pub(crate) key: String,
    pub(crate) partition: Partition,
}

impl OffsetKey {
    /// What the leader has.
    pub(crate) async fn read(&self) -> Result<Option<Known>> {
        self.bucket.get(&self.key).await?.map(|entry| known(&entry)).transpose()
    }

    /// When it was written, by the clock of the bucket's server.
    pub(crate) async fn written(&self) -> Result<Option<Timestamp>> {
        self.bucket.written(&self.key).await
    }

    /// Makes `owner` the owner under the next epoch: from then on no commit of a former owner is taken.
    ///
    /// `start` is where the group begins if it has no offset in this incarnation of the topic, or if it has one behind that
    /// and `lost` says that the partition lost what was there. The epoch is above `former`, one that this member had
    /// before: should somebody have deleted the key, its epochs begin anew.
    pub(crate) async fn fence(&self, owner: Uuid, topic: Uuid, start: Beginning, former: u64) -> Result<Known> {
        for _ in 0..TRIES_MAX {
            let before = self.read().await?;
            let revision = before.as_ref().map_or(0, |known| known.revision);
            let epoch = before.as_ref().map_or(0, |known| known.progress.epoch).max(former) + 1;
            let offset = before.filter(|known| known.progress.topic == topic);
            let offset = offset.map_or(start.offset, |known| match start.lost {
                true => known.progress.offset.min(start.offset),
                false => known.progress.offset,
            });
            let progress = Progress { offset, epoch, owner, topic };
            // A write without an answer is found by the next read, under an epoch that is used by nobody.
            if let Put::Stored(revision) = self.write(&progress, revision).await? {
                return Ok(Known { progress, revision });
            }
        }
        Err(contended(self.partition))
    }

    /// Stores an offset under the epoch of `known`, and gives what stands there then.
    ///
    /// # Errors
    /// `Fenced/NotOwner` if the key has another owner or epoch; `Unavailable/…`.
    pub(crate) async fn commit(&self, known: &Known, offset: Offset) -> Result<Known> {
        let mut known = known.clone();
        let mut last = contended(self.partition);
        for _ in 0..TRIES_MAX {
            if known.progress.offset >= offset {
                return Ok(known);
            }
            let progress = Progress { offset, ..known.progress.clone() };
            match self.write(&progress, known.revision).await {
                Ok(Put::Stored(revision)) => return Ok(Known { progress, revision }),
                Ok(Put::Conflict) => {}
                // Perhaps it was written.
                Err(error) if error.is_retryable() => last = error,
                Err(error) => return Err(error),
            }
            known = self.own(&known.progress).await?;
        }
        Err(last)
    }

    /// What stands there, if it is this owner's under this epoch: its own write whose answer was lost.
    async fn own(&self, is: &Progress) -> Result<Known> {
        let found = self.read().await?;
        let own = found.filter(|found| found.progress.owner == is.owner && found.progress.epoch == is.epoch);
        own.ok_or_else(|| not_owner(self.partition))
    }

    async fn write(&self, progress: &Progress, revision: u64) -> Result<Put> {
        self.bucket.put(&self.key, progress.encode()?, Expect::Revision(revision), None).await
    }
}

fn known(entry: &Entry) -> Result<Known> {
    let progress = serde_json::from_slice(&entry.value).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "GroupOffset")
            .cause(format!("the key {} cannot be read", entry.key))
            .because(error)
            .next("delete the key; the group then begins at its start")
    })?;
    Ok(Known { progress, revision: entry.revision })
}

fn contended(partition: Partition) -> Error {
    Error::new(ErrorKind::Unavailable, "GroupContended")
        .cause(format!("others kept writing the offset of partition {partition}"))
        .next("try again")
}
