//! The task that owns the parking partitions of a subscription: takes them over, writes entries, reads what others wrote,
//! trims.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::entry::{Diagnosis, ParkedScope, Token};
use super::gate::Awaiting;
use super::log::{LogState, Way};
use super::owner::{Cause, Item, Kind, Owned, Parking, State};
use super::page::{read_page, was_trimmed};
use super::parcel::Parcel;
use super::writer::Outgoing;
use crate::clock::{Clock, SystemClock};
use crate::error::Result;
use crate::record::Record;
use crate::subscription::engine::Engine;
use crate::subscription::lanes::{End, Ticket};
use crate::topic::Partition;

/// Pause between two looks at what others wrote, while something is parked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The same while a partition waits for a key to be released.
const LOOK_EVERY_FULL: Duration = Duration::from_millis(100);

/// Pauses before what failed is tried again: the first, and the longest.
const AGAIN_MIN: Duration = Duration::from_millis(50);
const AGAIN_MAX: Duration = Duration::from_secs(2);

/// Entries after which a long-lived owner makes itself a place to trim to.
const ENTRIES_PER_CUT: u64 = 1_024;

/// Works until the subscription has closed and nothing is left to be parked.
pub(crate) async fn keep(engine: Arc<Engine>) {
    let Some(parking) = &engine.parking else { return };
    let mut again = AGAIN_MIN;
    let mut next_look = Instant::now();
    loop {
        let is_looking = Instant::now() >= next_look;
        let done = step(&engine, parking, is_looking).await;
        parking.with(|state| state.note(&done));
        if parking.is_ending() && !matches!(done, Ok(Next::AtOnce)) {
            // What is left comes again elsewhere.
            return parking.with(|state| state.queue.clear());
        }
        if is_looking {
            let is_full = parking.with(|state| state.owned.values().any(|owned| owned.is_full));
            next_look = Instant::now() + if is_full { LOOK_EVERY_FULL } else { LOOK_EVERY };
        }
        let until = match done {
            Ok(Next::AtOnce) => continue,
            Ok(Next::WhenWoken) => {
                again = AGAIN_MIN;
                next_look
            }
            Err(error) => {
                tracing::warn!("parking of {}: {error}", engine.place.topic);
                let due = Instant::now() + again;
                again = (again * 2).min(AGAIN_MAX);
                tokio::time::sleep_until(due).await;
                continue;
            }
        };
        drop(timeout_at(until, parking.wake.notified()).await);
    }
}

/// When the next step is to be made.
enum Next {
    AtOnce,
    WhenWoken,
}

async fn step(engine: &Engine, parking: &Parking, is_looking: bool) -> Result<Next> {
    let held = engine.with_lanes(|lanes| lanes.shares());
    parking.with(|state| state.keep_only(&held));
    let taken = take_over(engine, parking).await?;
    let written = write_round(engine, parking).await?;
    if is_looking {
        look(engine, parking).await?;
    }
    Ok(if taken || written { Next::AtOnce } else { Next::WhenWoken })
}

/// Takes over the partitions that wait for it; gives whether there were any.
///
/// # Source
/// decisions.md section 9, rules 1 and 2.
async fn take_over(engine: &Engine, parking: &Parking) -> Result<bool> {
    let awaiting = engine.with_lanes(|lanes| lanes.awaiting());
    if awaiting.is_empty() || !engine.is_held() {
        return Ok(false);
    }
    let tokens: Vec<Token> = awaiting.iter().map(|_| Token::random()).collect();
    let entries: Vec<Outgoing> = awaiting
        .iter()
        .zip(&tokens)
        .map(|(Awaiting { partition, .. }, token)| parking.writer.control(*partition, "owner", *token))
        .collect();
    let outcomes = parking.writer.write(&entries).await;
    for ((awaiting, token), outcome) in awaiting.iter().zip(tokens).zip(outcomes) {
        outcome?;
        begin(engine, parking, awaiting, token).await?;
        let is_foreign = parking.with(|state| state.is_foreign(awaiting.partition));
        if !is_foreign {
            engine.with_lanes(|lanes| lanes.admit(awaiting.partition, awaiting.generation));
        }
    }
    engine.apply_pauses();
    Ok(true)
}

/// Reads a partition up to one's own `owner` entry.
async fn begin(engine: &Engine, parking: &Parking, awaiting: &Awaiting, token: Token) -> Result<()> {
    let Awaiting { partition, generation } = *awaiting;
    let has_begun = |state: &State| state.owned.get(&partition).is_none_or(|owned| owned.has_begun);
    loop {
        let owned = Owned::new(generation, token, LogState::new(parking.source.incarnation));
        parking.with(|state| state.owned.insert(partition, owned));
        catch_up(engine, parking, partition, Some(&has_begun)).await?;
        let first = parking.with(|state| state.owned.get(&partition).and_then(|owned| owned.first));
        // The owner before may not know yet that it is none, and trim.
        if !was_trimmed(&*engine.driver, &parking.topic.name, partition, first).await? {
            return Ok(());
        }
    }
}

/// Reads a partition until `is_enough`, or to its end.
async fn catch_up(
    engine: &Engine,
    parking: &Parking,
    partition: Partition,
    is_enough: Option<&(dyn Fn(&State) -> bool + Sync)>,
) -> Result<()> {
    loop {
        let Some(from) = parking.with(|state| state.owned.get(&partition).map(|owned| owned.next)) else {
            return Ok(());
        };
        let records = read_page(&*engine.driver, &parking.topic.name, partition, from).await?;
        let is_end = records.is_empty();
        let (has_enough, is_foreign) = parking.with(|state| {
            if let Some(owned) = state.owned.get_mut(&partition) {
                owned.apply(&records);
            }
            (is_enough.map_or(is_end, |is_enough| is_enough(state)), state.is_foreign(partition))
        });
        if is_foreign {
            // Another member wrote as owner behind us: begin again, if the lease stands.
            engine.with_lanes_of(&[partition], |lanes| lanes.await_parking(partition));
            engine.apply_pauses();
            return Ok(());
        }
        if has_enough {
            return Ok(());
        }
        if is_end {
            let held = engine.with_lanes(|lanes| lanes.shares());
            if !parking.with(|state| state.is_held(partition, &held)) {
                // Whoever owns it now may have trimmed what is looked for.
                return Ok(());
            }
            // It was acked, so it is there; the backend may need a moment to show it.
            tokio::time::sleep(SHOWN_AGAIN).await;
        }
    }
}

/// Pause before an acked entry is looked for again.
const SHOWN_AGAIN: Duration = Duration::from_millis(2);

/// Parks what is queued, one item of a key at most; gives whether anything came of it.
///
/// # Source
/// Promise C7; decisions.md section 9, rules 2 to 4.
async fn write_round(engine: &Engine, parking: &Parking) -> Result<bool> {
    let items = parking.with(State::take_ready);
    if items.is_empty() {
        return Ok(false);
    }
    let items = drop_orphans(engine, items);
    let behind: BTreeSet<Partition> = items.iter().filter(|item| item.is_behind()).map(Item::partition).collect();
    for partition in behind {
        // Replayers may have emptied a key's queue; then its next record runs.
        if let Err(error) = catch_up(engine, parking, partition, None).await {
            put_back(engine, parking, items);
            return Err(error);
        }
    }
    let (writing, waiting) = decide(engine, parking, items);
    let is_progress = !writing.is_empty();
    put_back(engine, parking, waiting);
    write(engine, parking, writing).await?;
    Ok(is_progress)
}

/// Ends what belongs to lanes that are gone.
fn drop_orphans(engine: &Engine, items: Vec<Item>) -> Vec<Item> {
    let (alive, gone): (Vec<Item>, Vec<Item>) =
        engine.with_lanes(|lanes| items.into_iter().partition(|item| lanes.is_running(item.ticket.lane)));
    engine.end_parking(gone.into_iter().map(|item| item.ended(Ending::Again)).collect(), 0);
    alive
}

/// What is to be written, and what has to wait for room; the rest has ended otherwise.
fn decide(engine: &Engine, parking: &Parking, items: Vec<Item>) -> (Vec<Item>, Vec<Item>) {
    let (mut writing, mut waiting, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    let mut full = BTreeSet::new();
    parking.with(|state| {
        let mut new_keys: BTreeMap<Partition, usize> = BTreeMap::new();
        for item in items {
            let partition = item.partition();
            let Some(owned) = state.owned.get_mut(&partition).filter(|owned| owned.is_writable()) else {
                waiting.push(item);
                continue;
            };
            let (record, scope) = (&item.record, item.cause.kind.scope());
            if owned.state.is_parked(&record.key, scope, record.offset) {
                ended.push(item.ended(Ending::Parked));
            } else if item.is_behind() && owned.state.way(&record.key, record.offset) == Way::Live {
                ended.push(item.ended(Ending::Again));
            } else if item.is_behind() || owned.has_room_for(record, scope, &mut new_keys, parking.keys_max) {
                writing.push(item);
            } else {
                owned.is_full = true;
                full.insert(partition);
                waiting.push(item);
            }
        }
    });
    full.into_iter().for_each(|partition| engine.with_lanes_of(&[partition], |lanes| lanes.hold(partition)));
    engine.end_parking(ended, 0);
    (writing, waiting)
}

impl Owned {
    fn is_writable(&self) -> bool {
        self.has_begun && !self.is_foreign
    }

    /// Whether one more key may be parked, `new` of them in this round.
    fn has_room_for(
        &self,
        record: &Record,
        scope: ParkedScope,
        new: &mut BTreeMap<Partition, usize>,
        keys_max: usize,
    ) -> bool {
        if scope == ParkedScope::Key && self.state.holds(&record.key) {
            return true;
        }
        let new = new.entry(record.partition).or_default();
        let has_room = self.state.open_keys() + self.state.open_records() + *new < keys_max;
        *new += usize::from(has_room);
        has_room
    }
}

/// Writes entries, reads them back, and ends what is parked. What failed is queued again.
async fn write(engine: &Engine, parking: &Parking, items: Vec<Item>) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    let parcels: Vec<Parcel> = items.into_iter().map(|item| Parcel::of(engine, parking, item)).collect();
    let entries: Vec<Outgoing> = parcels
        .iter()
        .flat_map(|parcel| parcel.records().map(|record| outgoing(engine, parking, record, &parcel.item.cause)))
        .collect();
    let mut outcomes = parking.writer.write(&entries).await.into_iter();
    let (mut acked, mut failed, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for parcel in parcels {
        let before = errors.len();
        errors.extend(outcomes.by_ref().take(parcel.len()).filter_map(Result::err));
        if errors.len() == before { acked.push(parcel) } else { failed.push(parcel) }
    }
    parking.with(|state| state.write_errors += errors.len() as u64);
    put_back(engine, parking, failed.into_iter().map(|parcel| parcel.alone(engine)).collect());
    let read_back = read_back(engine, parking, &acked).await;
    let (parked, uncounted): (Vec<Parcel>, Vec<Parcel>) =
        parking.with(|state| acked.into_iter().partition(|parcel| parcel.is_parked(state)));
    put_back(engine, parking, uncounted.into_iter().map(|parcel| parcel.alone(engine)).collect());
    let count: usize = parked.iter().map(Parcel::len).sum();
    let ended = parked.into_iter().map(|parcel| parcel.finished(engine).ended(Ending::Parked)).collect();
    engine.end_parking(ended, count as u64);
    read_back?;
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// Reads until every acked entry was met: only the order of the log says whether it counts.
async fn read_back(engine: &Engine, parking: &Parking, acked: &[Parcel]) -> Result<()> {
    let mut by_partition: BTreeMap<Partition, Vec<&Parcel>> = BTreeMap::new();
    for parcel in acked {
        by_partition.entry(parcel.item.partition()).or_default().push(parcel);
    }
    for (partition, parcels) in by_partition {
        let all = |state: &State| {
            let is_lost = !state.owned.contains_key(&partition);
            is_lost || parcels.iter().all(|parcel| parcel.is_parked(state))
        };
        catch_up(engine, parking, partition, Some(&all)).await?;
    }
    Ok(())
}

fn outgoing(engine: &Engine, parking: &Parking, record: &Record, cause: &Cause) -> Outgoing {
    let kind = if cause.kind == Kind::Behind { "behind" } else { "park" };
    let token = parking.with(|state| state.owned.get(&record.partition).map(|owned| owned.token));
    let envelope = record.envelope(&engine.place.topic).ok();
    let diagnosis = Diagnosis {
        topic: engine.place.topic.to_string(),
        partition: record.partition,
        offset: record.offset,
        id: envelope.as_ref().map(|envelope| envelope.id.clone()),
        event_type: envelope.map(|envelope| envelope.event_type),
        attempts: cause.attempts,
        error: cause.error.clone(),
        first: cause.first,
        last: SystemClock.now(),
        group: engine.place.group.to_string(),
        member: parking.member.clone(),
    };
    let header_block = parking
        .writer
        .entry(record.headers.clone(), kind, token.unwrap_or(Token(0)))
        .place(cause.kind.scope(), record.offset)
        .diagnosis(&diagnosis)
        .block();
    Outgoing { partition: record.partition, key: record.key.clone(), header_block, body: record.body.clone() }
}

/// Queues what could not be parked again; of partitions that are being given up it comes again elsewhere.
fn put_back(engine: &Engine, parking: &Parking, items: Vec<Item>) {
    if items.is_empty() {
        return;
    }
    let revoking = engine.with_lanes(|lanes| lanes.revoking());
    let (gone, kept): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|item| revoking.contains(&item.partition()));
    engine.end_parking(gone.into_iter().map(|item| item.ended(Ending::Again)).collect(), 0);
    parking.with(|state| state.queue.extend(kept));
}

/// Reads what replayers wrote, releases what waits for room, and trims.
async fn look(engine: &Engine, parking: &Parking) -> Result<()> {
    for (partition, generation) in parking.with(|state| state.worth_a_look()) {
        catch_up(engine, parking, partition, None).await?;
        release_full(engine, parking, partition, generation);
        if parking.with(|state| state.owned.get(&partition).is_some_and(|o| o.state.since_cut() >= ENTRIES_PER_CUT)) {
            mark_cut(engine, parking, partition).await?;
        }
        trim(engine, parking, partition).await?;
    }
    Ok(())
}

fn release_full(engine: &Engine, parking: &Parking, partition: Partition, generation: u64) {
    let is_released = parking.with(|state| {
        let Some(owned) = state.owned.get_mut(&partition) else { return false };
        let has_room = owned.state.open_keys() + owned.state.open_records() < parking.keys_max;
        has_room && std::mem::take(&mut owned.is_full)
    });
    if is_released {
        engine.with_lanes(|lanes| lanes.let_go_on(partition, generation));
        engine.apply_pauses();
        parking.wake.notify_one();
    }
}

/// Writes `owner` once more, as a place to trim to.
async fn mark_cut(engine: &Engine, parking: &Parking, partition: Partition) -> Result<()> {
    let Some(token) = parking.with(|state| state.owned.get(&partition).map(|owned| owned.token)) else { return Ok(()) };
    let outcomes = parking.writer.write(&[parking.writer.control(partition, "owner", token)]).await;
    outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))?;
    catch_up(engine, parking, partition, None).await
}

async fn trim(engine: &Engine, parking: &Parking, partition: Partition) -> Result<()> {
    let Some(committed) = engine.with_lanes(|lanes| lanes.stored(partition)) else { return Ok(()) };
    let to = parking.with(|state| {
        let owned = state.owned.get_mut(&partition)?;
        owned.state.forget_closed_below(committed);
        owned.state.trim_to(committed).filter(|to| *to > owned.trimmed)
    });
    let Some(to) = to else { return Ok(()) };
    let start = engine.driver.trim(&parking.topic.name, partition, to).await?;
    parking.with(|state| {
        if let Some(owned) = state.owned.get_mut(&partition) {
            owned.trimmed = start.max(to);
        }
    });
    Ok(())
}

/// How an item ends for its lane.
enum Ending {
    /// It is parked.
    Parked,
    /// It runs, or comes again.
    Again,
}

impl Item {
    pub(super) fn partition(&self) -> Partition {
        self.record.partition
    }

    pub(super) fn is_behind(&self) -> bool {
        self.cause.kind == Kind::Behind
    }

    fn ended(self, ending: Ending) -> (Ticket, End) {
        let end = match ending {
            Ending::Parked => End::Done,
            Ending::Again => End::Cancelled(Box::new(self.record)),
        };
        (self.ticket, end)
    }
}

impl State {
    /// What can be written at the moment: of partitions that are owned, one record of a key.
    fn take_ready(&mut self) -> Vec<Item> {
        let mut keys: HashSet<(Partition, Bytes)> = HashSet::new();
        let (mut ready, mut rest) = (Vec::new(), Vec::new());
        for item in self.queue.drain(..) {
            let owned = self.owned.get(&item.partition());
            // Of a partition that is not owned any more: it has to be ended.
            let is_ready = owned.is_none_or(|owned| owned.is_writable() && (!owned.is_full || item.is_behind()));
            match is_ready && keys.insert((item.partition(), item.record.key.clone())) {
                true => ready.push(item),
                false => rest.push(item),
            }
        }
        self.queue = rest;
        ready
    }

    fn is_held(&self, partition: Partition, held: &[(Partition, u64)]) -> bool {
        self.owned.get(&partition).is_some_and(|owned| held.contains(&(partition, owned.generation)))
    }

    fn is_foreign(&self, partition: Partition) -> bool {
        self.owned.get(&partition).is_some_and(|owned| owned.is_foreign)
    }

    /// Partitions in which something is or was parked, or that wait for room.
    fn worth_a_look(&self) -> Vec<(Partition, u64)> {
        let worth = |owned: &Owned| owned.has_begun && (!owned.state.is_empty() || owned.next.0 > owned.trimmed.0 + 1);
        let owned = self.owned.iter().filter(|(_, owned)| worth(owned));
        owned.map(|(partition, owned)| (*partition, owned.generation)).collect()
    }

    fn note(&mut self, done: &Result<Next>) {
        self.trouble = done.as_ref().err().cloned();
    }
}
