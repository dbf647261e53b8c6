//! C7 and C10: what keeps failing is parked with its key, what cannot be decoded by itself, and progress waits for that.

use std::time::Duration;

use busline_core::{
    Deletion, Delivery, Extent, Offset, Parked, ParkedFilter, ParkedRecord, ParkedScope, ParkingPolicy, Partition,
    SubscriptionBuilder, SubscriptionSettings, parked_record,
};

use crate::consume_stage::{GROUP, Log, Step, easy, keys_of, quick_retry, scripted, until};
use crate::faulty::{Shape, Side};
use crate::harness::Harness;
use crate::stage::Stage;

const CLOSE: Duration = Duration::from_secs(5);

impl Stage {
    /// What the group has parked.
    pub(crate) async fn parked(&self) -> Parked {
        self.bus.parked(&self.topic, GROUP).await.expect("the group has a parking topic")
    }

    /// Versions of parked records of a key, in order.
    pub(crate) async fn parked_of(&self, key: &str) -> Vec<u64> {
        let mut versions = Vec::new();
        let parked = self.parked().await;
        let filter = ParkedFilter::key(key);
        let walk = parked.records(&filter, |parked| {
            versions.push(version(self, &parked));
            true
        });
        walk.await.expect("the backend works");
        versions
    }

    /// A subscription that parks soon.
    pub(crate) fn subscribe_and_park(&self) -> SubscriptionBuilder {
        self.subscribe().retry(quick_retry(2))
    }
}

fn version(stage: &Stage, parked: &ParkedRecord) -> u64 {
    parked.record.envelope(&stage.name()).map_or(0, |envelope| envelope.event_version)
}

/// Fails for ever on one event.
pub(crate) fn failing(log: &Log, key: &'static str, version: u64) -> impl busline_core::Handler {
    scripted(log, move |delivery: &Delivery| {
        let is_bad = delivery.envelope.aggregate_id == key && delivery.envelope.event_version == version;
        if is_bad { Step::Fail } else { Step::Ok }
    })
}

/// After its last attempt the event is parked, later ones of its key queue behind it in order, other keys flow, and
/// progress comes to the end.
pub async fn a_key_out_of_attempts_is_parked_and_later_records_queue_behind(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a", "b"], 5).await;
    let builder = stage.subscribe().retry(quick_retry(3));
    let subscription = builder.handle(failing(&log, "a", 2)).await.expect("subscribes");
    stage.drained().await;
    assert_eq!(log.of("a"), [(1, 1, true), (2, 1, false), (2, 2, false), (2, 3, false)]);
    assert_eq!(log.handled("b"), [1, 2, 3, 4, 5]);
    assert_eq!(stage.parked_of("a").await, [2, 3, 4, 5]);
    assert!(stage.parked_of("b").await.is_empty());
    let (stats, health) = (subscription.stats(), subscription.parking());
    assert_eq!((stats.parked, health.keys, health.records, health.waiting), (4, 1, 0, 0));
    assert!(health.oldest.is_some() && health.trouble.is_none());
    assert!(subscription.blocked().is_empty(), "nothing holds the group back");
    drop(subscription);
    stage.close().await;
}

/// A handler may give up on an event at once.
pub async fn a_handler_parks_at_once(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a"], 3).await;
    let handler = scripted(&log, |_| Step::Park);
    let subscription = stage.subscribe_and_park().handle(handler).await.expect("subscribes");
    stage.drained().await;
    assert_eq!(log.of("a"), [(1, 1, false)], "no second attempt, and nothing behind it runs");
    assert_eq!(stage.parked_of("a").await, [1, 2, 3]);
    drop(subscription);
    stage.close().await;
}

/// A parked record is the raw one, with all that is needed to find out why.
pub async fn a_parked_record_is_whole_and_has_its_diagnosis(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.one_partition().await;
    let mut sent = crate::envelopes::envelope("a", 1);
    sent.headers.push("trace", "1");
    sent.headers.push("trace", "2");
    let publisher = stage.publisher().await;
    publisher.publish(sent.clone()).await.expect("accepted").await.expect("acked");
    let subscription = stage.subscribe().retry(quick_retry(4)).handle(failing(&log, "a", 1)).await.expect("subscribes");
    stage.drained().await;
    let (from, to) = (Offset(0), Offset(u64::MAX));
    let request =
        busline_core::ReadRequest { partition: Partition(0), from, to, records_max: 10, bytes_max: usize::MAX };
    let raw = stage.driver().read(&stage.name(), request).await.expect("the topic exists");
    let name = stage.parked().await.topic().clone();
    let entries = stage.driver().read(&name, request).await.expect("the parking topic exists");
    let (record, diagnosis) = entries.iter().find_map(parked_record).expect("a parked record");
    assert_eq!((&record.key, &record.headers, &record.body), (&raw[0].key, &raw[0].headers, &raw[0].body));
    assert_eq!(
        (diagnosis.topic.as_str(), diagnosis.partition, diagnosis.offset),
        (&*stage.topic, Partition(0), raw[0].offset)
    );
    assert_eq!((diagnosis.id.as_ref(), diagnosis.event_type.as_ref()), (Some(&sent.id), Some(&sent.event_type)));
    assert_eq!((diagnosis.attempts, diagnosis.error.as_str(), diagnosis.group.as_str()), (4, "not yet", GROUP));
    assert!(diagnosis.first < diagnosis.last, "from the first failed attempt to the parking: {diagnosis:?}");
    assert!(!diagnosis.member.is_empty());
    drop((subscription, publisher));
    stage.close().await;
}

/// Progress does not pass a record before the parking topic has acked it.
pub async fn progress_waits_for_the_parking_ack(harness: impl Harness) {
    let ((stage, faults), log) = (Stage::faulty(&harness).await, Log::default());
    stage.one_partition().await;
    stage.publish(&["a", "b"], 4).await;
    let subscription = {
        let gate = crate::consume_stage::Gate::shut();
        let wait = gate.clone();
        let handler = scripted(&log, move |delivery: &Delivery| match &*delivery.envelope.aggregate_id {
            "a" if delivery.attempt == 1 && delivery.envelope.event_version == 1 => Step::At(wait.clone()),
            _ => Step::Park,
        });
        let subscription = stage.subscribe().concurrency(1).handle(handler).await.expect("subscribes");
        log.started(1).await;
        faults.hold();
        gate.open();
        subscription
    };
    faults.held_at_least(1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = stage.offset(Partition(0), 1).await;
    assert_eq!(stage.committed().await[0], Some(second), "only the handled record is passed");
    assert!(subscription.parking().waiting <= 2);
    faults.release();
    stage.drained().await;
    assert_eq!(stage.parked_of("a").await, [2, 3, 4]);
    assert_eq!(stage.parked_of("b").await, [1, 2, 3, 4]);
    drop(subscription);
    stage.close().await;
}

/// A write to the parking topic that fails, or whose answer is lost, is made again; the key waits, health says why, and
/// each record is parked once.
pub async fn a_failed_parking_is_told_and_made_again(harness: impl Harness) {
    let ((stage, faults), log) = (Stage::faulty(&harness).await, Log::default());
    stage.publish(&["a", "b"], 6).await;
    let gate = crate::consume_stage::Gate::shut();
    let wait = gate.clone();
    let handler = scripted(&log, move |delivery: &Delivery| match delivery.envelope.aggregate_id == "a" {
        true if delivery.envelope.event_version == 1 => Step::At(wait.clone()),
        true => Step::Park,
        false => Step::Ok,
    });
    let subscription = stage.subscribe().handle(handler).await.expect("subscribes");
    until("the other key", || log.handled("b").len() == 6).await;
    faults.swallow_next(1);
    faults.fail_next(3);
    faults.forget_next(1);
    gate.open();
    until("the trouble", || subscription.parking().trouble.is_some()).await;
    assert!(subscription.trouble().is_some(), "health says why");
    stage.drained().await;
    assert_eq!(stage.parked_of("a").await, [2, 3, 4, 5, 6]);
    let health = subscription.parking();
    assert!(health.write_errors >= 5, "{health:?}");
    assert!(health.trouble.is_none() && subscription.trouble().is_none(), "{health:?}");
    assert_eq!(subscription.stats().parked, 5);
    drop(subscription);
    stage.close().await;
}

/// A sink that panics while it parks, with the batch or without it: its key waits, and is parked at another try.
pub async fn a_sink_that_panics_parks_at_another_try(harness: impl Harness) {
    for side in [Side::Before, Side::After] {
        let ((stage, faults), log) = (Stage::faulty(&harness).await, Log::default());
        stage.publish(&["a"], 6).await;
        let gate = crate::consume_stage::Gate::shut();
        let wait = gate.clone();
        let handler = scripted(&log, move |delivery: &Delivery| match delivery.envelope.event_version {
            1 => Step::At(wait.clone()),
            _ => Step::Park,
        });
        let subscription = stage.subscribe().handle(handler).await.expect("subscribes");
        faults.hold();
        faults.panic_at_next(side);
        gate.open();
        until("the trouble", || subscription.parking().trouble.is_some()).await;
        faults.release();
        stage.drained().await;
        assert_eq!(stage.parked_of("a").await, [2, 3, 4, 5, 6]);
        assert!(subscription.parking().trouble.is_none(), "it is over");
        subscription.close(CLOSE).await.expect("closes");
        stage.close().await;
    }
}

/// A queue of a parked key that takes several writes, the first of which fails: what came behind it is not parked before it,
/// or the log would count it as parked too.
pub async fn a_failed_write_is_not_passed_by_those_behind(harness: impl Harness) {
    let shape = Shape { batch_records_max: Some(1), ..Shape::default() };
    let ((stage, faults), log) = (Stage::shaped(&harness, shape).await, Log::default());
    stage.one_partition().await;
    stage.publish(&["a"], 8).await;
    // The first two are the owner and the record that parks the key.
    faults.pass_next(2);
    faults.fail_next(1);
    let subscription = stage.subscribe().handle(scripted(&log, |_| Step::Park)).await.expect("subscribes");
    stage.drained().await;
    assert!(subscription.parking().write_errors >= 1, "one was refused");
    assert_eq!(stage.parked_of("a").await, [1, 2, 3, 4, 5, 6, 7, 8]);
    drop(subscription);
    stage.close().await;
}

/// What is parked stays so when the member ends, and its later records go on queueing behind.
pub async fn the_parked_set_outlives_its_member(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a", "b"], 3).await;
    let subscription = stage.subscribe_and_park().handle(failing(&log, "a", 2)).await.expect("subscribes");
    stage.drained().await;
    subscription.close(CLOSE).await.expect("closes");
    stage.publish_from(&["a", "b"], 4, 6).await;
    let again = Log::default();
    let subscription = stage.subscribe_and_park().handle(easy(&again)).await.expect("subscribes");
    stage.drained().await;
    assert_eq!((again.handled("a"), again.handled("b")), (vec![], vec![4, 5, 6]));
    assert_eq!(stage.parked_of("a").await, [2, 3, 4, 5, 6]);
    assert_eq!(subscription.parking().keys, 1, "the next member knows");
    drop(subscription);
    stage.close().await;
}

/// A member that takes a partition over knows what is parked in it.
pub async fn the_parked_set_moves_with_its_partition(harness: impl Harness) {
    let (stage, first, second) = (Stage::open(&harness).await, Log::default(), Log::default());
    let keys: Vec<String> = (0..4).flat_map(|partition| keys_of(Partition(partition), 2)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    stage.publish(&keys, 2).await;
    let bad: Vec<String> = keys.iter().step_by(2).map(|key| (*key).to_owned()).collect();
    let handler = |log: &Log| {
        let bad = bad.clone();
        scripted(log, move |delivery: &Delivery| {
            if bad.contains(&delivery.envelope.aggregate_id) && delivery.envelope.event_version == 2 {
                Step::Park
            } else {
                Step::Ok
            }
        })
    };
    let one = stage.subscribe().handle(handler(&first)).await.expect("subscribes");
    stage.drained().await;
    let two = stage.subscribe().another_member().handle(handler(&second)).await.expect("subscribes");
    crate::consume_stage::holds(&two, 2).await;
    crate::consume_stage::holds(&one, 2).await;
    stage.publish_from(&keys, 3, 5).await;
    stage.drained().await;
    one.close(CLOSE).await.expect("closes");
    crate::consume_stage::holds(&two, 4).await;
    stage.publish_from(&keys, 6, 7).await;
    stage.drained().await;
    for (key, handled) in keys.iter().zip([vec![1], (1..=7).collect::<Vec<u64>>()].into_iter().cycle()) {
        let mut seen = [first.handled(key), second.handled(key)].concat();
        seen.sort_unstable();
        assert_eq!(seen, handled, "{key}");
        let parked: Vec<u64> = if handled.len() == 1 { (2..=7).collect() } else { vec![] };
        assert_eq!(stage.parked_of(key).await, parked, "{key}");
    }
    drop(two);
    stage.close().await;
}

/// By the record policy only the event itself is parked.
pub async fn the_record_policy_parks_the_record_alone(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a"], 5).await;
    let builder = stage.subscribe_and_park().parking(ParkingPolicy::Record);
    let subscription = builder.handle(failing(&log, "a", 2)).await.expect("subscribes");
    stage.drained().await;
    assert_eq!(log.handled("a"), [1, 3, 4, 5]);
    assert_eq!(stage.parked_of("a").await, [2]);
    let health = subscription.parking();
    assert_eq!((health.keys, health.records), (0, 1));
    drop(subscription);
    stage.close().await;
}

/// What cannot be decoded is parked by itself as it is, with the reason; later records of its key run.
pub async fn a_bad_record_is_parked_alone(harness: impl Harness) {
    let ((stage, faults), log) = (Stage::faulty(&harness).await, Log::default());
    stage.one_partition().await;
    faults.spoil_key("bad");
    stage.publish(&["bad", "good"], 3).await;
    let subscription = stage.subscribe_and_park().handle(easy(&log)).await.expect("subscribes");
    stage.drained().await;
    assert_eq!(log.handled("good"), [1, 2, 3]);
    let mut parked = Vec::new();
    let walk = stage.parked().await;
    walk.records(&ParkedFilter::default(), |record| {
        parked.push(record);
        true
    })
    .await
    .expect("the backend works");
    assert_eq!(parked.len(), 3, "each by itself");
    for record in &parked {
        assert_eq!((record.scope, &*record.record.key), (ParkedScope::Record, &b"bad"[..]));
        assert_eq!((record.diagnosis.id.as_ref(), record.diagnosis.attempts), (None, 0));
        assert!(record.diagnosis.error.contains("Corrupt/"), "{:?}", record.diagnosis);
    }
    assert_eq!(subscription.parking().records, 3);
    subscription.close(CLOSE).await.expect("closes");
    // A member that begins before them again does not park them twice.
    let again = stage.subscribe_and_park().handle(easy(&log)).await.expect("subscribes");
    stage.publish_from(&["good"], 4, 4).await;
    stage.drained().await;
    assert_eq!((again.parking().records, log.handled("good").len()), (3, 4));
    drop(again);
    stage.close().await;
}

/// At the bound of parked keys the partition waits and says so, and goes on when there is room again.
pub async fn a_full_partition_waits_for_room(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.one_partition().await;
    stage.publish(&["a", "b", "c"], 2).await;
    let settings = SubscriptionSettings { parked_keys_max: 2, ..SubscriptionSettings::default() };
    let handler = scripted(&log, |_| Step::Park);
    let subscription = stage.subscribe().settings(settings).handle(handler).await.expect("subscribes");
    until("the bound", || subscription.parking().full == [Partition(0)]).await;
    stage.publish(&["d"], 1).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(subscription.parking().keys, 2);
    assert!(log.of("d").is_empty(), "the partition waits");
    let parked = stage.parked().await;
    let queues = parked.queues(&ParkedFilter::default()).await.expect("the backend works");
    let discarded = parked.discard(ParkedFilter::key(&queues[0].key), Extent::All, "room for others").await;
    assert!(discarded.expect("discards").discarded >= 1);
    until("the third key", || subscription.parking().keys == 2 && subscription.parking().full == [Partition(0)]).await;
    until("the attempt of it", || log.starts().len() >= 3).await;
    drop(subscription);
    stage.close().await;
}

/// With parking off nothing is parked and no topic is made for it.
pub async fn parking_can_be_turned_off(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a"], 2).await;
    let builder = stage.subscribe_and_park().parking(ParkingPolicy::Off);
    let subscription = builder.handle(failing(&log, "a", 1)).await.expect("subscribes");
    until("the name of the key", || !subscription.blocked().is_empty()).await;
    let absent = stage.bus.parked(&stage.topic, GROUP).await.expect_err("there is none");
    assert_eq!(absent.code(), "NotFound/Parking");
    drop(subscription);
    stage.close().await;
}

/// A seek repeats what was handled; what is parked stays parked.
pub async fn a_seek_keeps_what_is_parked(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.one_partition().await;
    stage.publish(&["a", "b"], 4).await;
    let subscription = stage.subscribe_and_park().handle(failing(&log, "a", 2)).await.expect("subscribes");
    stage.drained().await;
    subscription.seek(Partition(0), Offset(0)).await.expect("the member holds it");
    until("the repeated events", || log.handled("b").len() == 8).await;
    stage.publish_from(&["a"], 5, 5).await;
    stage.drained().await;
    assert_eq!(log.handled("a"), [1], "the key is parked");
    assert_eq!(stage.parked_of("a").await, [2, 3, 4, 5]);
    drop(subscription);
    stage.close().await;
}

/// The owner before may trim while the next one reads: nothing that was closed is taken for parked.
pub async fn a_trim_while_it_is_read_parks_nothing_again(harness: impl Harness) {
    let ((stage, faults), log) = (Stage::faulty(&harness).await, Log::default());
    stage.one_partition().await;
    // More entries than are read at once.
    let keys: Vec<String> = (0..60).map(|number| format!("key-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    stage.publish(&keys, 10).await;
    let subscription = stage.subscribe().handle(scripted(&log, |_| Step::Park)).await.expect("subscribes");
    stage.drained().await;
    subscription.close(CLOSE).await.expect("closes");
    let parked = stage.parked().await;
    let options = busline_core::ReplayOptions { concurrency: 60, ..busline_core::ReplayOptions::default() };
    assert_eq!(parked.replay(options, easy(&log)).await.expect("replays").replayed, 600);
    faults.trim_behind_next_read(parked.topic());
    let again = Log::default();
    let subscription = stage.subscribe_and_park().handle(easy(&again)).await.expect("subscribes");
    stage.publish_from(&keys, 11, 11).await;
    stage.drained().await;
    assert_eq!(again.ends().len(), 60, "all keys flow");
    assert_eq!((subscription.parking().keys, parked.count().await.expect("the backend works")), (0, 0));
    drop(subscription);
    stage.close().await;
}

/// A topic is not deleted while records of it are parked, unless they may go; with it goes what is left of its parking.
pub async fn a_topic_with_parked_records_is_deleted_only_when_told(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a", "b"], 3).await;
    let subscription = stage.subscribe().handle(scripted(&log, |_| Step::Park)).await.expect("subscribes");
    stage.drained().await;
    let with_parked = Deletion { with_parked: true, ..Deletion::default() };
    let active = stage.bus.delete_topic(&stage.topic, with_parked).await.expect_err("a member is at work");
    assert_eq!(active.code(), "Unavailable/GroupActive");
    subscription.close(CLOSE).await.expect("closes");
    for dry_run in [true, false] {
        let deletion = Deletion { with_parked: false, dry_run };
        let refused = stage.bus.delete_topic(&stage.topic, deletion).await.expect_err("records are parked");
        assert_eq!(refused.code(), "Unavailable/ParkedRecords");
        assert!(refused.to_string().contains("6 records"), "{refused}");
    }
    assert_eq!(stage.parked_of("a").await, [1, 2, 3]);
    let parking = stage.parked().await.topic().clone();
    let told = stage.bus.delete_topic(&stage.topic, Deletion { dry_run: true, ..with_parked }).await.expect("says it");
    assert_eq!(told.iter().map(|count| (count.group.as_str(), count.records)).collect::<Vec<_>>(), [(GROUP, 6)]);
    assert_eq!(stage.parked_of("b").await, [1, 2, 3], "a dry run deletes nothing");
    assert_eq!(stage.bus.delete_topic(&stage.topic, with_parked).await.expect("deletes"), told);
    for name in [&parking, &stage.name()] {
        assert_eq!(stage.driver().topic(name).await.expect_err("gone").code(), "NotFound/Topic");
    }
    let gone = stage.bus.delete_topic(&stage.topic, with_parked).await.expect_err("gone");
    assert_eq!(gone.code(), "NotFound/Topic");
    stage.close().await;
}

/// The same of a group; one of that name then begins anew, also with keys whose records had been parked.
pub async fn a_group_with_parked_records_is_deleted_only_when_told(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a", "b"], 3).await;
    let subscription = stage.subscribe().handle(scripted(&log, |_| Step::Park)).await.expect("subscribes");
    stage.drained().await;
    subscription.close(CLOSE).await.expect("closes");
    let parked = stage.parked().await;
    let only_a =
        busline_core::ReplayOptions { filter: ParkedFilter::key("a"), ..busline_core::ReplayOptions::default() };
    assert_eq!(parked.replay(only_a, easy(&log)).await.expect("replays").replayed, 3);
    let refused = stage.bus.delete_group(GROUP, &stage.topic, Deletion::default()).await.expect_err("b is parked");
    assert_eq!(refused.code(), "Unavailable/ParkedRecords");
    assert!(refused.to_string().contains("3 records"), "{refused}");
    let with_parked = Deletion { with_parked: true, ..Deletion::default() };
    let went = stage.bus.delete_group(GROUP, &stage.topic, with_parked).await.expect("deletes");
    assert_eq!(went.iter().map(|count| count.records).collect::<Vec<_>>(), [3]);
    let gone = stage.bus.delete_group(GROUP, &stage.topic, with_parked).await.expect_err("gone");
    assert_eq!(gone.code(), "NotFound/Group");
    let anew = Log::default();
    let subscription = stage.subscribe_and_park().handle(easy(&anew)).await.expect("subscribes");
    stage.drained().await;
    assert_eq!((anew.handled("a"), anew.handled("b")), (vec![1, 2, 3], vec![1, 2, 3]));
    drop(subscription);
    stage.close().await;
}

/// Each group has its own parking, however alike their names; where a backend cannot hold both, the second one is told so.
pub async fn groups_that_differ_in_dots_and_underscores_park_beside_each_other(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    stage.one_partition().await;
    stage.publish(&["a"], 2).await;
    for group in ["a.b", "a_b", "a-b"] {
        let log = Log::default();
        let handler = scripted(&log, |_| Step::Park);
        let subscription = match stage.bus.subscribe(&stage.topic, group).handle(handler).await {
            Ok(subscription) => subscription,
            Err(error) if stage.driver().capabilities().backend == "kafka" => {
                assert_eq!(error.code(), "AlreadyExists/CollidingName");
                continue;
            }
            Err(error) => panic!("{group}: {error}"),
        };
        until("both to be parked", || subscription.stats().parked == 2).await;
        let parked = stage.bus.parked(&stage.topic, group).await.expect("it has a parking topic");
        assert_eq!(parked.count().await.expect("the backend works"), 2);
        drop(subscription);
    }
    stage.close().await;
}
