//! The reading end: one member of a group.

use std::sync::{Arc, Mutex, PoisonError};

use busline_core::{
    BoxFuture, Commit, Error, ErrorKind, Offset, Partition, Result, Source, SourceEvent, SourceRequest, not_owner,
    source_closed,
};
use futures_util::StreamExt;
use futures_util::stream::iter;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::home::Home;
use crate::keeper::{keep, watch};
use crate::leases::Lease;
use crate::member::Member;
use crate::reader::read;
use crate::shadow::mirror;

/// Shortest lease: the server counts the lifetime of a key in whole seconds.
const LEASE_MIN: Duration = Duration::from_secs(1);

/// Offsets that are committed at once.
const COMMITS_AT_ONCE: usize = 64;

pub(crate) struct NatsSource {
    member: Arc<Member>,
    home: Arc<Home>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl NatsSource {
    /// Joins the group; the member's tasks run on the driver's thread. `shows_lag` says whether NATS' own tools are to see
    /// its lag.
    ///
    /// # Errors
    /// `Unsupported/Lease` under a second; `Unavailable/…`.
    pub(crate) async fn join(member: Member, home: Arc<Home>, shows_lag: bool) -> Result<Self> {
        check_lease(&member.request)?;
        let member = Arc::new(member);
        // If nobody awaits the end of this, the member's key runs out by itself.
        let joining = Arc::clone(&member);
        home.run(async move { joining.join().await }).await?;
        let runtime = home.runtime();
        let mut tasks = vec![
            runtime.spawn(keep(Arc::clone(&member))),
            runtime.spawn(watch(Arc::clone(&member))),
            runtime.spawn(read(Arc::clone(&member))),
        ];
        if shows_lag {
            tasks.push(runtime.spawn(mirror(Arc::clone(&member))));
        }
        Ok(Self { member, home, tasks: Mutex::new(tasks) })
    }

    fn take_event(&self, records_max: usize, bytes_max: usize) -> Result<Option<SourceEvent>> {
        let mut held = self.member.held();
        let had_room = held.has_room();
        let event = held.take_event(records_max, bytes_max);
        // A loss may be taken in now.
        self.member.note_until(&held);
        if event.is_none() {
            if let Some(error) = &held.ended {
                return Err(error.clone());
            }
            if self.member.is_closing() {
                return Err(source_closed());
            }
        }
        let has_room = held.has_room();
        drop(held);
        if has_room && !had_room {
            self.member.read.notify_one();
        }
        Ok(event)
    }

    fn change(&self, partitions: &[(Partition, u64)], change: impl Fn(&mut crate::held::Held, Partition, u64)) {
        self.member.change(|held| partitions.iter().for_each(|(of, generation)| change(held, *of, *generation)));
    }
}

fn check_lease(request: &SourceRequest) -> Result<()> {
    if request.lease >= LEASE_MIN {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, "Lease")
        .cause(format!("a lease of {:?}, and NATS counts in whole seconds", request.lease))
        .next("use a lease of at least 1 s")
        .at("subscribe", &request.topic.name))
}

impl Source for NatsSource {
    fn next(&self, records_max: usize, bytes_max: usize) -> BoxFuture<'_, Result<SourceEvent>> {
        Box::pin(async move {
            loop {
                let ready = self.member.ready.notified();
                if let Some(event) = self.take_event(records_max, bytes_max)? {
                    return Ok(event);
                }
                ready.await;
            }
        })
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'_, Vec<Result<()>>> {
        let (member, count) = (Arc::clone(&self.member), commits.len());
        let work = async move {
            let each = commits.into_iter().map(|one| member.commit(one));
            Ok(iter(each).buffered(COMMITS_AT_ONCE).collect::<Vec<_>>().await)
        };
        Box::pin(async move {
            self.home.run(work).await.unwrap_or_else(|error| (0..count).map(|_| Err(error.clone())).collect())
        })
    }

    fn pause(&self, partitions: &[(Partition, u64)]) {
        self.change(partitions, |held, partition, generation| held.pause(partition, generation));
    }

    fn resume(&self, partitions: &[(Partition, u64)]) {
        self.change(partitions, |held, partition, generation| {
            if let Some(part) = held.part(partition, generation) {
                part.paused = false;
            }
        });
    }

    fn seek(&self, partition: Partition, generation: u64, offset: Offset) -> BoxFuture<'_, Result<()>> {
        let moved = self.member.change(|held| held.seek(partition, generation, offset));
        Box::pin(async move { if moved { Ok(()) } else { Err(not_owner(partition)) } })
    }

    fn holds_until(&self) -> Option<Instant> {
        self.member.until.holds_until()
    }

    fn release(&self, partitions: Vec<(Partition, u64)>) -> BoxFuture<'_, Result<()>> {
        let leases: Vec<Lease> = self.member.change(|held| {
            // The member may hold it again already, under another generation.
            let released = |(partition, generation)| {
                held.part(partition, generation)?;
                held.forget(partition).map(|part| part.lease)
            };
            partitions.into_iter().filter_map(released).collect()
        });
        let answers = self.member.release(leases);
        Box::pin(async move {
            for answer in answers {
                // The keeper is gone only when the member has left.
                drop(answer.await);
            }
            Ok(())
        })
    }

    fn trouble(&self) -> Option<Error> {
        let held = self.member.held();
        held.keeping_trouble.clone().or_else(|| held.reading_trouble.clone())
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.member.end();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        Box::pin(async move {
            for mut task in tasks {
                if timeout_at(deadline, &mut task).await.is_err() {
                    // What it held runs out by itself.
                    task.abort();
                    drop(task.await);
                }
            }
            Ok(())
        })
    }
}

impl Drop for NatsSource {
    /// A source that was dropped instead of closed leaves its group all the same.
    fn drop(&mut self) {
        self.member.end();
    }
}

impl std::fmt::Debug for NatsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsSource").field("member", &self.member.request.member).finish_non_exhaustive()
    }
}
