//! The thread of a member: everything that the client is asked for, and everything that it says, passes here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use busline_core::{Assignment, Commit, Error, ErrorKind, Offset, Partition, Result, not_owner};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::consumer::{Consumer, POLL_INTERVAL_MAX, Said, join};
use super::member::{Order, Shared};
use super::piece::{End, Piece, Reader};
use super::start;
use crate::clients::pause;
use crate::config::GroupProtocol;
use crate::identity::Identity;
use crate::native::{self, Ask, Native, PartitionQueue};
use crate::{error, groups, records};

/// Longest time between two polls.
const TICK: Duration = Duration::from_millis(100);

/// The same while a commit is under way.
const ANSWER_TICK: Duration = Duration::from_millis(2);

/// Shortest time between two commits: at full speed each costs the broker as much as a hundred records.
const COMMIT_PAUSE: Duration = Duration::from_millis(20);

/// Records that one partition gives before the others have their turn.
const TURN_RECORDS: usize = 256;

/// Things that the client says in one look at it.
const SAID_MAX: usize = 16;

/// Pause before something is tried again that the brokers refused for the moment.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Pause before a lost place is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Starts the thread, which joins the group.
pub(super) fn start(shared: &Arc<Shared>) -> Result<()> {
    let is_classic = shared.agreement.is_classic;
    let consumer = join(&shared.clients.config, &shared.request, is_classic, &shared.bell)?;
    let poller = Poller {
        shared: Arc::clone(shared),
        consumer: Some(consumer),
        is_classic,
        queues: BTreeMap::new(),
        generation: 0,
        assigning: None,
        revoking: None,
        commits: VecDeque::new(),
        under_way: None,
        beaten: Instant::now(),
        displaced: BTreeSet::new(),
        looked: Instant::now(),
        identity: Identity::default(),
        has_more: false,
    };
    let thread = std::thread::Builder::new().name("busline-member".into()).spawn(move || poller.run());
    thread
        .map(drop)
        .map_err(|failed| Error::new(ErrorKind::Unavailable, "Threads").because(failed).next("allow more threads"))
}

struct Poller {
    shared: Arc<Shared>,
    consumer: Option<Arc<Consumer>>,
    is_classic: bool,
    queues: BTreeMap<Partition, Reader>,
    /// The newest generation that was given to a partition.
    generation: u64,
    /// Partitions that the group wants this member to take: it waits for the answer.
    assigning: Option<Vec<Partition>>,
    /// Partitions that the group wants back: it waits for the answer, and that comes when all are released.
    revoking: Option<Revoking>,
    commits: VecDeque<Wanted>,
    under_way: Option<UnderWay>,
    /// When a commit was sent last.
    beaten: Instant,
    /// Partitions whose place in the log is gone.
    displaced: BTreeSet<Partition>,
    looked: Instant,
    identity: Identity,
    /// Records wait that had no turn yet.
    has_more: bool,
}

struct Revoking {
    partitions: Vec<Partition>,
    since: Instant,
}

/// Commits that wait for their turn.
struct Wanted {
    commits: Vec<Commit>,
    answer: oneshot::Sender<Vec<Result<()>>>,
    until: Instant,
}

/// The one request for commits that the group has not answered; without `wanted` it is a sign of life only.
struct UnderWay {
    ask: Ask,
    wanted: Option<Wanted>,
    sent: Instant,
}

impl Poller {
    fn run(mut self) {
        while !self.shared.is_closing() {
            self.tick();
        }
        self.leave();
        self.shared.end();
    }

    fn tick(&mut self) {
        let is_busy = std::mem::take(&mut self.has_more);
        if !is_busy {
            self.shared.bell.wait(self.wait_max());
        }
        if self.consumer.is_none() && !self.join_again() {
            return;
        }
        // Nobody can tell whether there is more, and the next look comes at once while records flow.
        self.poll(if is_busy { 1 } else { SAID_MAX });
        self.hear();
        self.take_assigned();
        self.obey();
        self.read();
        self.place_again();
        self.answer_commit();
        self.commit_next();
        self.give_up_revoked();
        self.check_identity();
    }

    /// How long nothing has to be done unless the bell rings.
    fn wait_max(&self) -> Duration {
        match (&self.under_way, self.commits.is_empty()) {
            // The answer of a commit rings no bell.
            (Some(_), _) => ANSWER_TICK,
            (None, false) => self.commit_due().saturating_duration_since(Instant::now()).min(TICK),
            (None, true) => TICK,
        }
    }

    fn topic(&self) -> &str {
        self.shared.request.topic.name.as_str()
    }

    // What the client says.

    fn poll(&mut self, looks: usize) {
        for _ in 0..looks {
            let Some(consumer) = self.consumer.clone() else { return };
            match consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => match records::record(&message) {
                    Ok(record) => self.shared.change(|state| {
                        let bytes = record.key.len() + record.body.len();
                        state.ahead.push(record.partition, vec![record], bytes);
                    }),
                    Err(failed) => self.end_with(failed),
                },
                Some(Err(failed)) => self.take_error(&failed),
                None => {}
            }
        }
    }

    fn take_error(&mut self, failed: &KafkaError) {
        let meaning = error::of(failed).at("read", self.topic());
        tracing::debug!("{meaning}");
        if let KafkaError::MessageConsumptionFatal(code) = failed {
            tracing::warn!("{meaning}: the member joins its group again");
            let may_fall_back = self.shared.clients.config.group_protocol == GroupProtocol::Auto;
            if *code == RDKafkaErrorCode::UnsupportedFeature && may_fall_back {
                self.is_classic = true;
            }
            self.lose_everything();
            self.end_client();
        }
        if meaning.kind() == ErrorKind::Denied || error::is_transient(&meaning) {
            self.shared.change(|state| state.trouble = Some(meaning));
        }
    }

    fn hear(&mut self) {
        let Some(consumer) = self.consumer.clone() else { return };
        for said in consumer.context().take() {
            match said {
                Said::Assign(list) => self.assigning = Some(partitions(&list)),
                Said::Revoke { list, is_lost } => self.revoke(partitions(&list), is_lost),
            }
        }
        if consumer.assignment_lost() {
            self.lose_everything();
        }
    }

    fn revoke(&mut self, partitions: Vec<Partition>, is_lost: bool) {
        if is_lost {
            // What the group wanted before counts no more.
            self.assigning = None;
        }
        self.shared.change(
            |state| {
                if is_lost { state.ahead.lose(&partitions) } else { state.ahead.revoke(&partitions) }
            },
        );
        self.revoking = Some(Revoking { partitions, since: Instant::now() });
    }

    // Taking partitions and giving them up.

    /// Answers the group: from now on these partitions are read, beginning at what is committed.
    fn take_assigned(&mut self) {
        let (Some(consumer), Some(partitions)) = (self.consumer.clone(), self.assigning.clone()) else { return };
        let asked = Instant::now();
        let committed = match start::committed(&self.shared, &consumer, &partitions) {
            Ok(committed) => committed,
            Err(failed) => return self.assign_later(&consumer, &partitions, failed),
        };
        for (partition, _) in &committed {
            // Before the partition is fetched, or what comes first would come from another queue.
            self.split(&consumer, *partition);
        }
        if let Err(failed) = list(self.topic(), &committed).and_then(|list| consumer.incremental_assign(&list)) {
            return tracing::warn!("take partitions of {}: {failed}", self.topic());
        }
        self.assigning = None;
        let assignments = committed.into_iter().map(|(partition, committed)| {
            self.generation += 1;
            Assignment { partition, generation: self.generation, committed }
        });
        let assignments: Vec<Assignment> = assignments.collect();
        self.shared.change(|state| {
            state.alive = Some(asked);
            state.trouble = None;
            if !assignments.is_empty() {
                state.ahead.assign(assignments);
            }
        });
    }

    /// What keeps the member from taking its partitions is tried again, unless the group has ended the member.
    fn assign_later(&mut self, consumer: &Consumer, partitions: &[Partition], failed: Error) {
        let failed = failed.at("take partitions", self.topic());
        if failed.kind() == ErrorKind::Fenced && consumer.assignment_lost() {
            let unread: Vec<_> = partitions.iter().map(|partition| (*partition, Offset(0))).collect();
            // The group waits for an answer before it can take them back.
            drop(list(self.topic(), &unread).and_then(|list| consumer.incremental_unassign(&list)));
            self.assigning = None;
        }
        if failed.kind() == ErrorKind::NotFound {
            self.end_with(failed);
        } else {
            tracing::warn!("{failed}");
            self.shared.change(|state| state.trouble = Some(failed));
        }
        pause(TRY_AGAIN);
        self.has_more = true;
    }

    fn split(&mut self, consumer: &Arc<Consumer>, partition: Partition) {
        let (client, bell): (Arc<Consumer>, _) = (Arc::clone(consumer), Arc::clone(&self.shared.bell));
        let topic = &self.shared.request.topic.name;
        if let Some(queue) = PartitionQueue::split(client, topic, partition, move || bell.ring()) {
            self.queues.insert(partition, Reader::new(queue));
        }
    }

    /// Answers the group once everything that it wants back was released, or must be.
    fn give_up_revoked(&mut self) {
        let Some(revoking) = &self.revoking else { return };
        let held = self.shared.state().ahead.partitions();
        if revoking.since.elapsed() > POLL_INTERVAL_MAX.mul_f32(0.8) {
            tracing::warn!("{}: handlers of partitions that go to another member are broken off", self.topic());
            let overdue = revoking.partitions.clone();
            return self.shared.change(|state| state.ahead.lose(&overdue));
        }
        if revoking.partitions.iter().any(|partition| held.contains(partition)) {
            return;
        }
        let Some(revoking) = self.revoking.take() else { return };
        for partition in &revoking.partitions {
            self.queues.remove(partition);
            self.displaced.remove(partition);
        }
        let Some(consumer) = &self.consumer else { return };
        let unread: Vec<_> = revoking.partitions.iter().map(|partition| (*partition, Offset(0))).collect();
        if let Err(failed) = list(self.topic(), &unread).and_then(|list| consumer.incremental_unassign(&list)) {
            tracing::debug!("give partitions of {} up: {failed}", self.topic());
        }
    }

    fn lose_everything(&mut self) {
        self.shared.change(|state| {
            let held = state.ahead.partitions();
            state.ahead.lose(&held);
        });
    }

    // Orders of the subscription.

    fn obey(&mut self) {
        let orders = std::mem::take(&mut self.shared.state().orders);
        for order in orders {
            match order {
                Order::Commit(commits, answer) => {
                    let until = Instant::now() + self.shared.clients.patience();
                    self.commits.push_back(Wanted { commits, answer, until });
                }
                Order::Seek { partition, generation, offset, answer } => {
                    drop(answer.send(self.seek(partition, generation, offset)));
                }
                Order::Release(released, answer) => {
                    self.shared.change(|state| {
                        released
                            .iter()
                            .for_each(|(partition, generation)| state.ahead.release(*partition, *generation));
                    });
                    // Whoever waited may be gone.
                    answer.send(()).unwrap_or_default();
                }
            }
        }
    }

    fn seek(&mut self, partition: Partition, generation: u64, offset: Offset) -> Result<()> {
        if !self.shared.change(|state| state.ahead.seek(partition, generation, offset)) {
            return Err(not_owner(partition));
        }
        self.stand_at(partition, offset);
        Ok(())
    }

    /// Reads a partition on from this offset; where that does not work at once it is done again later.
    fn stand_at(&mut self, partition: Partition, offset: Offset) {
        let Some(consumer) = &self.consumer else { return };
        let at = KafkaOffset::Offset(offset.0 as i64);
        self.displaced.remove(&partition);
        if let Err(failed) = consumer.seek(self.topic(), partition.0 as i32, at, LOOK_AGAIN) {
            tracing::debug!("seek {}/{partition}: {failed}", self.topic());
            self.displaced.insert(partition);
            self.looked = Instant::now();
        }
    }

    // Records.

    fn read(&mut self) {
        let (mut failures, mut unreadable) = (Vec::new(), None);
        for (partition, reader) in &mut self.queues {
            let mut turn = 0;
            while turn < TURN_RECORDS && self.shared.state().ahead.has_room(*partition) {
                let Piece { records, bytes, end } = reader.read();
                turn += records.len();
                if !records.is_empty() {
                    self.shared.change(|state| state.ahead.push(*partition, records, bytes));
                }
                match end {
                    End::Full => {}
                    End::Empty => break,
                    End::Failed(failed) => {
                        turn += 1;
                        failures.extend(failed.into_iter().map(|failed| (*partition, failed)));
                    }
                    End::Unreadable(failed) => {
                        unreadable = Some(failed);
                        break;
                    }
                }
            }
            self.has_more |= turn >= TURN_RECORDS;
        }
        for (partition, failed) in failures {
            match failed {
                KafkaError::MessageConsumption(
                    RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
                ) => {
                    self.displaced.insert(partition);
                    self.looked = Instant::now() - LOOK_AGAIN;
                }
                failed => self.take_error(&failed),
            }
        }
        if let Some(failed) = unreadable {
            self.end_with(failed);
        }
    }

    /// Reads partitions on whose place in the log is gone: at the start of the log if records were deleted, else where
    /// they are as soon as the log has come there.
    fn place_again(&mut self) {
        let is_quiet = self.assigning.is_none() && self.revoking.is_none();
        if self.displaced.is_empty() || !is_quiet || self.looked.elapsed() < LOOK_AGAIN {
            return;
        }
        self.looked = Instant::now();
        for partition in std::mem::take(&mut self.displaced) {
            if let Err(failed) = self.place(partition) {
                tracing::warn!("{}", failed.at("read", format!("{}/{partition}", self.topic())));
                self.displaced.insert(partition);
            }
        }
    }

    fn place(&mut self, partition: Partition) -> Result<()> {
        let (clients, name) = (&self.shared.clients, &self.shared.request.topic.name);
        let Some(next) = self.shared.state().ahead.next(partition) else { return Ok(()) };
        let (low, high) = clients.readers.watermarks(clients, name, partition)?;
        if next > high {
            self.displaced.insert(partition);
            return Ok(());
        }
        self.shared.change(|state| state.ahead.skip_to(partition, low));
        let Some(consumer) = &self.consumer else { return Ok(()) };
        // A partition whose fetching has stopped cannot be sought; it is given up and taken again.
        let place = [(partition, next.max(low))];
        let taken = list(name.as_str(), &place).and_then(|list| {
            consumer.incremental_unassign(&list)?;
            consumer.incremental_assign(&list)
        });
        taken.map_err(|failed| error::of(&failed))
    }

    // Commits.

    /// Sends the next commit; one is under way at most. Without one for a while the last is sent once more, as a sign of
    /// life that the group has to answer.
    fn commit_next(&mut self) {
        if self.under_way.is_some() || self.consumer.is_none() || self.commit_due() > Instant::now() {
            return;
        }
        while let Some(wanted) = self.commits.pop_front() {
            let new = self.to_send(&wanted);
            if new.is_empty() {
                self.answer_wanted(wanted, Ok(()));
            } else {
                return self.send_commit(Some(wanted), &new);
            }
        }
        if self.beaten.elapsed() >= self.shared.agreement.silence_max() / 4 {
            let state = self.shared.state();
            let held = state.ahead.partitions();
            let beat = held.first().and_then(|partition| Some((*partition, state.ahead.committed(*partition)?)));
            drop(state);
            if let Some(beat) = beat {
                self.send_commit(None, &[beat]);
            }
        }
    }

    /// When the next commit may be sent: at once if the group wants something back.
    fn commit_due(&self) -> Instant {
        if self.revoking.is_some() { self.beaten } else { self.beaten + COMMIT_PAUSE }
    }

    /// The commits that the broker must hear of: it would take an older offset too.
    fn to_send(&self, wanted: &Wanted) -> Vec<(Partition, Offset)> {
        let state = self.shared.state();
        let is_new = |commit: &&Commit| {
            state.ahead.generation(commit.partition) == Some(commit.generation)
                && state.ahead.committed(commit.partition).is_none_or(|known| known < commit.offset)
        };
        wanted.commits.iter().filter(is_new).map(|commit| (commit.partition, commit.offset)).collect()
    }

    fn send_commit(&mut self, wanted: Option<Wanted>, offsets: &[(Partition, Offset)]) {
        let topic = &self.shared.request.topic;
        let sent = Instant::now();
        self.beaten = sent;
        let Some(consumer) = self.consumer.clone() else { return };
        let client: Arc<dyn Native> = consumer;
        let committing =
            groups::marked(&topic.name, topic.incarnation, offsets).and_then(|list| native::commit(&client, &list));
        match (committing, wanted) {
            (Ok(ask), wanted) => self.under_way = Some(UnderWay { ask, wanted, sent }),
            (Err(failed), Some(wanted)) => self.refuse_commit(wanted, failed),
            (Err(failed), None) => tracing::debug!("{failed}"),
        }
    }

    fn answer_commit(&mut self) {
        let Some(answer) = self.under_way.as_ref().and_then(|under_way| under_way.ask.poll(Duration::ZERO)) else {
            return;
        };
        let Some(UnderWay { wanted, sent, .. }) = self.under_way.take() else { return };
        match native::committed(&answer) {
            Ok(committed) => {
                self.shared.change(|state| {
                    state.alive = state.alive.max(Some(sent));
                    state.trouble = None;
                    committed.iter().for_each(|(partition, offset)| state.ahead.note_committed(*partition, *offset));
                });
                if let Some(wanted) = wanted {
                    self.answer_wanted(wanted, Ok(()));
                }
            }
            Err(failed) => match wanted {
                Some(wanted) => self.refuse_commit(wanted, failed),
                None => tracing::debug!("sign of life: {failed}"),
            },
        }
    }

    /// A commit that was refused for a moment is made again while the partition is held.
    fn refuse_commit(&mut self, wanted: Wanted, failed: Error) {
        let failed = failed.at("commit", self.topic());
        if error::is_transient(&failed) && Instant::now() < wanted.until && !self.to_send(&wanted).is_empty() {
            self.commits.push_front(wanted);
            pause(TRY_AGAIN);
            return;
        }
        self.answer_wanted(wanted, Err(failed));
    }

    /// What was committed under a generation that is over is fenced, whatever became of the rest.
    fn answer_wanted(&self, wanted: Wanted, outcome: Result<()>) {
        let state = self.shared.state();
        let of = |commit: &Commit| {
            if state.ahead.generation(commit.partition) != Some(commit.generation) {
                return Err(not_owner(commit.partition));
            }
            if state.ahead.committed(commit.partition).is_some_and(|known| known >= commit.offset) {
                return Ok(());
            }
            outcome.clone()
        };
        let outcomes = wanted.commits.iter().map(of).collect();
        drop(state);
        // Whoever waited may be gone.
        drop(wanted.answer.send(outcomes));
    }

    // The end.

    fn check_identity(&mut self) {
        if let Some(failed) = self.identity.check(&self.shared.clients, &self.shared.request.topic) {
            self.end_with(failed);
        }
    }

    /// Nothing more comes; the member stays until the source is closed.
    fn end_with(&mut self, failed: Error) {
        self.shared.change(|state| {
            if state.over.is_none() {
                tracing::warn!("{failed}");
                state.over = Some(failed);
            }
        });
    }

    /// Joins the group with a new client, after the last one ended.
    fn join_again(&mut self) -> bool {
        match join(&self.shared.clients.config, &self.shared.request, self.is_classic, &self.shared.bell) {
            Ok(consumer) => self.consumer = Some(consumer),
            Err(failed) => {
                self.shared.change(|state| state.trouble = Some(failed));
                pause(LOOK_AGAIN);
            }
        }
        self.consumer.is_some()
    }

    fn leave(&mut self) {
        self.end_client();
    }

    /// Ends the client, which leaves its group. Blocks for a moment, a few seconds if nobody answers.
    fn end_client(&mut self) {
        self.queues.clear();
        self.displaced.clear();
        let Some(mut consumer) = self.consumer.take() else { return };
        consumer.context().close();
        // The group waits for these answers before it lets the member go.
        if let Some(Revoking { partitions, .. }) = self.revoking.take() {
            let unread: Vec<_> = partitions.into_iter().map(|partition| (partition, Offset(0))).collect();
            drop(list(self.topic(), &unread).and_then(|list| consumer.incremental_unassign(&list)));
        }
        if self.assigning.take().is_some() {
            drop(consumer.incremental_assign(&TopicPartitionList::new()));
        }
        if let Some(UnderWay { wanted: Some(wanted), .. }) = self.under_way.take() {
            self.answer_wanted(wanted, Err(super::member::source_closed()));
        }
        loop {
            match Arc::try_unwrap(consumer) {
                Ok(alone) => return drop(alone),
                Err(shared) => consumer = shared,
            }
            pause(Duration::from_millis(1));
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements().iter().map(|element| Partition(element.partition() as u32)).collect()
}

fn list(topic: &str, offsets: &[(Partition, Offset)]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, partition.0 as i32, KafkaOffset::Offset(offset.0 as i64))?;
    }
    Ok(list)
}
