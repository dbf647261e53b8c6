//! The thread of a member: everything that the client is asked for, and everything that it says, passes here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use busline_core::{Assignment, Error, ErrorKind, Offset, Partition, Result, TopicName, not_owner};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::time::Instant;

use super::commits::Commits;
use super::consumer::{Consumer, POLL_INTERVAL_MAX, Said, TRY_AGAIN, give_up, join, take};
use super::member::{Order, Shared};
use super::piece::{End, Piece, Reader};
use super::places::Places;
use super::start;
use crate::clients::pause;
use crate::config::GroupProtocol;
use crate::identity::Identity;
use crate::native::PartitionQueue;
use crate::{error, records};

/// Longest time between two polls.
const TICK: Duration = Duration::from_millis(100);

/// Records that one partition gives before the others have their turn.
const TURN_RECORDS: usize = 256;

/// Things that the client says in one look at it.
const SAID_MAX: usize = 16;

/// Pause before a client is made again that could not be.
const JOIN_AGAIN: Duration = Duration::from_secs(1);

/// Starts the thread, which joins the group.
pub(super) fn start(shared: &Arc<Shared>) -> Result<()> {
    let is_classic = shared.agreement.is_classic;
    let consumer = join(&shared.clients.config, &shared.request, is_classic, &shared.bell)?;
    let poller = Poller::new(shared, Some(consumer));
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
    commits: Commits,
    places: Places,
    identity: Identity,
    /// Records wait that had no turn yet.
    has_more: bool,
}

struct Revoking {
    partitions: Vec<Partition>,
    since: Instant,
}

impl Poller {
    fn new(shared: &Arc<Shared>, consumer: Option<Arc<Consumer>>) -> Self {
        Self {
            shared: Arc::clone(shared),
            consumer,
            is_classic: shared.agreement.is_classic,
            queues: BTreeMap::new(),
            generation: 0,
            assigning: None,
            revoking: None,
            commits: Commits::new(),
            places: Places::new(),
            identity: Identity::default(),
            has_more: false,
        }
    }

    fn run(mut self) {
        while !self.shared.is_closing() {
            self.tick();
        }
        self.end_client();
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
        self.commit();
        self.give_up_revoked();
        self.check_identity();
    }

    /// How long nothing has to be done unless the bell rings.
    fn wait_max(&self) -> Duration {
        self.commits.idle_for(self.revoking.is_some()).map_or(TICK, |idle| idle.min(TICK))
    }

    fn topic(&self) -> &TopicName {
        &self.shared.request.topic.name
    }

    // What the client says.

    fn poll(&mut self, looks: usize) {
        for _ in 0..looks {
            let Some(consumer) = self.consumer.clone() else { return };
            match consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => match records::record(&message) {
                    Ok(record) => self.shared.change(|state| {
                        let bytes = record.bytes();
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
        if let Err(failed) = take(&consumer, self.topic(), &committed) {
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
            // The group waits for an answer before it can take them back.
            drop(give_up(consumer, self.topic(), partitions));
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
        if revoking.since.elapsed() > POLL_INTERVAL_MAX.mul_f32(0.8) {
            self.break_off(&revoking.partitions);
        }
        let held = self.shared.state().ahead.partitions();
        if revoking.partitions.iter().any(|partition| held.contains(partition)) {
            return;
        }
        let Some(revoking) = self.revoking.take() else { return };
        for partition in &revoking.partitions {
            self.queues.remove(partition);
            self.places.forget(*partition);
        }
        let Some(consumer) = &self.consumer else { return };
        if let Err(failed) = give_up(consumer, self.topic(), &revoking.partitions) {
            tracing::debug!("give partitions of {} up: {failed}", self.topic());
        }
    }

    /// The group would end a member that keeps it waiting any longer.
    fn break_off(&self, overdue: &[Partition]) {
        tracing::warn!("{}: handlers of partitions that go to another member are broken off", self.topic());
        self.shared.change(|state| state.ahead.lose(overdue));
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
                    self.commits.add(commits, answer, until);
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
        if let Some(consumer) = &self.consumer {
            self.places.seek(&self.shared, consumer, partition, offset);
        }
        Ok(())
    }

    // Records.

    fn read(&mut self) {
        let (mut failures, mut unreadable) = (Vec::new(), None);
        let places = &self.places;
        let placed = self.queues.iter_mut().filter(|(partition, _)| !places.is_displaced(**partition));
        for (partition, reader) in placed {
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
                ) => self.places.lost(partition),
                failed => self.take_error(&failed),
            }
        }
        if let Some(failed) = unreadable {
            self.end_with(failed);
        }
    }

    fn place_again(&mut self) {
        let is_quiet = self.assigning.is_none() && self.revoking.is_none();
        if let Some(consumer) = self.consumer.as_ref().filter(|_| is_quiet) {
            self.places.find_again(&self.shared, consumer);
        }
    }

    fn commit(&mut self) {
        self.commits.take_answer(&self.shared);
        if let Some(consumer) = &self.consumer {
            self.commits.send_next(&self.shared, consumer, self.revoking.is_some());
        }
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
                pause(JOIN_AGAIN);
            }
        }
        self.consumer.is_some()
    }

    /// Ends the client, which leaves its group. Blocks for a moment, a few seconds if nobody answers.
    fn end_client(&mut self) {
        self.queues.clear();
        self.places.clear();
        let Some(mut consumer) = self.consumer.take() else { return };
        consumer.context().close();
        // The group waits for these answers before it lets the member go.
        if let Some(Revoking { partitions, .. }) = self.revoking.take() {
            drop(give_up(&consumer, self.topic(), &partitions));
        }
        if self.assigning.take().is_some() {
            drop(consumer.incremental_assign(&TopicPartitionList::new()));
        }
        self.commits.client_has_ended(&self.shared);
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

#[cfg(test)]
mod tests {
    use busline_core::{Source as _, SourceEvent, SourceRequest, Start, TopicInfo, TopicSpec};
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
    use tokio::time::timeout;

    use super::*;
    use crate::clients::Clients;
    use crate::config::KafkaConfig;
    use crate::source::agreement::Agreement;
    use crate::source::consumer::without_group;
    use crate::source::member::KafkaSource;

    /// A member without a client that holds nothing.
    fn member(bootstrap: &str) -> Poller {
        let mut config = KafkaConfig::new([bootstrap]);
        config.group_protocol = GroupProtocol::Classic;
        let clients = Arc::new(Clients::new(config).expect("nobody needs to be there"));
        let topic = TopicInfo {
            name: "orders".parse().expect("legal"),
            spec: TopicSpec::default(),
            incarnation: uuid::Uuid::nil(),
        };
        let request = SourceRequest {
            group: "billing".parse().expect("legal"),
            topic,
            member: "a".into(),
            start: Start::Earliest,
            lease: Duration::from_secs(5),
        };
        let agreement = Agreement::find(&clients, &request);
        let shared = Arc::new(Shared::new(&clients, request, agreement));
        Poller::new(&shared, None)
    }

    fn told(poller: &Poller) -> Vec<SourceEvent> {
        std::iter::from_fn(|| poller.shared.change(|state| state.ahead.take(0, 0))).collect()
    }

    #[test]
    fn a_partition_is_given_up_when_its_handlers_have_ended_or_must_not_go_on() {
        let mut poller = member("127.0.0.1:1");
        let assigned = Assignment { partition: Partition(0), generation: 1, committed: Offset(0) };
        poller.shared.change(|state| state.ahead.assign(vec![assigned]));
        drop(told(&poller));
        poller.revoke(vec![Partition(0)], false);
        poller.give_up_revoked();
        assert_eq!(told(&poller), [SourceEvent::Revoking(vec![Partition(0)])]);
        assert!(poller.revoking.is_some(), "its handlers still run");
        let long_ago = Instant::now().checked_sub(POLL_INTERVAL_MAX).expect("the machine runs that long");
        poller.revoking.as_mut().expect("it waits").since = long_ago;
        for _ in 0..2 {
            poller.give_up_revoked();
        }
        assert_eq!(told(&poller), [SourceEvent::Lost(vec![Partition(0)])]);
        assert!(poller.revoking.is_none(), "the group has its answer, and waits no longer");
    }

    /// Whoever is told of a loss has not let go of it yet, and could begin what another member has by now.
    #[tokio::test]
    async fn a_loss_is_in_doubt_until_the_next_event_is_asked_for() {
        let poller = member("127.0.0.1:1");
        let source = KafkaSource { shared: Arc::clone(&poller.shared) };
        let alive = || poller.shared.change(|state| state.alive = Some(Instant::now()));
        let is_held = || source.holds_until().is_none_or(|until| Instant::now() < until);
        let assigned = Assignment { partition: Partition(0), generation: 1, committed: Offset(0) };
        poller.shared.change(|state| state.ahead.assign(vec![assigned]));
        alive();
        assert!(matches!(source.next(1, 1).await, Ok(SourceEvent::Assigned(_))));
        assert!(is_held());
        poller.shared.change(|state| state.ahead.lose(&[Partition(0)]));
        assert!(!is_held(), "nobody was told");
        assert!(matches!(source.next(1, 1).await, Ok(SourceEvent::Lost(_))));
        assert!(!is_held(), "whoever is told has not let go of it yet");
        alive();
        assert!(!is_held(), "an answer of the group changes nothing about that");
        assert!(timeout(Duration::ZERO, source.next(1, 1)).await.is_err(), "there is nothing more");
        assert!(is_held(), "it is taken in");
    }

    fn produce(bootstrap: &str, records: u32) {
        let client: BaseProducer = ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("a client");
        for _ in 0..records {
            client.send(BaseRecord::to("orders").partition(0).key("a").payload("{}")).expect("there is room");
        }
        client.flush(WAIT).expect("all is stored");
    }

    const WAIT: Duration = Duration::from_secs(60);

    fn next(poller: &Poller) -> Option<Offset> {
        poller.shared.state().ahead.next(Partition(0))
    }

    fn read_up_to(poller: &mut Poller, wanted: Offset) {
        let started = Instant::now();
        while next(poller) != Some(wanted) {
            assert!(started.elapsed() < WAIT, "it is at {:?}", next(poller));
            poller.poll(SAID_MAX);
            poller.read();
            poller.place_again();
            pause(TRY_AGAIN);
        }
    }

    /// A seek that the client has not made when its wait is over.
    #[test]
    fn nothing_that_was_fetched_before_a_seek_is_read_before_it_is_made() {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic("orders", 1, 1).expect("a topic");
        let bootstrap = cluster.bootstrap_servers();
        produce(&bootstrap, 10);
        let mut poller = member(&bootstrap);
        let consumer = without_group(&bootstrap);
        poller.consumer = Some(Arc::clone(&consumer));
        poller.split(&consumer, Partition(0));
        let assigned = Assignment { partition: Partition(0), generation: 1, committed: Offset(0) };
        poller.shared.change(|state| state.ahead.assign(vec![assigned]));
        take(&consumer, poller.topic(), &[(Partition(0), Offset(0))]).expect("it is fetched");
        read_up_to(&mut poller, Offset(10));
        drop(told(&poller));
        poller.shared.change(|state| state.ahead.seek(Partition(0), 1, Offset(2)));
        poller.places.lost(Partition(0));
        produce(&bootstrap, 5);
        pause(Duration::from_millis(500));
        poller.read();
        assert_eq!(next(&poller), Some(Offset(2)), "what lies between was passed over");
        read_up_to(&mut poller, Offset(15));
        let Some(SourceEvent::Records { records, .. }) = poller.shared.change(|state| state.ahead.take(99, 9_999))
        else {
            panic!("nothing was read");
        };
        assert_eq!(records.first().map(|record| record.offset), Some(Offset(2)));
    }
}
