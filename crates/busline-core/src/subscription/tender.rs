//! The tasks that tend a subscription: one commits progress and gives partitions up, one ends the pauses of lanes.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::engine::Engine;
use crate::driver::Commit;
use crate::error::ErrorKind;
use crate::topic::Partition;

/// Tends the subscription until it closes; the last commit is made by whoever closes it.
pub(crate) async fn tend(engine: Arc<Engine>) {
    let mut revoking: HashMap<Partition, Instant> = HashMap::new();
    while !engine.is_closing() {
        let next_commit = Instant::now() + engine.settings.commit_interval;
        commit(&engine).await;
        engine.apply_pauses();
        give_up_drained(&engine, &mut revoking).await;
        if engine.lets_tender_sleep() {
            engine.tender.notified().await;
            continue;
        }
        let look_again = revoking.values().copied().fold(next_commit, Instant::min);
        drop(timeout_at(look_again, engine.tender.notified()).await);
    }
}

/// Ends pauses of lanes when they are due. A task of its own, so that no slow commit holds an attempt back.
pub(crate) async fn ring(engine: Arc<Engine>) {
    while !engine.is_closing() {
        match engine.wake_due(Instant::now()) {
            Some(due) => drop(timeout_at(due, engine.alarm.notified()).await),
            None => engine.alarm.notified().await,
        }
    }
}

/// Commits the contiguous prefix of each partition that has moved.
///
/// # Source
/// Promise C4.
pub(crate) async fn commit(engine: &Engine) {
    let commits = engine.with_lanes(|lanes| lanes.commits());
    if commits.is_empty() {
        return;
    }
    let outcomes = engine.source.commit(commits.clone()).await;
    for (commit, outcome) in commits.iter().zip(outcomes) {
        match outcome {
            Ok(()) => engine.with_lanes(|lanes| lanes.committed(commit)),
            Err(error) if error.kind() == ErrorKind::Fenced => lose_fenced(engine, commit),
            Err(error) => tracing::warn!("commit {}/{}: {error}", engine.place.topic, commit.partition),
        }
    }
}

/// Another member owns it: what runs for it is broken off.
fn lose_fenced(engine: &Engine, commit: &Commit) {
    if engine.lose_assignment(commit.partition, commit.generation) {
        tracing::warn!("{}/{} belongs to another member", engine.place.topic, commit.partition);
    }
}

/// Releases partitions whose work has ended; what has not ended within the handler timeout is broken off.
async fn give_up_drained(engine: &Engine, revoking: &mut HashMap<Partition, Instant>) {
    let now = Instant::now();
    let wanted = engine.with_lanes(|lanes| lanes.revoking());
    revoking.retain(|partition, _| wanted.contains(partition));
    for partition in wanted {
        let until = revoking.entry(partition).or_insert(now + engine.settings.handler_timeout);
        if now >= *until {
            engine.cancel_partitions(&[partition]);
            *until = now + CANCEL_AGAIN;
        }
    }
    let drained = engine.with_lanes(|lanes| lanes.drained());
    if drained.is_empty() {
        return;
    }
    commit(engine).await;
    // Only these assignments: during the commit one may have been lost, and its partition taken anew.
    engine.with_lanes(|lanes| {
        for (partition, generation) in &drained {
            lanes.drop_assignment(*partition, *generation);
        }
    });
    if let Err(error) = engine.source.release(drained).await {
        tracing::warn!("release partitions of {}: {error}", engine.place.topic);
    }
}

/// Pause before a partition that is given up is broken off once more.
const CANCEL_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::{OnceLock, Weak};

    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::driver::{Assignment, BoxFuture, Driver, Source, SourceEvent, SourceRequest, Start};
    use crate::error::Result;
    use crate::headers::Headers;
    use crate::layer::SourceLayer;
    use crate::memory::MemoryDriver;
    use crate::record::Record;
    use crate::subscription::handler::Place;
    use crate::subscription::lanes::{End, Lanes};
    use crate::subscription::settings::SubscriptionSettings;
    use crate::topic::{GroupName, Offset, TopicName, TopicSpec, not_owner};

    const FIRST: Partition = Partition(0);

    fn assigned(generation: u64) -> Assignment {
        Assignment { partition: FIRST, generation, committed: Offset(0) }
    }

    /// Loses the partition while a commit is under way, and has it again under another generation before that ends.
    #[derive(Default)]
    struct TakesItAnew(OnceLock<Weak<Engine>>);

    impl SourceLayer for Arc<TakesItAnew> {
        fn next<'a>(
            &'a self,
            inner: &'a dyn Source,
            records: usize,
            bytes: usize,
        ) -> BoxFuture<'a, Result<SourceEvent>> {
            inner.next(records, bytes)
        }

        fn commit<'a>(&'a self, _: &'a dyn Source, commits: Vec<Commit>) -> BoxFuture<'a, Vec<Result<()>>> {
            let engine = self.0.get().and_then(Weak::upgrade).expect("it is there");
            engine.lose(&[FIRST]);
            engine.with_lanes_of(&[FIRST], |lanes| lanes.assign(&assigned(2)));
            Box::pin(async move { commits.iter().map(|commit| Err(not_owner(commit.partition))).collect() })
        }
    }

    impl fmt::Debug for TakesItAnew {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("TakesItAnew")
        }
    }

    async fn engine_over(layer: &Arc<TakesItAnew>) -> Arc<Engine> {
        let driver: Arc<dyn Driver> = Arc::new(MemoryDriver::new());
        let (topic, group) = (TopicName::new("orders").expect("legal"), GroupName::new("g").expect("legal"));
        let place = Arc::new(Place { topic: topic.clone(), group: group.clone() });
        let topic = driver.create_topic(&topic, &TopicSpec::default()).await.expect("a new topic");
        let settings = SubscriptionSettings::default();
        let (member, start, lease) = ("m".into(), Start::Earliest, settings.lease);
        let source = driver.source(SourceRequest { group, topic, member, start, lease }).await.expect("joins");
        let engine = Arc::new(Engine::new(driver, Arc::clone(layer).over(source), settings, place, None));
        layer.0.set(Arc::downgrade(&engine)).expect("set once");
        engine
    }

    /// Finishes a record.
    fn move_on(lanes: &mut Lanes) {
        let record = Record {
            partition: FIRST,
            offset: Offset(0),
            time: Timestamp::UNIX_EPOCH,
            key: Bytes::from_static(b"k"),
            headers: Headers::default(),
            body: Bytes::new(),
        };
        lanes.deliver(1, [record]);
        let work = lanes.take().expect("a lane is ready");
        lanes.finish(&work.ticket, End::Done);
    }

    #[tokio::test]
    async fn what_came_back_while_it_was_given_up_is_kept() {
        let layer = Arc::default();
        let engine = engine_over(&layer).await;
        engine.with_lanes(|lanes| {
            lanes.assign(&assigned(1));
            move_on(lanes);
            lanes.revoke(&[FIRST]);
        });
        give_up_drained(&engine, &mut HashMap::new()).await;
        assert_eq!(engine.with_lanes(|lanes| lanes.generation(FIRST)), Some(2));
    }

    #[tokio::test]
    async fn a_fenced_commit_costs_only_the_assignment_that_it_was_of() {
        let layer = Arc::default();
        let engine = engine_over(&layer).await;
        engine.with_lanes(|lanes| {
            lanes.assign(&assigned(1));
            move_on(lanes);
        });
        commit(&engine).await;
        assert_eq!(engine.with_lanes(|lanes| lanes.generation(FIRST)), Some(2));
        assert_eq!(engine.stats().lost_partitions, 1, "told by the source");
    }
}
