//! A replay: a member of the group's replayers, who runs or discards what is parked.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::entry::{Outcome, Token};
use super::filter::ParkedFilter;
use super::follower::{Follower, ParkedRecord, QueueId, Selection};
use super::halt::Halt;
use super::parked::{Extent, Parked};
use super::writer::{Outgoing, Writer};
use crate::driver::{Source, SourceEvent, SourceRequest, Start};
use crate::error::{Error, Result};
use crate::headers::Headers;
use crate::subscription::builder::member_name;
use crate::subscription::guarded::{Ran, Slot, next_subscription};
use crate::subscription::handler::{Delivery, Handler, HandlerError, Place, Verdict};
use crate::subscription::refused::chain;
use crate::subscription::retry::Retry;
use crate::topic::Partition;

/// How parked records are replayed.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayOptions {
    /// Which keys.
    pub filter: ParkedFilter,
    /// Keys that run at once. Range 1 to 1,024, default 1. A crash repeats at most one record of each.
    pub concurrency: usize,
    /// Most records a second. Default: no limit.
    pub rate: Option<f64>,
    /// Most records of this replay. Default: no limit.
    pub records_max: Option<u64>,
    /// How failed attempts are made again before the record counts as failed. Default: one attempt.
    pub retry: Retry,
    /// Longest run of the handler. Range 1 ms to 1 h, default 30 s.
    pub handler_timeout: Duration,
    /// Time without a sign of life after which another replay takes over. Range 1 s to 5 min, default 5 s.
    pub lease: Duration,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            filter: ParkedFilter::default(),
            concurrency: 1,
            rate: None,
            records_max: None,
            retry: Retry::never(),
            handler_timeout: Duration::from_secs(30),
            lease: Duration::from_secs(5),
        }
    }
}

impl ReplayOptions {
    /// Checks every field.
    ///
    /// # Errors
    /// `Invalid/Range` with every field that is wrong; what [`Retry::validate`] refuses.
    pub fn validate(&self) -> Result<()> {
        self.retry.validate()?;
        let mut wrong = Vec::new();
        if !(1..=1_024).contains(&self.concurrency) {
            wrong.push(format!("concurrency = {} (1 to 1,024 keys)", self.concurrency));
        }
        if let Some(rate) = self.rate.filter(|rate| !(0.001..=1e9).contains(rate)) {
            wrong.push(format!("rate = {rate} (0.001 to 1e9 records a second)"));
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(3_600)).contains(&self.handler_timeout) {
            wrong.push(format!("handler_timeout = {:?} (1 ms to 1 h)", self.handler_timeout));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(300)).contains(&self.lease) {
            wrong.push(format!("lease = {:?} (1 s to 5 min)", self.lease));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::invalid("Range").cause(wrong.join(", ")).next("use values in the ranges given"))
    }
}

/// What a replay or a discard came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Records whose handler ended well.
    pub replayed: u64,
    /// Records that were given up.
    pub discarded: u64,
    /// Records whose handler failed again; their keys are left.
    pub failed: u64,
    /// The last errors of failed ones: partition, offset, key and error, at most 20.
    pub errors: Vec<String>,
}

/// Errors that a report lists.
const ERRORS_MAX: usize = 20;

/// Times that a write is tried, with pauses of up to 2 s.
const WRITES_MAX: u32 = 8;

/// Pause between two looks at what other replays left.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is done with a parked record.
pub(crate) enum Act<H> {
    Run(Arc<H>),
    Discard { reason: String, extent: Extent },
}

/// How one record fared.
enum Fared {
    Done(Outcome, String),
    Failed(String),
}

/// Why work on a partition has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Nothing wanted is open any more, or the limit is reached.
    Finished,
    /// Another replayer has begun it after us.
    Foreign,
}

/// What happens first while a partition is worked on.
enum Happened {
    Event(Result<SourceEvent>),
    Left(Result<Left>),
}

/// Whether the event takes this partition away.
fn takes(event: &SourceEvent, partition: Partition) -> bool {
    matches!(event, SourceEvent::Revoking(gone) | SourceEvent::Lost(gone) if gone.contains(&partition))
}

struct Replay<'a, H> {
    parked: &'a Parked,
    options: ReplayOptions,
    act: Act<H>,
    writer: Writer,
    source: Arc<dyn Source>,
    place: Arc<Place>,
    report: ReplayReport,
    halt: Halt,
    /// When the next record may run.
    due: Instant,
}

/// Replays what is wanted of all partitions, until the halt.
pub(super) async fn replay<H: Handler>(
    parked: &Parked,
    options: ReplayOptions,
    act: Act<H>,
    halt: Halt,
) -> Result<ReplayReport> {
    let wanted = wanted(parked, &options.filter, parked.partitions().collect()).await?;
    if wanted.is_empty() {
        return Ok(ReplayReport::default());
    }
    let writer = Writer::open(&*parked.driver, &parked.parking, parked.topic.incarnation).await?;
    let request = SourceRequest {
        group: parked.group.replayers(),
        topic: parked.parking.clone(),
        member: member_name(),
        start: Start::Earliest,
        lease: options.lease,
    };
    let source = parked.driver.source(request).await?;
    let place = Arc::new(Place { topic: parked.topic.name.clone(), group: parked.group.clone() });
    let (report, due) = (ReplayReport::default(), Instant::now());
    let mut replay = Replay { parked, options, act, writer, source, place, report, halt, due };
    let outcome = replay.work(wanted).await;
    let until = Instant::now() + parked.driver.patience() + Duration::from_secs(1);
    let left = replay.source.close(until).await;
    let closed = replay.writer.close(until).await;
    outcome.and(left).and(closed).map(|()| replay.report)
}

/// Those of the partitions in which something wanted is open.
async fn wanted(
    parked: &Parked,
    filter: &ParkedFilter,
    partitions: BTreeSet<Partition>,
) -> Result<BTreeSet<Partition>> {
    let mut wanted = BTreeSet::new();
    for partition in partitions {
        let mut selection = Selection::new(filter.clone());
        let mut follower = parked.follower(partition);
        follower.catch_up().await?;
        if follower.head.open_keys() + follower.head.open_records() == 0 {
            continue;
        }
        while let Some((id, record)) = follower.next_open().await? {
            if selection.wants(&id, &record) {
                wanted.insert(partition);
                break;
            }
        }
    }
    Ok(wanted)
}

impl<H: Handler> Replay<'_, H> {
    /// Works on each wanted partition as it is assigned.
    async fn work(&mut self, mut wanted: BTreeSet<Partition>) -> Result<()> {
        let mut held: BTreeMap<Partition, u64> = BTreeMap::new();
        while !wanted.is_empty() && !self.is_enough() {
            let next = held.iter().map(|(partition, generation)| (*partition, *generation));
            if let Some((partition, generation)) = next.clone().find(|(partition, _)| wanted.contains(partition)) {
                if self.work_on(partition, &mut held).await? == Some(Left::Finished) {
                    wanted.remove(&partition);
                    held.remove(&partition);
                    self.source.release(vec![(partition, generation)]).await?;
                }
                continue;
            }
            let source = Arc::clone(&self.source);
            let Some(next) = self.halt.unless(timeout(LOOK_EVERY, source.next(0, 0))).await else { break };
            match next {
                Ok(event) => self.take(event?, &mut held).await?,
                // What others hold may be empty by now.
                Err(_) => wanted = self::wanted(self.parked, &self.options.filter, wanted).await?,
            }
        }
        Ok(())
    }

    async fn take(&self, event: SourceEvent, held: &mut BTreeMap<Partition, u64>) -> Result<()> {
        match event {
            SourceEvent::Assigned(assigned) => {
                held.extend(assigned.iter().map(|assigned| (assigned.partition, assigned.generation)));
            }
            SourceEvent::Revoking(partitions) => {
                let shares = partitions.iter().filter_map(|partition| Some((*partition, held.remove(partition)?)));
                self.source.release(shares.collect()).await?;
            }
            SourceEvent::Lost(partitions) => held.retain(|partition, _| !partitions.contains(partition)),
            SourceEvent::Records { .. } | SourceEvent::Gap { .. } => {}
        }
        Ok(())
    }

    /// Works on a partition until nothing wanted is open; `None` if it went to another replayer.
    async fn work_on(&mut self, partition: Partition, held: &mut BTreeMap<Partition, u64>) -> Result<Option<Left>> {
        let source = Arc::clone(&self.source);
        let mut selection = Selection::new(self.options.filter.clone());
        let mut run = Box::pin(self.run_partition(partition, &mut selection));
        let mut events = Vec::new();
        let left = loop {
            let mut next = source.next(0, 0);
            let happened = poll_fn(|context| {
                if let Poll::Ready(event) = next.as_mut().poll(context) {
                    return Poll::Ready(Happened::Event(event));
                }
                run.as_mut().poll(context).map(Happened::Left)
            });
            match happened.await {
                Happened::Left(left) => break Some(left?),
                Happened::Event(event) => {
                    events.push(event?);
                    if events.last().is_some_and(|event| takes(event, partition)) {
                        // What is in hand is broken off, and comes again there.
                        break None;
                    }
                }
            }
        };
        drop(run);
        for event in events {
            self.take(event, held).await?;
        }
        Ok(left)
    }

    async fn run_partition(&mut self, partition: Partition, selection: &mut Selection) -> Result<Left> {
        let token = Token::random();
        let mut follower = self.parked.follower(partition).expecting(token);
        self.hold().await;
        self.write(&[self.writer.control(partition, "replayer", token)]).await?;
        while !follower.has_begun() {
            follower.catch_up().await?;
        }
        loop {
            let mut round: Vec<(QueueId, ParkedRecord)> = Vec::new();
            let mut is_end = false;
            while round.len() < self.options.concurrency {
                let Some((id, record)) = follower.next_open().await? else {
                    is_end = true;
                    break;
                };
                if !selection.wants(&id, &record) {
                    continue;
                }
                let is_same = |(other, _): &(QueueId, ParkedRecord)| *other == id;
                if round.iter().any(is_same) {
                    self.finish_round(partition, token, &mut follower, selection, std::mem::take(&mut round)).await?;
                    if !selection.wants(&id, &record) {
                        continue;
                    }
                }
                round.push((id, record));
                if self.is_enough_with(round.len()) {
                    break;
                }
            }
            let is_idle = round.is_empty();
            self.finish_round(partition, token, &mut follower, selection, round).await?;
            if follower.head.replayer() != Some(token) {
                return Ok(Left::Foreign);
            }
            if self.is_enough() || (is_end && is_idle && !follower.catch_up().await?) {
                // What it has written may be trimmed from now on.
                self.write(&[self.writer.control(partition, "resigned", token)]).await?;
                return Ok(Left::Finished);
            }
        }
    }

    fn is_enough(&self) -> bool {
        self.is_enough_with(0)
    }

    fn is_enough_with(&self, more: usize) -> bool {
        let done = self.report.replayed + self.report.discarded + self.report.failed + more as u64;
        self.halt.is_said() || self.options.records_max.is_some_and(|max| done >= max)
    }

    /// Runs or discards records of different keys, and writes how they fared.
    async fn finish_round(
        &mut self,
        partition: Partition,
        token: Token,
        follower: &mut Follower,
        selection: &mut Selection,
        round: Vec<(QueueId, ParkedRecord)>,
    ) -> Result<()> {
        if round.is_empty() {
            return Ok(());
        }
        // Those that the halt has kept from running stay parked as they are.
        let fared = self.run(&round).await;
        if fared.is_empty() {
            return Ok(());
        }
        let entries: Vec<Outgoing> = round
            .iter()
            .zip(&fared)
            .map(|((_, parked), fared)| self.outgoing(partition, token, parked, fared))
            .collect();
        self.write(&entries).await?;
        // Only the order of the log says whether it counts, and what is open now.
        follower.catch_up().await?;
        for ((id, parked), fared) in round.into_iter().zip(fared) {
            self.count(&parked, &fared);
            let is_left =
                matches!((&self.act, &fared), (Act::Discard { extent: Extent::First, .. }, _) | (_, Fared::Failed(_)));
            if is_left {
                selection.leave(id);
            }
        }
        Ok(())
    }

    /// How the records fared, but for the last ones if the halt came before they ran.
    async fn run(&mut self, round: &[(QueueId, ParkedRecord)]) -> Vec<Fared> {
        let handler = match &self.act {
            Act::Run(handler) => Arc::clone(handler),
            Act::Discard { reason, .. } => {
                return round.iter().map(|_| Fared::Done(Outcome::Discarded, reason.clone())).collect();
            }
        };
        let mut runs = JoinSet::new();
        for (number, (_, parked)) in round.iter().enumerate() {
            let halt = self.halt.clone();
            let is_due = async {
                self.pace().await;
                self.hold().await;
            };
            if halt.unless(is_due).await.is_none() {
                break;
            }
            let attempt = Attempts {
                handler: Arc::clone(&handler),
                parked: parked.clone(),
                place: Arc::clone(&self.place),
                retry: self.options.retry,
                timeout: self.options.handler_timeout,
                halt,
            };
            runs.spawn(async move { (number, attempt.run().await) });
        }
        let mut fared: Vec<(usize, Fared)> = runs.join_all().await;
        fared.sort_by_key(|(number, _)| *number);
        fared.into_iter().map(|(_, fared)| fared).collect()
    }

    /// Waits until the rate allows one more.
    async fn pace(&mut self) {
        let Some(rate) = self.options.rate else { return };
        sleep_until(self.due).await;
        self.due = self.due.max(Instant::now()) + Duration::from_secs_f64(1.0 / rate);
    }

    /// Waits while the assignment may be over: its end is told by the source.
    async fn hold(&self) {
        while self.source.holds_until().is_some_and(|until| Instant::now() >= until) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn outgoing(&self, partition: Partition, token: Token, parked: &ParkedRecord, fared: &Fared) -> Outgoing {
        let kind = if matches!(fared, Fared::Done(..)) { "done" } else { "failed" };
        let writer = self.writer.entry(Headers::default(), kind, token).place(parked.scope, parked.record.offset);
        let writer = match fared {
            Fared::Done(outcome, reason) => {
                let outcome = if *outcome == Outcome::Replayed { "replayed" } else { "discarded" };
                writer.with("busline-outcome", outcome).with("busline-reason", reason)
            }
            Fared::Failed(error) => writer.error(error),
        };
        Outgoing { partition, key: parked.record.key.clone(), header_block: writer.block(), body: bytes::Bytes::new() }
    }

    fn count(&mut self, parked: &ParkedRecord, fared: &Fared) {
        match fared {
            Fared::Done(Outcome::Replayed, _) => self.report.replayed += 1,
            Fared::Done(Outcome::Discarded, _) => self.report.discarded += 1,
            Fared::Failed(error) => {
                self.report.failed += 1;
                if self.report.errors.len() < ERRORS_MAX {
                    let key = crate::error::escaped(&String::from_utf8_lossy(&parked.record.key));
                    let (partition, offset) = (parked.diagnosis.partition, parked.record.offset);
                    self.report.errors.push(format!("{partition}/{offset} key {key}: {error}"));
                }
            }
        }
    }

    /// Writes entries until all are acked.
    async fn write(&self, entries: &[Outgoing]) -> Result<()> {
        let mut pause = Duration::from_millis(50);
        let mut tried = 0;
        loop {
            // A second copy of what was stored is ignored, so all are sent again.
            let failed = self.writer.write(entries).await.into_iter().find_map(std::result::Result::err);
            let Some(error) = failed else { return Ok(()) };
            tried += 1;
            if tried == WRITES_MAX {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}

/// All attempts for one record.
struct Attempts<H> {
    handler: Arc<H>,
    parked: ParkedRecord,
    place: Arc<Place>,
    retry: Retry,
    timeout: Duration,
    halt: Halt,
}

impl<H: Handler> Attempts<H> {
    async fn run(self) -> Fared {
        let envelope = match self.parked.record.envelope(&self.place.topic) {
            Ok(envelope) => envelope,
            Err(error) => return Fared::Failed(error.to_string()),
        };
        let (slot, tick) = (Slot::new(next_subscription()), AtomicU64::new(1));
        let mut attempt = 1;
        loop {
            let delivery = Delivery {
                envelope: envelope.clone(),
                partition: self.parked.record.partition,
                offset: self.parked.record.offset,
                attempt,
                place: Arc::clone(&self.place),
            };
            slot.begin();
            let ran = slot.run(&tick, Some(self.timeout), || self.handler.handle(delivery)).await;
            let error = match ran {
                Ran::Returned(Ok(())) => return Fared::Done(Outcome::Replayed, "handled".into()),
                Ran::Returned(Err(error)) => error,
                Ran::Panicked(text) => HandlerError::from(format!("panicked: {text}")),
                Ran::TimedOut | Ran::Blocked | Ran::Cancelled => HandlerError::from("Timeout/Handler: ran too long"),
            };
            let text = chain(error.cause());
            match error.verdict() {
                Verdict::Skip => return Fared::Done(Outcome::Discarded, text),
                Verdict::Retry if attempt < self.retry.attempts_max => {
                    let pause = tokio::time::sleep(self.retry.pause_after(attempt));
                    if self.halt.unless(pause).await.is_none() {
                        return Fared::Failed(text);
                    }
                    attempt += 1;
                }
                Verdict::Retry | Verdict::Park | Verdict::Defer => return Fared::Failed(text),
            }
        }
    }
}
