//! The reading end: one member of a group, with a thread of its own for its beats and its reading.
//!
//! The thread is the bus's, so handlers that block every thread of the runtime cannot stop the beats.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use busline_core::{
    Assignment, Bounds, BoxFuture, Commit, Error, ErrorKind, Offset, Partition, ReadRequest, Record, Result, Source,
    SourceEvent, SourceRequest, Term, Until, not_owner,
};
use rusqlite::Connection;
use tokio::sync::Notify;

use crate::committer::Committer;
use crate::groups::{self, Share};
use crate::readers::in_snapshot;
use crate::wake::Bell;
use crate::{records, topics};

/// Records read at once, and pieces read ahead of the subscription.
const PIECE_RECORDS: usize = 128;
const PIECE_BYTES: usize = 1 << 20;
const PIECES_AHEAD: usize = 16;

/// Beats in one lease: a member beats this often before others may take it for dead.
const BEATS_PER_LEASE: u32 = 5;

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
    state: Mutex<State>,
    /// Until when what is held may be worked on, as the state has it.
    until: Until,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<SourceEvent>,
    reading: BTreeMap<Partition, Reading>,
    /// Pieces of records among the events.
    pieces: usize,
    /// When this member's share ends unless it beats again; `None` before the first beat.
    ends: Option<tokio::time::Instant>,
    /// The thread has read ahead as far as it may, and is to be woken once much of it was taken.
    has_enough: bool,
    ended: Option<Error>,
}

#[derive(Debug)]
struct Reading {
    generation: u64,
    next: Offset,
    paused: bool,
    revoking: bool,
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
            state: Mutex::default(),
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
        let mut liveness = Liveness::default();
        let mut next_beat = Instant::now();
        let mut last: Partition = Partition(0);
        while !self.closing.load(Ordering::Acquire) {
            let now = Instant::now();
            if now >= next_beat {
                next_beat = now + beat_every;
                match self.beat(&mut liveness) {
                    // Whoever was found dead is ended by the next beat, which need not wait.
                    Ok(()) if !liveness.dead().is_empty() => next_beat = now,
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
            self.state().ended = Some(error);
            self.closing.store(true, Ordering::Release);
            self.ready.notify_one();
        } else {
            tracing::warn!("{error}");
        }
    }

    /// Beats, looks at the others, ends those that are dead, and takes or gives up partitions.
    fn beat(&self, liveness: &mut Liveness) -> Result<()> {
        // The lease runs from here: the process may be frozen before the answer comes.
        let sent = Instant::now();
        let dead = liveness.dead();
        let known: Vec<(Partition, u64)> =
            self.state().reading.iter().map(|(partition, reading)| (*partition, reading.generation)).collect();
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
        liveness.look(members, sent, self.request.lease / BEATS_PER_LEASE);
        self.take(share, sent);
        Ok(())
    }

    /// Turns a look into events.
    fn take(&self, share: Share, sent: Instant) {
        let mut state = self.state();
        let lost: Vec<Partition> = state
            .reading
            .iter()
            .filter(|(partition, reading)| !share.held.contains(&(**partition, reading.generation)))
            .map(|(partition, _)| *partition)
            .collect();
        if !lost.is_empty() {
            lost.iter().for_each(|partition| state.forget(*partition));
            state.events.push_back(SourceEvent::Lost(lost));
        }
        state.ends = Some((sent + self.request.lease * START_FIFTHS / 5).into());
        self.note_until(&state);
        let give: Vec<Partition> = share
            .to_give
            .into_iter()
            .filter(|partition| state.reading.get(partition).is_some_and(|reading| !reading.revoking))
            .collect();
        for partition in &give {
            if let Some(reading) = state.reading.get_mut(partition) {
                reading.revoking = true;
            }
        }
        if !give.is_empty() {
            state.events.push_back(SourceEvent::Revoking(give));
        }
        if !share.taken.is_empty() {
            for Assignment { partition, generation, committed } in &share.taken {
                let reading = Reading { generation: *generation, next: *committed, paused: false, revoking: false };
                state.reading.insert(*partition, reading);
            }
            state.events.push_back(SourceEvent::Assigned(share.taken));
        }
        drop(state);
        self.ready.notify_one();
    }

    fn note_until(&self, state: &State) {
        // A beat is good for what is taken from then on, not for what was held before a loss that was not told.
        self.until.set(match state.ends {
            None => Term::None,
            Some(_) if state.has_untold_loss() => Term::Over,
            Some(ends) => Term::At(ends),
        });
    }

    /// Reads the next piece of some partition; gives whether there was one.
    fn read_piece(&self, connection: &Connection, last: &mut Partition) -> Result<bool> {
        for (partition, generation, from) in self.to_read(*last) {
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
            self.hand_over(partition, generation, from, records);
            return Ok(true);
        }
        Ok(false)
    }

    /// Partitions to read, beginning behind the last one read; none while enough is read ahead.
    fn to_read(&self, last: Partition) -> Vec<(Partition, u64, Offset)> {
        let mut state = self.state();
        state.has_enough = state.pieces >= PIECES_AHEAD;
        if state.has_enough {
            return Vec::new();
        }
        let open = |(_, reading): &(&Partition, &Reading)| !reading.paused && !reading.revoking;
        let mut to_read: Vec<_> = state
            .reading
            .iter()
            .filter(open)
            .map(|(partition, reading)| (*partition, reading.generation, reading.next))
            .collect();
        let after = to_read.partition_point(|(partition, ..)| *partition <= last);
        to_read.rotate_left(after);
        to_read
    }

    /// Where nothing is left to read, a gap is told as well.
    fn skip_deleted(&self, connection: &Connection, partition: Partition, generation: u64, from: Offset) -> Result<()> {
        let (_, Bounds { start, .. }) = topics::partition(connection, &self.request.topic.name, partition)?;
        let mut state = self.state();
        let Some(reading) = state.reading.get_mut(&partition) else { return Ok(()) };
        if start <= from || reading.generation != generation || reading.next != from {
            return Ok(());
        }
        reading.next = start;
        state.events.push_back(SourceEvent::Gap { partition, from, to: start });
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// Queues a piece, unless the partition was lost or moved while it was read.
    fn hand_over(&self, partition: Partition, generation: u64, from: Offset, records: Vec<Record>) {
        let mut state = self.state();
        let Some(reading) = state.reading.get_mut(&partition) else { return };
        if reading.generation != generation || reading.next != from {
            return;
        }
        let (Some(first), Some(newest)) = (records.first(), records.last()) else { return };
        let first = first.offset;
        reading.next = newest.offset.next();
        if first > from {
            // Offsets are dense and a missing record is damage, so these were trimmed before the group had read them.
            state.events.push_back(SourceEvent::Gap { partition, from, to: first });
        }
        state.pieces += 1;
        state.events.push_back(SourceEvent::Records { generation, records });
        drop(state);
        self.ready.notify_one();
    }

    fn take_event(&self, records_max: usize, bytes_max: usize) -> Result<Option<SourceEvent>> {
        let mut state = self.state();
        let event = match state.pop_event(records_max) {
            Some(SourceEvent::Records { generation, records }) => {
                let (first, rest) = split(records, records_max, bytes_max);
                if rest.is_empty() {
                    state.pieces -= 1;
                } else {
                    state.events.push_front(SourceEvent::Records { generation, records: rest });
                }
                Some(SourceEvent::Records { generation, records: first })
            }
            Some(event @ SourceEvent::Lost(_)) => {
                self.note_until(&state);
                Some(event)
            }
            None if state.ended.is_some() => return Err(state.ended.clone().unwrap_or_else(source_closed)),
            None if self.closing.load(Ordering::Acquire) => return Err(source_closed()),
            other => other,
        };
        // Not for each piece: a ring costs a system call and mostly the wake-up of a core.
        let read_on = state.has_enough && state.pieces <= PIECES_AHEAD / 2;
        state.has_enough &= !read_on;
        drop(state);
        if read_on {
            self.bell.ring();
        }
        Ok(event)
    }

    fn set_paused(&self, partitions: &[(Partition, u64)], paused: bool) {
        let mut state = self.state();
        for (partition, generation) in partitions {
            if let Some(reading) = state.reading.get_mut(partition).filter(|held| held.generation == *generation) {
                reading.paused = paused;
                if paused {
                    state.take_back(*partition);
                }
            }
        }
        drop(state);
        self.bell.ring();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next event; without room for records the next one that is none.
    fn pop_event(&mut self, records_max: usize) -> Option<SourceEvent> {
        if records_max > 0 {
            return self.events.pop_front();
        }
        let place = self.events.iter().position(|event| !matches!(event, SourceEvent::Records { .. }))?;
        self.events.remove(place)
    }

    /// Whether a loss was found that the subscription has not heard of.
    fn has_untold_loss(&self) -> bool {
        self.events.iter().any(|event| matches!(event, SourceEvent::Lost(_)))
    }

    /// Forgets a partition and what was read of it.
    fn forget(&mut self, partition: Partition) {
        self.reading.remove(&partition);
        self.drop_pieces(partition);
    }

    /// Drops what was read ahead of a partition; it is read again from there.
    fn take_back(&mut self, partition: Partition) {
        let first = self.events.iter().find_map(|event| read_of(event, partition));
        self.drop_pieces(partition);
        if let Some((first, reading)) = first.zip(self.reading.get_mut(&partition)) {
            reading.next = first;
        }
    }

    fn drop_pieces(&mut self, partition: Partition) {
        let before = self.pieces();
        self.events.retain(|event| read_of(event, partition).is_none());
        self.pieces -= before - self.pieces();
    }

    fn pieces(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, SourceEvent::Records { .. })).count()
    }
}

/// Where what this event says of a partition's records begins; `None` if it says nothing of them.
fn read_of(event: &SourceEvent, partition: Partition) -> Option<Offset> {
    match event {
        SourceEvent::Records { records, .. } => {
            records.first().filter(|record| record.partition == partition).map(|record| record.offset)
        }
        SourceEvent::Gap { partition: of, from, .. } => (*of == partition).then_some(*from),
        _ => None,
    }
}

/// The first records within the bounds, at least one, and the rest.
fn split(mut records: Vec<Record>, records_max: usize, bytes_max: usize) -> (Vec<Record>, Vec<Record>) {
    let mut room = bytes_max;
    let mut count = 0;
    for record in &records {
        if count >= records_max.max(1) || (room == 0 && count > 0) {
            break;
        }
        room = room.saturating_sub(record.key.len() + record.body.len());
        count += 1;
    }
    let rest = records.split_off(count);
    (records, rest)
}

fn source_closed() -> Error {
    Error::new(ErrorKind::Closed, "Source").cause("the source is closed").next("subscribe again")
}

/// How long the beats of the other members have stood still, by this member's own clock and looks.
///
/// A frozen machine steals no lease: a look that comes late proves nothing about the others, so it begins the count anew.
#[derive(Debug, Default)]
struct Liveness {
    seen: HashMap<String, (u64, u32)>,
    last_look: Option<Instant>,
}

impl Liveness {
    /// Notes the beats of a look. One that comes early, because a group has changed, counts for nobody's end.
    fn look(&mut self, members: Vec<(String, u64)>, now: Instant, beat_every: Duration) {
        let since = self.last_look.map(|last| now.duration_since(last));
        let early = since.is_some_and(|since| since < beat_every * 9 / 10);
        let late = since.is_none_or(|since| since > beat_every * 3 / 2);
        if !early {
            self.last_look = Some(now);
        }
        let before = std::mem::take(&mut self.seen);
        for (member, beat) in members {
            let still = match before.get(&member) {
                Some((known, still)) if *known == beat && !late => still + u32::from(!early),
                _ => 0,
            };
            self.seen.insert(member, (beat, still));
        }
    }

    /// Members whose beats have stood still for a whole lease of looks.
    fn dead(&self) -> Vec<(String, u64)> {
        let dead = self.seen.iter().filter(|(_, (_, still))| *still >= BEATS_PER_LEASE);
        dead.map(|(member, (beat, _))| (member.clone(), *beat)).collect()
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
        let mut state = self.member.state();
        let moved = match state.reading.get_mut(&partition) {
            Some(reading) if reading.generation == generation && !reading.revoking => {
                reading.next = offset;
                state.drop_pieces(partition);
                Ok(())
            }
            _ => Err(not_owner(partition)),
        };
        drop(state);
        self.member.bell.ring();
        Box::pin(async move { moved })
    }

    fn holds_until(&self) -> Option<tokio::time::Instant> {
        self.member.until.holds_until()
    }

    fn release(&self, partitions: Vec<(Partition, u64)>) -> BoxFuture<'_, Result<()>> {
        let mut state = self.member.state();
        for (partition, generation) in &partitions {
            // The member may hold it again already, under another generation.
            if state.reading.get(partition).is_some_and(|reading| reading.generation == *generation) {
                state.forget(*partition);
            }
        }
        drop(state);
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
            crate::driver::blocking(move || {
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

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(1);

    fn still(beat: u64) -> Vec<(String, u64)> {
        vec![("other".into(), beat)]
    }

    #[test]
    fn a_member_is_dead_after_five_punctual_looks_at_the_same_beat() {
        let (mut liveness, start) = (Liveness::default(), Instant::now());
        for look in 0..=5 {
            assert!(liveness.dead().is_empty(), "after {look} looks");
            liveness.look(still(7), start + BEAT * look, BEAT);
        }
        assert_eq!(liveness.dead(), still(7));
        liveness.look(still(8), start + BEAT * 6, BEAT);
        assert!(liveness.dead().is_empty());
    }

    #[test]
    fn a_frozen_machine_steals_no_lease() {
        let (mut liveness, start) = (Liveness::default(), Instant::now());
        for look in 0..5 {
            liveness.look(still(7), start + BEAT * look, BEAT);
        }
        liveness.look(still(7), start + BEAT * 60, BEAT);
        assert!(liveness.dead().is_empty());
    }
}
