//! The reading end: one member of a group, with a thread of its own for its beats and its reading.
//!
//! The thread is the bus's, so handlers that block every thread of the runtime cannot stop the beats.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use busline_core::{
    BEATS_PER_LEASE, Bounds, BoxFuture, Commit, Error, ErrorKind, Offset, Partition, ReadRequest, Result, Source,
    SourceEvent, SourceRequest, Stillness, Until, blocking, source_closed,
};
use rusqlite::Connection;
use tokio::sync::Notify;

use crate::committer::Committer;
use crate::groups::{self, Share};
use crate::held::Held;
use crate::readers::in_snapshot;
use crate::wake::Bell;
use crate::{records, topics};

/// Records and bytes read at once.
const PIECE_RECORDS: usize = 128;
const PIECE_BYTES: usize = 1 << 20;

/// Fifths of a lease after the last beat in which handlers may start. Others wait for a whole lease.
const START_FIFTHS: u32 = 3;

#[derive(Debug)]
pub(crate) struct SqliteSource {
    member: Arc<MemberState>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread and the source share.
#[derive(Debug)]
struct MemberState {
    request: SourceRequest,
    committer: Arc<Committer>,
    bell: Bell,
    ready: Notify,
    closing: AtomicBool,
    held: Mutex<Held>,
    /// Until when what is held may be worked on, as `held` has it.
    until: Until,
}

impl SqliteSource {
    /// Joins the group on this reading connection.
    pub(crate) async fn join(
        committer: Arc<Committer>,
        connection: Connection,
        request: SourceRequest,
    ) -> Result<Self> {
        let member = Arc::new(MemberState {
            request,
            committer,
            bell: Bell::new()?,
            ready: Notify::new(),
            closing: AtomicBool::new(false),
            held: Mutex::default(),
            until: Until::default(),
        });
        // Before the group is joined: if nobody awaits the end of that, the thread leaves the group again.
        let source = Self { member: Arc::clone(&member), thread: Mutex::new(None) };
        let (start, started) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("busline-member".into())
            .spawn({
                let member = Arc::clone(&member);
                move || {
                    let _: std::result::Result<(), _> = started.recv();
                    member.run(&connection);
                }
            })
            .map_err(|error| Error::new(ErrorKind::Unavailable, "Threads").because(error).next("allow more threads"))?;
        *source.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        let joining = Arc::clone(&member);
        member
            .committer
            .change_group(move |connection| groups::join(connection, &joining.request, joining.bell.name()))
            .await?;
        drop(start);
        Ok(source)
    }
}

impl MemberState {
    fn run(&self, connection: &Connection) {
        let beat_every = self.request.lease / BEATS_PER_LEASE;
        let mut stillness = Stillness::new(beat_every * 3 / 2);
        let mut next_beat = Instant::now();
        let mut last: Partition = Partition(0);
        while !self.closing.load(Ordering::Acquire) {
            let now = Instant::now();
            if now >= next_beat {
                next_beat = now + beat_every;
                match self.beat(&mut stillness) {
                    // Whoever was found dead is ended by the next beat, which need not wait.
                    Ok(()) if !self.dead(&stillness).is_empty() => next_beat = now,
                    Ok(()) => {}
                    Err(error) => self.trouble(error),
                }
            }
            match self.read_piece(connection, &mut last) {
                Ok(true) => {}
                Ok(false) => {
                    if self.bell.wait(next_beat.saturating_duration_since(Instant::now())) {
                        next_beat = Instant::now();
                    }
                }
                Err(error) => {
                    self.trouble(error);
                    self.bell.wait(beat_every);
                }
            }
        }
        // Here, because a beat that comes after the leave would make the member anew.
        if let Err(error) = self.leave() {
            tracing::warn!("{}", error.at("leave the group", &self.request.group));
        }
    }

    /// Ends the member and frees what it holds.
    fn leave(&self) -> Result<()> {
        let request = self.request.clone();
        let left = self.committer.change_group_blocking(move |connection| {
            let topic_id = topics::id(connection, &request.topic)?;
            groups::end_member(connection, &request.group, topic_id, &request.member)
        });
        match left {
            // A topic that is gone has taken its groups along.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            left => left,
        }
    }

    /// Ends the thread, which leaves the group.
    fn end(&self) {
        self.closing.store(true, Ordering::Release);
        self.bell.ring();
        self.ready.notify_one();
    }

    /// A topic that is gone ends the source; anything else is tried again at the next beat.
    fn trouble(&self, error: Error) {
        let error = error.at("read", &self.request.topic.name);
        if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Closed | ErrorKind::Corrupt) {
            self.held().end(error);
            self.closing.store(true, Ordering::Release);
            self.ready.notify_one();
        } else {
            tracing::warn!("{error}");
        }
    }

    /// Beats, looks at the others, ends those that are dead, and takes or gives up partitions.
    fn beat(&self, stillness: &mut Stillness) -> Result<()> {
        // The lease runs from here: the process may be frozen before the answer comes.
        let sent = Instant::now();
        let dead = self.dead(stillness);
        let known = self.held().shares();
        let request = self.request.clone();
        let wake = self.bell.name().to_owned();
        let look = self.committer.write_blocking(move |connection| {
            let topic_id = topics::id(connection, &request.topic)?;
            let alive = groups::beat(connection, &request)?;
            if !alive {
                groups::join(connection, &request, &wake)?;
            }
            let mut members = groups::beats(connection, &request.group, topic_id)?;
            for (member, beat) in &dead {
                if members.contains(&(member.clone(), *beat)) && *member != request.member {
                    groups::end_member(connection, &request.group, topic_id, member)?;
                    members.retain(|(name, _)| name != member);
                }
            }
            let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
            let share = groups::balance(connection, &request, &names, &known)?;
            Ok((members, share))
        })?;
        let (members, share) = look;
        stillness.look(members.iter().map(|(member, beat)| (member.as_str(), *beat)), sent.into());
        self.take(share, sent);
        Ok(())
    }

    /// Members whose beats have stood still for a lease, give or take half a beat, with the beat they stand at.
    fn dead(&self, stillness: &Stillness) -> Vec<(String, u64)> {
        let still = stillness.still(self.request.lease * 9 / 10);
        still.map(|(member, beat)| (member.to_owned(), beat)).collect()
    }

    /// Turns a look into events.
    fn take(&self, share: Share, sent: Instant) {
        let mut held = self.held();
        held.take(share, (sent + self.request.lease * START_FIFTHS / 5).into());
        self.until.set(held.term());
        drop(held);
        self.ready.notify_one();
    }

    /// Reads the next piece of some partition; gives whether there was one.
    fn read_piece(&self, connection: &Connection, last: &mut Partition) -> Result<bool> {
        let reads = self.held().next_reads(*last);
        for (partition, generation, from) in reads {
            let request = ReadRequest {
                partition,
                from,
                to: Offset(u64::MAX),
                records_max: PIECE_RECORDS,
                bytes_max: PIECE_BYTES,
            };
            let read =
                in_snapshot(connection, |connection| records::read(connection, &self.request.topic.name, &request));
            let records = match read {
                Err(error) if error.reason() == "Locked" => return Ok(false),
                read => read?,
            };
            if records.is_empty() {
                self.skip_deleted(connection, partition, generation, from)?;
                continue;
            }
            *last = partition;
            if self.held().add(partition, generation, from, records) {
                self.ready.notify_one();
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Where nothing is left to read, a gap is told as well.
    fn skip_deleted(&self, connection: &Connection, partition: Partition, generation: u64, from: Offset) -> Result<()> {
        let (_, Bounds { start, .. }) = topics::partition(connection, &self.request.topic.name, partition)?;
        if self.held().skip(partition, generation, from, start) {
            self.ready.notify_one();
        }
        Ok(())
    }

    fn take_event(&self, records_max: usize, bytes_max: usize) -> Result<Option<SourceEvent>> {
        let mut held = self.held();
        let event = held.next_event(records_max, bytes_max);
        // A loss may be taken in now.
        self.until.set(held.term());
        if event.is_none() {
            held.check_open()?;
        }
        if event.is_none() && self.closing.load(Ordering::Acquire) {
            return Err(source_closed());
        }
        // Not for each piece: a ring costs a system call and mostly the wake-up of a core.
        let read_on = held.wants_more();
        drop(held);
        if read_on {
            self.bell.ring();
        }
        Ok(event)
    }

    fn set_paused(&self, partitions: &[(Partition, u64)], paused: bool) {
        self.held().set_paused(partitions, paused);
        self.bell.ring();
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for SqliteSource {
    fn next(&self, records_max: usize, bytes_max: usize) -> BoxFuture<'_, Result<SourceEvent>> {
        Box::pin(async move {
            loop {
                let ready = self.member.ready.notified();
                if let Some(event) = self.member.take_event(records_max, bytes_max)? {
                    return Ok(event);
                }
                ready.await;
            }
        })
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'_, Vec<Result<()>>> {
        let member = Arc::clone(&self.member);
        Box::pin(async move {
            let count = commits.len();
            let request = member.request.clone();
            let commit = move |connection: &Connection| groups::commit(connection, &request, &commits);
            match member.committer.write(commit).await {
                Ok(outcomes) => outcomes,
                Err(error) => vec![Err(error); count],
            }
        })
    }

    fn pause(&self, partitions: &[(Partition, u64)]) {
        self.member.set_paused(partitions, true);
    }

    fn resume(&self, partitions: &[(Partition, u64)]) {
        self.member.set_paused(partitions, false);
    }

    fn seek(&self, partition: Partition, generation: u64, offset: Offset) -> BoxFuture<'_, Result<()>> {
        let moved = self.member.held().seek(partition, generation, offset);
        self.member.bell.ring();
        Box::pin(async move { moved })
    }

    fn holds_until(&self) -> Option<tokio::time::Instant> {
        self.member.until.holds_until()
    }

    fn release(&self, partitions: Vec<(Partition, u64)>) -> BoxFuture<'_, Result<()>> {
        self.member.held().forget(&partitions);
        let request = self.member.request.clone();
        let release = move |connection: &Connection| groups::release(connection, &request, &partitions);
        Box::pin(async move { self.member.committer.change_group(release).await })
    }

    fn trouble(&self) -> Option<Error> {
        self.member.committer.trouble()
    }

    fn close(&self, _deadline: tokio::time::Instant) -> BoxFuture<'_, Result<()>> {
        self.member.end();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            let Some(thread) = thread else { return Ok(()) };
            blocking(move || {
                drop(thread.join());
                Ok(())
            })
            .await
        })
    }
}

impl Drop for SqliteSource {
    /// A source that was dropped instead of closed leaves its group all the same, by its thread.
    fn drop(&mut self) {
        self.member.end();
    }
}
