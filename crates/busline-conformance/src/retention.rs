//! T3: limits of retention are kept, and nothing unread is deleted silently.

use std::cell::Cell;
use std::time::Duration;

use busline_core::{
    Envelope, ErrorKind, Gaps, HealthState, OccurredAt, Offset, Partition, ReadRequest, Reason, Retention, TopicSpec,
};

use crate::consume_stage::{GROUP, Log, easy};
use crate::envelopes::{accept, acked, envelope, refused};
use crate::harness::Harness;
use crate::stage::{Stage, skip, within};

const FIRST: Partition = Partition(0);

/// Makes a topic of one partition with these limits, unless the backend says that it cannot keep them.
async fn made(stage: &Stage, retention: Retention) -> bool {
    let spec = TopicSpec { partitions: 1, retention, ..TopicSpec::default() };
    match stage.driver().create_topic(&stage.name(), &spec).await {
        Ok(info) => {
            assert_eq!(info.spec, spec, "what was asked for, or Unsupported");
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            skip("this backend does not keep these limits");
            false
        }
    }
}

/// Offsets of what is stored.
async fn offsets(stage: &Stage) -> Vec<Offset> {
    stage.stored().await.records().iter().map(|record| record.offset).collect()
}

/// Waits until the partition begins here.
async fn starts_at(stage: &Stage, start: Offset) {
    within("the limit", async {
        while stage.driver().bounds(&stage.name(), FIRST).await.expect("exists").start != start {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn versions(stage: &Stage) -> Vec<u64> {
    stage.stored().await.envelopes().iter().map(|stored| stored.event_version).collect()
}

/// As many records as the limit says are kept, the newest ones.
pub async fn the_newest_records_are_kept(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    if made(&stage, Retention { records_max: Some(10), ..Retention::default() }).await {
        stage.publish(&["a"], 30).await;
        within("the limit", async {
            while versions(&stage).await != (21..=30).collect::<Vec<_>>() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
    stage.close().await;
}

/// A record goes by its age since the backend stored it, whenever its event occurred.
pub async fn age_counts_from_when_a_record_was_stored(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    if made(&stage, Retention { age_max: Some(Duration::from_secs(86_400)), ..Retention::default() }).await {
        let publisher = stage.publisher().await;
        let occurred_at = OccurredAt::parse("2011-01-01T00:00:00Z").expect("legal");
        acked(accept(&publisher, Envelope { occurred_at, ..envelope("a", 1) })).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(versions(&stage).await, [1], "stored a moment ago");
        let soon = Retention { age_max: Some(Duration::from_secs(1)), ..Retention::default() };
        let spec = TopicSpec { partitions: 1, retention: soon, ..TopicSpec::default() };
        stage.driver().update_topic(&stage.name(), &spec).await.expect("limits may change");
        let end = stage.driver().bounds(&stage.name(), FIRST).await.expect("exists").end;
        starts_at(&stage, end).await;
    }
    stage.close().await;
}

/// Records deleted before a group had finished them are counted for it, health names topic, group and amount, and a member
/// that comes to the place is told.
pub async fn nothing_unread_is_deleted_silently(harness: impl Harness) {
    let (stage, log) = (Stage::open(&harness).await, Log::default());
    if !made(&stage, Retention::default()).await {
        return drop(stage.close().await);
    }
    stage.publish(&["a"], 20).await;
    let (topic, offsets) = (stage.name(), offsets(&stage).await);
    let (late, ready) = (GROUP.parse().expect("legal"), "ready".parse().expect("legal"));
    let end = stage.driver().bounds(&topic, FIRST).await.expect("exists").end;
    for (group, committed) in [(&late, offsets[5]), (&ready, end)] {
        stage.driver().move_committed(group, &topic, &[(FIRST, committed)]).await.expect("nobody is there");
    }
    let publisher = stage.publisher().await;
    assert_eq!(stage.bus.health().await.state, HealthState::Healthy, "nothing is lost yet");
    stage.driver().trim(&topic, FIRST, offsets[15]).await.expect("trims");

    let deleted = async |group| stage.driver().lag(group, &topic).await.expect("exists")[0].deleted;
    if deleted(&late).await.is_none() {
        skip("this backend deletes by itself and counts for no group");
        drop(publisher);
        return drop(stage.close().await);
    }
    assert_eq!((deleted(&late).await, deleted(&ready).await), (Some(10), Some(0)));
    let health = stage.bus.health().await;
    assert_eq!(health.state, HealthState::Degraded, "{health}");
    let is_it = |reason: &Reason| match reason {
        Reason::Deleted { topic: of, group, records } => (of, group, *records) == (&topic, &late, 10),
        _ => false,
    };
    assert!(health.reasons.len() == 1 && is_it(&health.reasons[0]), "names topic, group and amount: {health}");

    let subscription = stage.subscribe().handle(easy(&log)).await.expect("subscribes");
    stage.drained().await;
    assert_eq!(log.handled("a"), (16..=20).collect::<Vec<_>>());
    let stats = subscription.stats();
    if stage.driver().capabilities().gaps == Gaps::Exact {
        assert_eq!((stats.gaps, stats.gap_positions), (1, 10));
    }
    drop((subscription, publisher));
    stage.close().await;
}

/// A read of what is being deleted gives what is left and no error, and so do the bounds.
pub async fn a_read_gives_what_a_deletion_leaves(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    if !made(&stage, Retention::default()).await {
        return drop(stage.close().await);
    }
    stage.publish(&["a"], 200).await;
    let (topic, offsets) = (stage.name(), offsets(&stage).await);
    let last = *offsets.last().expect("it was published to");
    let is_over = Cell::new(false);
    let deleting = async {
        for below in &offsets {
            stage.driver().trim(&topic, FIRST, *below).await.expect("trims");
        }
        is_over.set(true);
    };
    let (to, bytes_max) = (Offset(u64::MAX), usize::MAX);
    let all = ReadRequest { partition: FIRST, from: Offset(0), to, records_max: 1_000, bytes_max };
    let reading = async {
        while !is_over.get() {
            let left = stage.driver().read(&topic, all).await.expect("reads");
            assert_eq!(left.last().expect("the last one stays").offset, last);
            let bounds = stage.driver().bounds(&topic, FIRST).await.expect("exists");
            assert!(bounds.start <= last && bounds.end == last.next(), "{bounds:?}, and the last is {last}");
            // Some drivers answer at once.
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(deleting, reading);
    stage.close().await;
}

/// The limits delete as much of a group's unread records as a trim would, and count it.
pub async fn what_a_limit_deletes_unread_is_counted(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    if !made(&stage, Retention::default()).await {
        return drop(stage.close().await);
    }
    stage.publish(&["a"], 30).await;
    let (topic, offsets, late) = (stage.name(), offsets(&stage).await, GROUP.parse().expect("legal"));
    stage.driver().move_committed(&late, &topic, &[(FIRST, offsets[5])]).await.expect("nobody is there");
    let retention = Retention { records_max: Some(10), ..Retention::default() };
    let spec = TopicSpec { partitions: 1, retention, ..TopicSpec::default() };
    match stage.driver().update_topic(&topic, &spec).await {
        Ok(_) => {
            starts_at(&stage, offsets[20]).await;
            let lag = stage.driver().lag(&late, &topic).await.expect("exists");
            assert_eq!(lag[0].records, 10);
            assert!(lag[0].deleted.is_none_or(|deleted| deleted == 15), "{lag:?}");
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            skip("this backend does not keep a number of records");
        }
    }
    stage.close().await;
}

/// A limit of nothing is refused with its field.
pub async fn a_limit_out_of_range_is_refused(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    for retention in [
        Retention { age_max: Some(Duration::ZERO), ..Retention::default() },
        Retention { bytes_max: Some(0), ..Retention::default() },
        Retention { records_max: Some(0), ..Retention::default() },
    ] {
        let spec = TopicSpec { retention, ..TopicSpec::default() };
        let made = stage.driver().create_topic(&stage.name(), &spec).await;
        refused(made.map_err(|error| error.at("create topic", &stage.topic)), "Invalid/Range");
    }
    stage.close().await;
}
