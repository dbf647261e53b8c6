//! C8: parked records run again in order, and then their key flows.

use std::time::Duration;

use busline_core::{Delivery, Extent, Offset, ParkedFilter, Partition, ReplayOptions};
use tokio::time::Instant;

use crate::consume_parking::failing;
use crate::consume_stage::{GROUP, Gate, Log, Step, easy, scripted, until};
use crate::harness::Harness;
use crate::stage::{Stage, within};

/// A replay runs the parked records of a key in order; then the key flows, with no gap and no overlap.
pub async fn a_replayed_key_runs_in_order_and_flows_again(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a", "b"], 4).await;
    let subscription = stage.subscribe_and_park().handle(failing(&log, "a", 2)).await.expect("subscribes");
    stage.drained().await;
    let again = Log::default();
    let report = stage.parked().await.replay(ReplayOptions::default(), easy(&again)).await.expect("replays");
    assert_eq!((report.replayed, report.failed, report.discarded), (3, 0, 0));
    assert_eq!(again.of("a"), [(2, 1, true), (3, 1, true), (4, 1, true)]);
    assert_eq!(again.ends()[0].partition, log.ends().iter().find(|call| call.key == "a").expect("ran").partition);
    stage.publish_from(&["a", "b"], 5, 8).await;
    stage.drained().await;
    assert_eq!(log.handled("a"), [1, 5, 6, 7, 8], "live, behind what was replayed");
    assert!(stage.parked_of("a").await.is_empty());
    until("health to hear of it", || subscription.parking().keys == 0).await;
    drop(subscription);
    stage.close().await;
}

/// A replay beside events that keep coming: every version of every key is handled once, in order.
pub async fn a_replay_beside_live_events_keeps_the_order(harness: impl Harness) {
    let (stage, log, mended) = (Stage::open(&harness).await, Log::default(), Gate::shut());
    let keys = ["a", "b", "c", "d"];
    let is_mended = mended.clone();
    let handler = move |log: &Log| {
        let is_mended = is_mended.clone();
        scripted(log, move |delivery: &Delivery| {
            let is_bad = delivery.envelope.aggregate_id.as_str() < "c" && delivery.envelope.event_version == 3;
            if is_bad && !is_mended.is_open() { Step::Fail } else { Step::Ok }
        })
    };
    let subscription = stage.subscribe_and_park().handle(handler(&log)).await.expect("subscribes");
    stage.publish(&keys, 20).await;
    stage.drained().await;
    assert_eq!(log.handled("a"), [1, 2]);
    mended.open();
    let parked = stage.parked().await;
    let replaying = async {
        while !stage.parked_of("a").await.is_empty() || !stage.parked_of("b").await.is_empty() {
            parked.replay(ReplayOptions::default(), handler(&log)).await.expect("replays");
        }
    };
    let publishing = async {
        for version in 21..=120 {
            stage.publish_from(&keys, version, version).await;
        }
    };
    tokio::join!(replaying, publishing);
    // The last ones may have queued behind before the owner found the queue empty.
    within("the end of the queues", async {
        while keys.iter().any(|key| log.handled(key).len() < 120) {
            parked.replay(ReplayOptions::default(), handler(&log)).await.expect("replays");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    stage.drained().await;
    for key in keys {
        assert_eq!(log.handled(key), (1..=120).collect::<Vec<u64>>(), "{key}");
    }
    drop(subscription);
    stage.close().await;
}

/// A record that fails again stays parked, with its error; its key is left and others are replayed; nothing loops.
pub async fn a_replay_that_fails_leaves_its_key(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a", "b"], 3).await;
    let handler = scripted(&log, |_| Step::Park);
    let subscription = stage.subscribe().handle(handler).await.expect("subscribes");
    stage.drained().await;
    let again = Log::default();
    let parked = stage.parked().await;
    let report = parked.replay(ReplayOptions::default(), failing(&again, "a", 2)).await.expect("replays");
    assert_eq!((report.replayed, report.failed), (4, 1));
    assert!(report.errors[0].contains("key a: not yet"), "{report:?}");
    assert_eq!(again.of("a"), [(1, 1, true), (2, 1, false)], "one attempt, and nothing behind it");
    assert_eq!(again.handled("b"), [1, 2, 3]);
    let queues = parked.queues(&ParkedFilter::default()).await.expect("the backend works");
    assert_eq!(queues.len(), 1);
    assert_eq!((queues[0].key.as_str(), queues[0].records), ("a", 2));
    assert_eq!(queues[0].first.replay_error.as_deref(), Some("not yet"));
    let report = parked.replay(ReplayOptions::default(), easy(&again)).await.expect("replays");
    assert_eq!((report.replayed, again.handled("a")), (2, vec![1, 2, 3]));
    drop(subscription);
    stage.close().await;
}

/// A filter chooses whole keys by the first parked record of each; looking at them changes nothing.
pub async fn a_filter_chooses_keys(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a", "b", "c"], 2).await;
    let handler = scripted(&log, |delivery: &Delivery| match &*delivery.envelope.aggregate_id {
        "b" => Step::Fail,
        _ => Step::Park,
    });
    let subscription = stage.subscribe_and_park().handle(handler).await.expect("subscribes");
    stage.drained().await;
    let parked = stage.parked().await;
    let keys = async |filter: ParkedFilter| {
        let queues = parked.queues(&filter).await.expect("the backend works");
        let mut keys: Vec<String> = queues.into_iter().map(|queue| queue.key).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(ParkedFilter::default()).await, ["a", "b", "c"]);
    assert_eq!(keys(ParkedFilter { error: Some("hopeless".into()), ..ParkedFilter::default() }).await, ["a", "c"]);
    assert_eq!(
        keys(ParkedFilter { event_type: Some("no such type".into()), ..ParkedFilter::default() }).await.len(),
        0
    );
    let long_ago = Some(jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(keys(ParkedFilter { since: long_ago, ..ParkedFilter::default() }).await.len(), 3);
    assert_eq!(keys(ParkedFilter { until: long_ago, ..ParkedFilter::default() }).await.len(), 0);
    let again = Log::default();
    let error = ParkedFilter { error: Some("not yet".into()), ..ParkedFilter::default() };
    let options = ReplayOptions { filter: error, ..ReplayOptions::default() };
    assert_eq!(parked.replay(options, easy(&again)).await.expect("replays").replayed, 2);
    assert_eq!(again.handled("b"), [1, 2]);
    assert_eq!(keys(ParkedFilter::default()).await, ["a", "c"], "the others are as they were");
    let options = ReplayOptions { records_max: Some(1), rate: Some(1_000.0), ..ReplayOptions::default() };
    assert_eq!(parked.replay(options, easy(&again)).await.expect("replays").replayed, 1);
    drop(subscription);
    stage.close().await;
}

/// A rate bounds how fast records run.
pub async fn a_rate_bounds_a_replay(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a"], 6).await;
    let subscription = stage.subscribe().handle(scripted(&log, |_| Step::Park)).await.expect("subscribes");
    stage.drained().await;
    let options = ReplayOptions { rate: Some(20.0), ..ReplayOptions::default() };
    let begin = Instant::now();
    assert_eq!(stage.parked().await.replay(options, easy(&log)).await.expect("replays").replayed, 6);
    assert!(begin.elapsed() >= Duration::from_millis(250), "five pauses of 50 ms: {:?}", begin.elapsed());
    drop(subscription);
    stage.close().await;
}

/// Discarding needs a reason; the first record of a key, or all of it, is given up and never runs.
pub async fn what_is_discarded_never_runs(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a", "b"], 3).await;
    let subscription = stage.subscribe().handle(scripted(&log, |_| Step::Park)).await.expect("subscribes");
    stage.drained().await;
    let parked = stage.parked().await;
    let error = parked.discard(ParkedFilter::key("a"), Extent::First, " ").await.expect_err("refused");
    assert_eq!(error.code(), "Invalid/NoReason");
    let report = parked.discard(ParkedFilter::key("a"), Extent::First, "sent twice").await.expect("discards");
    assert_eq!((report.discarded, stage.parked_of("a").await), (1, vec![2, 3]));
    let report = parked.discard(ParkedFilter::key("b"), Extent::All, "of no use").await.expect("discards");
    assert_eq!((report.discarded, stage.parked_of("b").await), (3, vec![]));
    let again = Log::default();
    parked.replay(ReplayOptions::default(), easy(&again)).await.expect("replays");
    assert_eq!((again.handled("a"), again.handled("b")), (vec![2, 3], vec![]));
    assert_eq!(log.starts().len(), 2);
    drop(subscription);
    stage.close().await;
}

/// A replay that is told to stop ends what runs and begins nothing more.
pub async fn a_replay_that_is_stopped_ends_what_runs(harness: impl Harness) {
    let (stage, log, gate) = (Stage::open(&harness).await, Log::default(), Gate::shut());
    stage.publish(&["a"], 6).await;
    let subscription = stage.subscribe().handle(scripted(&log, |_| Step::Park)).await.expect("subscribes");
    stage.drained().await;
    let first = Log::default();
    let held = gate.clone();
    let handler = scripted(&first, move |delivery: &Delivery| match delivery.envelope.event_version {
        2 => Step::At(held.clone()),
        _ => Step::Ok,
    });
    let stop = async {
        first.started(2).await;
        gate.open();
    };
    let parked = stage.parked().await;
    let stopped = parked.replay_until(ReplayOptions::default(), handler, stop);
    let report = within("the end of what runs", stopped).await.expect("stops");
    assert_eq!((report.replayed, report.failed, first.handled("a")), (2, 0, vec![1, 2]));
    let again = Log::default();
    let report = parked.replay(ReplayOptions::default(), easy(&again)).await.expect("replays");
    assert_eq!((report.replayed, again.handled("a")), (4, vec![3, 4, 5, 6]));
    drop(subscription);
    stage.close().await;
}

/// A replay that is broken off loses nothing, and repeats at most the record in hand.
pub async fn a_replay_that_is_broken_off_loses_nothing(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.publish(&["a"], 6).await;
    let subscription = stage.subscribe().handle(scripted(&log, |_| Step::Park)).await.expect("subscribes");
    stage.drained().await;
    let first = Log::default();
    let handler = scripted(&first, |delivery: &Delivery| match delivery.envelope.event_version {
        4 => Step::Never,
        _ => Step::Ok,
    });
    let parked = stage.parked().await;
    let options = ReplayOptions { lease: Duration::from_secs(1), ..ReplayOptions::default() };
    {
        let replay = parked.replay(options.clone(), handler);
        tokio::pin!(replay);
        tokio::select! {
            report = &mut replay => panic!("it never ends: {report:?}"),
            () = first.started(4) => {}
        }
    }
    assert_eq!(first.handled("a"), [1, 2, 3]);
    let again = Log::default();
    let report =
        within("the next replay, after the lease", parked.replay(options, easy(&again))).await.expect("replays");
    assert_eq!((report.replayed, again.handled("a")), (3, vec![4, 5, 6]));
    drop(subscription);
    stage.close().await;
}

/// Two replays at once run each record once.
pub async fn two_replays_share_the_work(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    let keys: Vec<String> = (0..8).map(|number| format!("key-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    stage.publish(&keys, 5).await;
    let subscription = stage.subscribe().handle(scripted(&log, |_| Step::Park)).await.expect("subscribes");
    stage.drained().await;
    let (again, parked) = (Log::default(), stage.parked().await);
    let options = ReplayOptions { concurrency: 4, ..ReplayOptions::default() };
    let (one, two) =
        tokio::join!(parked.replay(options.clone(), easy(&again)), parked.replay(options.clone(), easy(&again)));
    let replayed = one.expect("replays").replayed + two.expect("replays").replayed;
    // A partition that moves in the middle repeats what was in hand.
    assert!(replayed >= 40, "{replayed}");
    for key in &keys {
        let mut handled = again.handled(key);
        assert!(handled.is_sorted(), "{key}: {handled:?}");
        handled.dedup();
        assert_eq!(handled, [1, 2, 3, 4, 5], "{key}");
    }
    drop(subscription);
    stage.close().await;
}

/// A group that is moved back runs again what had been replayed, and leaves what is still parked.
pub async fn a_group_that_is_moved_back_runs_what_was_replayed(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.one_partition().await;
    stage.publish(&["a", "b"], 3).await;
    let subscription = stage.subscribe().handle(scripted(&log, |_| Step::Park)).await.expect("subscribes");
    stage.drained().await;
    let parked = stage.parked().await;
    let options = ReplayOptions { filter: ParkedFilter::key("a"), ..ReplayOptions::default() };
    assert_eq!(parked.replay(options, easy(&log)).await.expect("replays").replayed, 3);
    subscription.close(Duration::from_secs(5)).await.expect("closes");
    let back = [(Partition(0), Offset(0))];
    parked.forget_closed(&back).await.expect("nobody is at work");
    let group = GROUP.parse().expect("a legal name");
    stage.driver().move_committed(&group, &stage.name(), &back).await.expect("nobody is at work");
    let again = Log::default();
    let subscription = stage.subscribe().handle(easy(&again)).await.expect("subscribes");
    stage.drained().await;
    assert_eq!((again.handled("a"), again.handled("b")), (vec![1, 2, 3], vec![]));
    assert_eq!(stage.parked_of("b").await, [1, 2, 3]);
    drop(subscription);
    stage.close().await;
}

/// What is replayed leaves the parking topic, also while its owner stays.
pub async fn what_is_replayed_is_trimmed(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    stage.one_partition().await;
    stage.publish(&["a"], 20).await;
    let subscription = stage.subscribe().handle(scripted(&log, |_| Step::Park)).await.expect("subscribes");
    stage.drained().await;
    let parked = stage.parked().await;
    assert_eq!(parked.replay(ReplayOptions::default(), easy(&log)).await.expect("replays").replayed, 20);
    subscription.close(Duration::from_secs(5)).await.expect("closes");
    // The next owner has a place of its own to trim to.
    let subscription = stage.subscribe().handle(easy(&log)).await.expect("subscribes");
    within("the trim", async {
        while stage.driver().bounds(parked.topic(), Partition(0)).await.expect("exists").start <= Offset(20) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    stage.publish_from(&["a"], 21, 22).await;
    stage.drained().await;
    assert_eq!(log.handled("a").last(), Some(&22));
    drop(subscription);
    stage.close().await;
}
