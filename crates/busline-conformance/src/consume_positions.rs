//! C12 and C14: where a group starts, pauses, moves, and what is missing.

use std::time::Duration;

use busline_core::{Gaps, Offset, Partition, Start, Subscription, SubscriptionSettings};

use crate::consume_stage::{GROUP, Gate, Log, Step, easy, scripted, until};
use crate::envelopes::refused;
use crate::harness::Harness;
use crate::stage::{Stage, within};

const CLOSE: Duration = Duration::from_secs(5);
const FIRST: Partition = Partition(0);

async fn stage(harness: &impl Harness) -> (Stage, Log) {
    let stage = Stage::open(harness).await;
    stage.one_partition().await;
    (stage, Log::default())
}

async fn read_from(stage: &Stage, group: &str, start: Start, log: &Log) -> Subscription {
    stage.bus.subscribe(&stage.topic, group).start(start).handle(easy(log)).await.expect("subscribes")
}

/// Each start is where it says.
pub async fn a_group_starts_where_it_is_told(harness: impl Harness) {
    let (stage, _) = stage(&harness).await;
    stage.publish(&["a"], 6).await;
    let times: Vec<_> = stage.stored().await.records().iter().map(|record| record.time).collect();
    let at_third = times.iter().position(|time| *time >= times[3]).expect("itself") as u64 + 1;
    let starts = [
        (Start::Earliest, 1),
        (Start::Latest, 7),
        (Start::Offsets(vec![(FIRST, stage.offset(FIRST, 4).await)]), 5),
        (Start::Offsets(Vec::new()), 1),
        (Start::Time(times[3]), at_third),
    ];
    let mut readers = Vec::new();
    for (number, (start, first)) in starts.into_iter().enumerate() {
        let log = Log::default();
        let subscription = read_from(&stage, &format!("group-{number}"), start, &log).await;
        crate::consume_stage::holds(&subscription, 1).await;
        readers.push((subscription, log, first));
    }
    stage.publish_from(&["a"], 7, 8).await;
    for (subscription, log, first) in readers {
        until("the newest", || log.handled("a").last() == Some(&8)).await;
        assert_eq!(log.handled("a"), (first..=8).collect::<Vec<_>>());
        drop(subscription);
    }
    let log = Log::default();
    let end = stage.driver().bounds(&stage.name(), FIRST).await.expect("the topic exists").end;
    for (start, code) in [((Partition(1), Offset(0)), "NotFound/Partition"), ((FIRST, end.next()), "Invalid/Offset")] {
        let start = Start::Offsets(vec![start]);
        refused(stage.bus.subscribe(&stage.topic, "unknown").start(start).handle(easy(&log)).await, code);
    }
    stage.close().await;
}

/// The start is committed before the first record is handed over, so nothing can move it any more.
pub async fn the_start_is_committed_before_the_first_record(harness: impl Harness) {
    let (stage, log) = stage(&harness).await;
    stage.publish(&["a"], 3).await;
    let end = stage.offset(FIRST, 3).await;
    let handler = scripted(&log, |_| Step::Never);
    let subscription = stage.subscribe().start(Start::Latest).handle(handler).await.expect("subscribes");
    crate::consume_stage::holds(&subscription, 1).await;
    assert_eq!(stage.committed().await, [Some(end)], "before anything was published or handled");
    stage.publish_from(&["a"], 4, 5).await;
    log.started(1).await;
    assert_eq!(stage.committed().await, [Some(end)]);
    subscription.close(Duration::from_millis(50)).await.expect("closes");

    // Latest again, but the group has an offset by now.
    let again = Log::default();
    let subscription = read_from(&stage, GROUP, Start::Latest, &again).await;
    stage.drained().await;
    assert_eq!(again.handled("a"), [4, 5]);
    drop(subscription);
    stage.close().await;
}

/// A paused partition starts nothing and is kept; it takes no room from the others; then it goes on where it was.
pub async fn a_paused_partition_waits(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let (paused, other) = (crate::consume_stage::keys_of(FIRST, 2), crate::consume_stage::keys_of(Partition(1), 1));
    let settings = SubscriptionSettings { in_flight_records_max: 8, ..SubscriptionSettings::default() };
    let subscription = stage.subscribe().settings(settings).handle(easy(&log)).await.expect("subscribes");
    crate::consume_stage::holds(&subscription, 4).await;
    stage.publish(&[&paused[0], &paused[1], &other[0]], 1).await;
    stage.drained().await;
    subscription.pause(&[FIRST]);
    stage.publish_from(&[&paused[0], &paused[1], &other[0]], 2, 60).await;
    until("the other partition", || log.handled(&other[0]).len() == 60).await;
    assert_eq!(log.ends().len(), 62, "nothing of a paused partition is started");
    assert_eq!(subscription.partitions().len(), 4, "and it is kept");
    subscription.resume(&[FIRST]);
    stage.drained().await;
    for key in [&paused[0], &paused[1], &other[0]] {
        assert_eq!(log.handled(key), (1..=60).collect::<Vec<_>>(), "key {key}");
    }
    drop(subscription);
    stage.close().await;
}

/// A pause holds back what was handed over and has not begun; what runs ends, and is committed.
pub async fn a_pause_stops_what_waits_already(harness: impl Harness) {
    let ((stage, log), gate) = (stage(&harness).await, Gate::shut());
    stage.publish(&["a", "b"], 20).await;
    let second = stage.offset(FIRST, 1).await;
    let waits = gate.clone();
    let handler = scripted(&log, move |_| Step::At(waits.clone()));
    let subscription = stage.subscribe().concurrency(1).handle(handler).await.expect("subscribes");
    log.started(1).await;
    until("all of them", || subscription.stats().delivered == 40).await;
    subscription.pause(&[FIRST]);
    gate.open();
    log.ended(1).await;
    within("the commit of what ran", async {
        while stage.committed().await != [Some(second)] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(log.starts().len(), 1);
    subscription.resume(&[FIRST]);
    stage.drained().await;
    for key in ["a", "b"] {
        assert_eq!(log.handled(key), (1..=20).collect::<Vec<_>>(), "key {key}");
    }
    drop(subscription);
    stage.close().await;
}

/// A pause in the middle of everything, again and again, loses and doubles nothing.
pub async fn pauses_at_any_moment_lose_nothing(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let names: Vec<String> = (0..12).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    stage.publish(&keys, 60).await;
    let settings = SubscriptionSettings { in_flight_records_max: 10, ahead_max: 24, ..SubscriptionSettings::default() };
    let subscription = stage.subscribe().settings(settings).handle(easy(&log)).await.expect("subscribes");
    let all: Vec<Partition> = (0..4).map(Partition).collect();
    for round in 0..60 {
        subscription.pause(&all[round % 4..]);
        tokio::task::yield_now().await;
        subscription.resume(&all);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stage.drained().await;
    for key in keys {
        assert_eq!(log.handled(key), (1..=60).collect::<Vec<_>>(), "key {key}");
    }
    drop(subscription);
    stage.close().await;
}

/// A seek back brings everything from there again, in order, and moves the group's offset nowhere.
pub async fn a_seek_back_repeats_from_there(harness: impl Harness) {
    let (stage, log) = stage(&harness).await;
    stage.publish(&["a", "b"], 20).await;
    let subscription = read_from(&stage, GROUP, Start::Earliest, &log).await;
    stage.drained().await;
    let offsets = stage.offsets(FIRST).await;
    subscription.seek(FIRST, offsets[30]).await.expect("the member holds it");
    until("the end once more", || log.ends().len() == 50).await;
    assert_eq!(stage.committed().await, [Some(offsets[40])], "a committed offset never goes back by itself");
    for key in ["a", "b"] {
        let wanted: Vec<u64> = (1..=20).chain(16..=20).collect();
        assert_eq!(log.handled(key), wanted, "key {key}");
    }
    stage.publish_from(&["a"], 21, 21).await;
    stage.drained().await;
    assert_eq!(log.ends().len(), 51);
    refused(subscription.seek(Partition(9), Offset(0)).await, "Fenced/NotOwner");
    refused_beyond_the_end(&stage, &subscription).await;
    subscription.close(CLOSE).await.expect("closes");
    refused(subscription.seek(FIRST, Offset(0)).await, "Closed/Subscription");
    stage.close().await;
}

/// A seek to where nothing stands yet would pass over records that nobody has seen, and progress beyond the end is damage
/// to whoever opens the group next.
async fn refused_beyond_the_end(stage: &Stage, subscription: &Subscription) {
    let end = stage.driver().bounds(&stage.name(), FIRST).await.expect("the topic exists").end;
    for beyond in [end.next(), Offset(u64::MAX)] {
        refused(subscription.seek(FIRST, beyond).await, "Invalid/Offset");
    }
    subscription.seek(FIRST, end).await.expect("the end itself is a place");
}

/// A seek while handlers run and records wait: what was handed over before counts for nothing, a key whose handler still
/// runs waits for it, and progress goes on from the new place.
pub async fn a_seek_forgets_what_was_handed_over(harness: impl Harness) {
    let (stage, log) = stage(&harness).await;
    let gate = Gate::shut();
    stage.publish(&["a", "b"], 20).await;
    let offsets = stage.offsets(FIRST).await;
    let (waits, begin) = (gate.clone(), offsets[0]);
    let handler = scripted(&log, move |delivery| match delivery.offset == begin {
        true => Step::At(waits.clone()),
        false => Step::Ok,
    });
    let subscription = stage.subscribe().handle(handler).await.expect("subscribes");
    until("b to its end", || log.handled("b").len() == 20).await;
    subscription.seek(FIRST, offsets[30]).await.expect("the member holds it");
    until("b from the new place", || log.handled("b").len() == 25).await;
    assert_eq!(log.starts().iter().filter(|call| call.key == "a").count(), 1, "a's handler still runs");
    gate.open();
    stage.drained().await;
    let of_a: Vec<u64> = std::iter::once(1).chain(16..=20).collect();
    assert_eq!(log.handled("a"), of_a, "what lies between was passed over on purpose");
    let of_b: Vec<u64> = (1..=20).chain(16..=20).collect();
    assert_eq!(log.handled("b"), of_b);
    drop(subscription);
    stage.close().await;
}

/// Seeks at any moment under load keep the order of each key within what follows them.
pub async fn seeks_at_any_moment_keep_the_order(harness: impl Harness) {
    let (stage, log) = stage(&harness).await;
    stage.publish(&["a", "b", "c"], 100).await;
    let settings = SubscriptionSettings { in_flight_records_max: 10, ahead_max: 40, ..SubscriptionSettings::default() };
    let subscription = stage.subscribe().settings(settings).handle(easy(&log)).await.expect("subscribes");
    crate::consume_stage::holds(&subscription, 1).await;
    let offsets = stage.offsets(FIRST).await;
    for round in 0..40 {
        subscription.seek(FIRST, offsets[round * 7 % 250]).await.expect("the member holds it");
        tokio::time::sleep(Duration::from_millis(round as u64 % 3)).await;
    }
    let before = log.starts().len();
    subscription.seek(FIRST, offsets[30]).await.expect("the member holds it");
    let place = |offset: Offset| offsets.binary_search(&offset).expect("it is stored");
    // Attempts that were under way as the seek was asked for come before the first behind it.
    let behind_the_seek = |key: usize| -> Vec<usize> {
        let after = log.starts()[before..].iter().map(|call| place(call.offset)).collect::<Vec<usize>>();
        let of_key: Vec<usize> = after.into_iter().filter(|place| place % 3 == key).collect();
        of_key.iter().rposition(|place| *place == 30 + key).map_or_else(Vec::new, |first| of_key[first..].to_vec())
    };
    until("the end", || (0..3).all(|key| behind_the_seek(key).last() == Some(&(297 + key)))).await;
    for key in 0..3 {
        let wanted: Vec<usize> = (30..300).filter(|place| place % 3 == key).collect();
        assert_eq!(behind_the_seek(key), wanted, "key {key}");
    }
    drop(subscription);
    stage.close().await;
}

/// A seek far back below the committed offset repeats all of it, though no commit moves until it is passed again.
pub async fn a_seek_far_back_goes_on_to_the_end(harness: impl Harness) {
    let (stage, log) = stage(&harness).await;
    stage.publish(&["a", "b"], 100).await;
    let settings = SubscriptionSettings { ahead_max: 40, ..SubscriptionSettings::default() };
    let subscription = stage.subscribe().settings(settings).handle(easy(&log)).await.expect("subscribes");
    stage.drained().await;
    subscription.seek(FIRST, stage.offset(FIRST, 0).await).await.expect("the member holds it");
    log.ended(400).await;
    let twice: Vec<u64> = (1..=100).chain(1..=100).collect();
    assert_eq!((log.handled("a"), log.handled("b")), (twice.clone(), twice));
    subscription.close(CLOSE).await.expect("closes");
    stage.close().await;
}

/// Offsets of a group are moved and forgotten from outside only while it has no members.
pub async fn a_group_with_members_cannot_be_moved(harness: impl Harness) {
    let (stage, log) = stage(&harness).await;
    stage.publish(&["a"], 5).await;
    let subscription = read_from(&stage, GROUP, Start::Earliest, &log).await;
    stage.drained().await;
    let third = stage.offset(FIRST, 2).await;
    let (group, topic) = (GROUP.parse().expect("legal"), stage.name());
    let member = stage.driver().members(&group, &topic).await.expect("the topic exists").remove(0).name;
    let moved = stage.driver().move_committed(&group, &topic, &[(FIRST, third)]).await;
    let error = moved.expect_err("the group has a member");
    assert_eq!(error.code(), "Unavailable/GroupActive");
    assert!(error.to_string().contains(&member), "names the member: {error}");
    refused(
        stage.driver().delete_group(&group, &topic).await.map_err(|e| e.at("delete", "g")),
        "Unavailable/GroupActive",
    );
    subscription.close(CLOSE).await.expect("closes");
    stage.driver().move_committed(&group, &topic, &[(FIRST, third)]).await.expect("nobody is there");
    let subscription = read_from(&stage, GROUP, Start::Latest, &log).await;
    stage.drained().await;
    assert_eq!(log.handled("a"), [1, 2, 3, 4, 5, 3, 4, 5]);
    subscription.close(CLOSE).await.expect("closes");
    stage.driver().delete_group(&group, &topic).await.expect("nobody is there");
    assert_eq!(stage.committed().await, [None]);
    stage.close().await;
}

/// No group is moved behind the end of a partition, where it would pass over what is stored later.
pub async fn a_group_is_not_moved_beyond_the_end(harness: impl Harness) {
    let (stage, _) = stage(&harness).await;
    stage.publish(&["a"], 5).await;
    let (group, topic) = (GROUP.parse().expect("legal"), stage.name());
    let end = stage.driver().bounds(&topic, FIRST).await.expect("the topic exists").end;
    let error =
        stage.driver().move_committed(&group, &topic, &[(FIRST, end.next())]).await.expect_err("beyond the end");
    assert_eq!(error.code(), "Invalid/Offset", "{error}");
    assert_eq!(stage.committed().await, [None], "nothing was moved");
    stage.driver().move_committed(&group, &topic, &[(FIRST, end)]).await.expect("the end itself is a place");
    assert_eq!(stage.committed().await, [Some(end)]);
    stage.close().await;
}

/// What was trimmed before the group had read it is reported, exactly once, and the rest is read.
pub async fn a_gap_is_seen(harness: impl Harness) {
    let (stage, log) = stage(&harness).await;
    stage.publish(&["a"], 10).await;
    let subscription = read_from(&stage, GROUP, Start::Earliest, &log).await;
    stage.drained().await;
    assert_eq!(subscription.stats().gaps, 0);
    subscription.close(CLOSE).await.expect("closes");
    stage.publish_from(&["a"], 11, 20).await;
    stage.driver().trim(&stage.name(), FIRST, stage.offset(FIRST, 15).await).await.expect("trims");
    let subscription = read_from(&stage, GROUP, Start::Earliest, &log).await;
    stage.drained().await;
    let wanted: Vec<u64> = (1..=10).chain(16..=20).collect();
    assert_eq!(log.handled("a"), wanted);
    assert_eq!(subscription.stats().gaps, 1, "one stretch is missing");
    if stage.driver().capabilities().gaps == Gaps::Exact {
        assert_eq!(subscription.stats().gap_positions, 5, "and no other");
    }
    drop(subscription);
    stage.close().await;
}

/// An interrupted backend goes on by itself, with the same member, soon after it is back.
pub async fn an_interrupted_backend_goes_on(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let subscription = stage.subscribe().handle(easy(&log)).await.expect("subscribes");
    stage.publish(&["a", "b"], 20).await;
    stage.drained().await;
    let Some(interruption) = harness.interrupt().await else {
        crate::stage::skip("this backend cannot be interrupted");
        return drop(stage.close().await);
    };
    println!("{}", interruption.what);
    tokio::time::sleep(Duration::from_millis(500)).await;
    (interruption.heal)();
    let healed = tokio::time::Instant::now();
    stage.publish_from(&["a", "b"], 21, 40).await;
    within("everything", stage.drained()).await;
    assert!(healed.elapsed() < Duration::from_secs(2), "it went on after {:?}", healed.elapsed());
    for key in ["a", "b"] {
        assert_eq!(log.handled(key), (1..=40).collect::<Vec<_>>(), "key {key}");
    }
    // One of several connections may come back a little later than that which the records came by.
    until("the end of its trouble", || subscription.trouble().is_none()).await;
    drop(subscription);
    stage.close().await;
}
