//! The keeper of a member: it renews what the member holds, and takes and gives up partitions.
//!
//! Only the keeper writes leases, so a renewal and a release never cross. It runs on the driver's thread: handlers that
//! block every thread of the caller's runtime cannot stop it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use busline_core::{BEATS_PER_LEASE, Commit, ErrorKind, Partition, Result, topic_not_found};
use futures_util::StreamExt;
use futures_util::stream::iter;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::bucket::BUCKET_GONE;
use crate::leases::{Lease, Renewed};
use crate::member::{AT_ONCE, Member};
use crate::topics;

/// Pause after a beat that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Keeps the member's leases until it closes, each beat renewing all of them, and then leaves the group.
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
            member.give_and_take().await
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
        self.give_and_take().await
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

    async fn give_and_take(&self) -> Result<()> {
        self.give_back().await;
        self.look_around().await
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
