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
    if engine.with_lanes(|lanes| lanes.generation(commit.partition)) == Some(commit.generation) {
        tracing::warn!("{}/{} belongs to another member", engine.place.topic, commit.partition);
        engine.lose(&[commit.partition]);
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
    engine.with_lanes(|lanes| drained.iter().for_each(|(partition, _)| lanes.drop_partition(*partition)));
    if let Err(error) = engine.source.release(drained).await {
        tracing::warn!("release partitions of {}: {error}", engine.place.topic);
    }
}

/// Pause before a partition that is given up is broken off once more.
const CANCEL_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
