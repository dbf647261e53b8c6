//! What NATS' own tools see of a group: a durable consumer for each partition, which stands where the group has
//! committed.
//!
//! It is for eyes only. Nobody reads by it and nothing depends on it; what goes wrong is tried again a second later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use busline_core::{GroupName, Offset, Partition, Result, TopicInfo};
use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::admin::Admin;
use crate::member::Member;
use crate::names;

/// Pause between two looks at what was committed.
const EVERY: Duration = Duration::from_secs(1);

/// Longest time that a member which leaves spends on the last offsets.
const LAST_MAX: Duration = Duration::from_millis(500);

/// Consumers that are moved at once.
const AT_ONCE: usize = 16;

/// Where this member has put the consumers.
type Shown = BTreeMap<Partition, Offset>;

/// Moves the consumers of what the member holds until it closes.
pub(crate) async fn mirror(member: Arc<Member>) {
    let mut shown = Shown::new();
    let rounds = async {
        loop {
            let held = member.held().committed();
            follow(&member, &mut shown, held).await;
            sleep(EVERY).await;
        }
    };
    tokio::select! {
        () = rounds => {}
        () = member.left.notified() => {}
    }
    drop(timeout(LAST_MAX, show_last(&member, &mut shown)).await);
}

/// Partitions that were given back may have been committed since the last look, and their next owner may be further.
async fn show_last(member: &Member, shown: &mut Shown) {
    let reads = shown.keys().copied().map(|partition| async move {
        let known = member.offset_key(partition).read().await.ok().flatten();
        known.map(|known| (partition, known.progress.offset))
    });
    let committed: Vec<Option<(Partition, Offset)>> = iter(reads).buffer_unordered(AT_ONCE).collect().await;
    follow(member, shown, committed.into_iter().flatten().collect()).await;
}

async fn follow(member: &Member, shown: &mut Shown, committed: Vec<(Partition, Offset)>) {
    let (topic, group) = (&member.request.topic, &member.request.group);
    let moved = committed.into_iter().filter(|(partition, offset)| shown.get(partition) != Some(offset));
    let moves = moved.map(|(partition, offset)| async move {
        (partition, offset, show(&member.admin, topic, group, partition, offset).await)
    });
    let moves: Vec<(Partition, Offset, Result<()>)> = iter(moves).buffer_unordered(AT_ONCE).collect().await;
    for (partition, offset, outcome) in moves {
        match outcome {
            Ok(()) => drop(shown.insert(partition, offset)),
            Err(error) => tracing::debug!("show the lag of {group} on {} for NATS' tools: {error}", topic.name),
        }
    }
}

/// Puts the consumer of a partition where the group has committed; makes it if it is not there.
///
/// # Errors
/// What keeps the server from it, such as an account's limit of consumers.
pub(crate) async fn show(
    admin: &Admin,
    topic: &TopicInfo,
    group: &GroupName,
    partition: Partition,
    offset: Offset,
) -> Result<()> {
    let (stream, name) = (names::stream_of(topic, partition), names::shadow(group, partition));
    let subject = names::subject(&topic.name, partition);
    let config = json!({
        "durable_name": name, "name": name, "description": "shows a group's lag; nobody reads by it",
        "deliver_policy": "all", "ack_policy": "none", "filter_subject": subject, "num_replicas": 1, "mem_storage": true,
    });
    // One that is there is left as it is. One that is not could not be moved: the server gives no answer then.
    let question = json!({ "stream_name": stream, "config": config });
    admin.demand::<Value>(&format!("CONSUMER.CREATE.{stream}.{name}.{subject}"), &question).await?;
    let to = json!({ "seq": offset.0.max(1) });
    admin.demand::<Value>(&format!("CONSUMER.RESET.{stream}.{name}"), &to).await.map(drop)
}

/// Removes the consumers of a group that is no more; one that is not there is as good.
///
/// # Errors
/// What keeps the server from answering.
pub(crate) async fn forget(admin: &Admin, topic: &TopicInfo, group: &GroupName) -> Result<()> {
    for partition in (0..topic.spec.partitions).map(Partition) {
        let (stream, name) = (names::stream_of(topic, partition), names::shadow(group, partition));
        drop(admin.ask::<Value>(&format!("CONSUMER.DELETE.{stream}.{name}"), &Value::Null).await?);
    }
    Ok(())
}
