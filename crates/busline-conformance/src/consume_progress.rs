//! C1, C4, C5 and C11: progress is the finished prefix, and what is handed over and unfinished has bounds.

use std::time::Duration;

use busline_core::{Delivery, ParkingPolicy, Partition, SubscriptionSettings};

use crate::consume_judged::{ConsumeLoad, Consumed};
use crate::consume_stage::{GROUP, Gate, Log, Step, easy, keys_of, scripted, until};
use crate::harness::Harness;
use crate::stage::{Stage, within};

const CLOSE: Duration = Duration::from_secs(5);

/// Nothing finished behind an unfinished record moves progress; its own end moves it over all of them.
pub async fn progress_is_the_finished_prefix(harness: impl Harness) {
    let (stage, log, gate) = (Stage::open(&harness).await, Log::default(), Gate::shut());
    stage.one_partition().await;
    stage.publish(&["a", "b", "c"], 4).await;
    let (waits, third) = (gate.clone(), stage.offset(Partition(0), 2).await);
    let handler = scripted(&log, move |delivery| match delivery.offset == third {
        true => Step::At(waits.clone()),
        false => Step::Ok,
    });
    let subscription = stage.subscribe().handle(handler).await.expect("subscribes");
    // a and b are handled to their ends; c waits for its first.
    log.ended(8).await;
    let committed = || async { stage.committed().await[0] };
    within("progress up to the first unfinished record", async {
        while committed().await != Some(third) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(committed().await, Some(third), "nothing behind it may move progress");
    gate.open();
    stage.drained().await;
    drop(subscription);
    stage.close().await;
}

/// Commits whose answers are lost, or that are lost themselves, bring events again and lose none.
pub async fn a_lost_commit_loses_no_event(harness: impl Harness) {
    let load = ConsumeLoad { loses_commits: true, members: 2, ..ConsumeLoad::seeded() };
    Consumed::run(&harness, load).await.clean();
}

/// A commit that was not stored is made again, and everything comes again only if the member ends before that.
pub async fn what_was_not_committed_comes_again(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let log = Log::default();
    stage.publish(&["a", "b", "c"], 10).await;
    faults.refuse_commits(1_000);
    let subscription = stage.subscribe().handle(easy(&log)).await.expect("subscribes");
    log.ended(30).await;
    subscription.close(CLOSE).await.expect("closes");
    faults.forgive_commits();
    let subscription = stage.subscribe().handle(easy(&log)).await.expect("subscribes");
    stage.drained().await;
    let wanted: Vec<u64> = (1..=10).chain(1..=10).collect();
    for key in ["a", "b", "c"] {
        assert_eq!(log.handled(key), wanted, "key {key}");
    }
    subscription.close(CLOSE).await.expect("closes");
    let subscription = stage.subscribe().handle(easy(&log)).await.expect("subscribes");
    stage.publish_from(&["a"], 11, 11).await;
    stage.drained().await;
    assert_eq!(log.ends().len(), 61, "what was committed does not come again");
    drop(subscription);
    stage.close().await;
}

/// A slow handler costs lag, not memory: no more is held than the bound says, by records and by bytes.
pub async fn a_slow_handler_costs_lag_not_memory(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let names: Vec<String> = (0..30).map(|number| format!("k{number}")).collect();
    stage.publish(&names.iter().map(String::as_str).collect::<Vec<_>>(), 40).await;
    let settings =
        SubscriptionSettings { in_flight_records_max: 20, concurrency: 4, ..SubscriptionSettings::default() };
    let handler = scripted(&log, |delivery| match delivery.offset.0 % 16 {
        0 => Step::Take(Duration::from_millis(3)),
        _ => Step::Ok,
    });
    let subscription = stage.subscribe().settings(settings).handle(handler).await.expect("subscribes");
    let mut highest = 0;
    while log.ends().len() < 30 * 40 {
        let stats = subscription.stats();
        highest = highest.max(stats.in_flight_records);
        assert!(stats.in_flight_records <= 20, "{stats:?}");
        tokio::task::yield_now().await;
    }
    assert!(highest >= 10, "the bound was never near: {highest}");
    stage.drained().await;
    assert_eq!(subscription.stats().in_flight_records, 0);
    assert_eq!(subscription.stats().in_flight_bytes, 0);
    drop(subscription);
    stage.close().await;
}

/// The bytes of large events are bounded, also those that wait behind keys which fail for good.
pub async fn the_bytes_in_flight_are_bounded(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let publisher = stage.publisher().await;
    let large = "x".repeat(200_000);
    for version in 1..=4 {
        for key in ["bad-0", "bad-1", "bad-2", "bad-3", "good-0", "good-1"] {
            let envelope = busline_core::Envelope::new(key, "Tested", version).json(&large).expect("JSON");
            within("an ack", publisher.publish_sync(envelope)).await.expect("acked");
        }
    }
    let settings = SubscriptionSettings {
        parking: ParkingPolicy::Off,
        in_flight_bytes_max: 1 << 20,
        retry: crate::consume_stage::quick_retry(1),
        ..SubscriptionSettings::default()
    };
    let handler = scripted(&log, |delivery| match delivery.envelope.aggregate_id.starts_with("bad") {
        true => Step::Fail,
        false => Step::Ok,
    });
    let subscription = stage.subscribe().settings(settings).handle(handler).await.expect("subscribes");
    let is_done = || ["good-0", "good-1"].iter().all(|key| log.handled(key).len() == 4);
    until("the good keys, while the bad ones hold their share", || {
        let stats = subscription.stats();
        assert!(stats.in_flight_bytes < (1 << 20) + 201_000, "{stats:?}");
        is_done()
    })
    .await;
    until("all names", || subscription.blocked().len() == 4).await;
    drop(publisher);
    drop(subscription);
    stage.close().await;
}

/// A partition whose key waits stops at `ahead_max`; the others go on; after a crash no more than that comes again.
pub async fn a_waiting_key_stops_its_partition_at_ahead_max(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let (of_first, of_second) = (keys_of(Partition(0), 3), keys_of(Partition(1), 3));
    let keys: Vec<&str> = of_first.iter().chain(&of_second).map(String::as_str).collect();
    stage.publish(&keys, 100).await;
    let bad = of_first[0].clone();
    let settings = SubscriptionSettings {
        parking: ParkingPolicy::Off,
        ahead_max: 32,
        in_flight_records_max: 16,
        retry: crate::consume_stage::quick_retry(1),
        ..SubscriptionSettings::default()
    };
    let handler = move |log: &Log| {
        let bad = bad.clone();
        scripted(log, move |delivery: &Delivery| match delivery.envelope.aggregate_id == bad {
            true => Step::Fail,
            false => Step::Ok,
        })
    };
    let subscription = stage.subscribe().settings(settings.clone()).handle(handler(&log)).await.expect("subscribes");
    until("the other partition", || of_second.iter().all(|key| log.handled(key).len() == 100)).await;
    until("the name", || subscription.blocked().len() == 1).await;
    let offsets = stage.offsets(Partition(0)).await;
    let places = |log: &Log| {
        let ends = log.ends();
        let of_first = ends.iter().filter(|call| call.partition == Partition(0));
        of_first.map(|call| offsets.binary_search(&call.offset).expect("it is stored")).max()
    };
    until("the partition to run into its bound", || places(&log) >= Some(20)).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert!(places(&log) < Some(32), "ahead_max is the most that is handed over: {:?}", places(&log));
    subscription.close(CLOSE).await.expect("closes");

    let again = Log::default();
    let subscription = stage.subscribe().settings(settings).handle(handler(&again)).await.expect("subscribes");
    until("the name", || subscription.blocked().len() == 1).await;
    until("what comes again", || places(&again) >= Some(20)).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert!(again.ends().len() <= 32, "after a stop at most ahead_max come again: {}", again.ends().len());
    drop(subscription);
    stage.close().await;
}

/// Where nothing is parked, an undecodable record holds its partition alone, and is named without its bytes.
pub async fn an_undecodable_record_holds_its_partition(harness: impl Harness) {
    let ((stage, faults), log) = (Stage::faulty(&harness).await, Log::default());
    let (of_first, of_second) = (keys_of(Partition(0), 2), keys_of(Partition(1), 2));
    faults.spoil_key(&of_first[1]);
    stage.publish(&[&of_first[0], &of_second[0]], 1).await;
    stage.publish(&[&of_first[1]], 1).await;
    stage.publish_from(&[&of_first[0], &of_second[0]], 2, 60).await;
    let parking = ParkingPolicy::Off;
    let settings = SubscriptionSettings { parking, in_flight_records_max: 8, ..SubscriptionSettings::default() };
    let subscription = stage.subscribe().settings(settings).handle(easy(&log)).await.expect("subscribes");
    until("the other partition", || log.handled(&of_second[0]).len() == 60).await;
    until("the name", || !subscription.blocked().is_empty()).await;
    let blocked = subscription.blocked();
    let offsets = stage.offsets(Partition(0)).await;
    let named = format!("/0/{}: a record cannot be decoded", offsets[1]);
    assert!(blocked[0].to_string().contains(&named), "{blocked:?}");
    tokio::time::sleep(Duration::from_millis(250)).await;
    let committed = stage.committed().await[0].expect("the group has an offset");
    assert!(committed > offsets[0] && committed <= offsets[1], "progress stops before it: {committed:?}");
    // Whoever is responsible may pass over it.
    subscription.seek(Partition(0), offsets[2]).await.expect("the member holds it");
    stage.drained().await;
    assert_eq!(log.handled(&of_first[0]).last(), Some(&60));
    assert!(subscription.blocked().is_empty(), "{:?}", subscription.blocked());
    drop(subscription);
    stage.close().await;
}

/// One bus has one subscription of a group to a topic, unless another member is asked for.
pub async fn a_second_subscription_is_refused_unless_asked_for(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let subscription = stage.subscribe().handle(easy(&log)).await.expect("subscribes");
    crate::envelopes::refused(stage.subscribe().handle(easy(&log)).await, "AlreadyExists/Subscription");
    let another = stage.subscribe().another_member().handle(easy(&log)).await.expect("asked for");
    let other_group = stage.bus.subscribe(&stage.topic, "others").handle(easy(&log)).await.expect("another group");
    another.close(CLOSE).await.expect("closes");
    crate::envelopes::refused(stage.subscribe().handle(easy(&log)).await, "AlreadyExists/Subscription");
    subscription.close(CLOSE).await.expect("closes");
    let subscription = stage.subscribe().handle(easy(&log)).await.expect("the first is closed");
    let group = GROUP.parse().expect("a legal name");
    let members = stage.driver().members(&group, &stage.name()).await.expect("the topic exists");
    assert_eq!(members.len(), 1, "{members:?}");
    drop((subscription, other_group));
    stage.close().await;
}
