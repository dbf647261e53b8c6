//! Commits under an assignment that is over, though the same member holds the partition again.

use std::sync::Arc;
use std::time::Duration;

use busline_core::{
    Assignment, Commit, Driver, GroupName, Offset, Partition, Source, SourceEvent, SourceRequest, Start, TopicInfo,
    TopicSpec,
};
use busline_kafka::{KafkaConfig, KafkaDriver};
use tokio::time::{Instant, timeout};

use crate::broker;

const SOON: Duration = Duration::from_secs(60);

async fn join(driver: &KafkaDriver, topic: &TopicInfo, member: &str) -> Arc<dyn Source> {
    let request = SourceRequest {
        group: readers(),
        topic: topic.clone(),
        member: member.into(),
        start: Start::Earliest,
        lease: Duration::from_secs(6),
    };
    driver.source(request).await.expect("joins")
}

fn readers() -> GroupName {
    "readers".parse().expect("legal")
}

async fn event(source: &Arc<dyn Source>) -> SourceEvent {
    timeout(SOON, source.next(0, 0)).await.expect("an event comes").expect("no error")
}

/// The next assignments, with what is revoked before them released at once.
async fn assigned(source: &Arc<dyn Source>, held: &[Assignment]) -> Vec<Assignment> {
    loop {
        match event(source).await {
            SourceEvent::Assigned(assignments) => return assignments,
            SourceEvent::Revoking(partitions) => release(source, held, &partitions).await,
            other => panic!("unexpected: {other:?}"),
        }
    }
}

async fn release(source: &Arc<dyn Source>, held: &[Assignment], partitions: &[Partition]) {
    let of = |assignment: &&Assignment| partitions.contains(&assignment.partition);
    let released = held.iter().filter(of).map(|assignment| (assignment.partition, assignment.generation)).collect();
    source.release(released).await.expect("released");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_under_an_older_assignment_is_fenced() {
    let driver = KafkaDriver::open(KafkaConfig::new([broker::bootstrap()])).await.expect("the broker answers");
    let name = format!("conformance-fenced-{:x}", std::process::id()).parse().expect("legal");
    let topic = driver.create_topic(&name, &TopicSpec { partitions: 2, ..TopicSpec::default() }).await.expect("made");
    let first = join(&driver, &topic, "first").await;
    let mut held = assigned(&first, &[]).await;
    while held.len() < 2 {
        held.extend(assigned(&first, &held).await);
    }
    let second = join(&driver, &topic, "second").await;
    let SourceEvent::Revoking(gone) = event(&first).await else { panic!("the second member wants its share") };
    release(&first, &held, &gone).await;
    assigned(&second, &[]).await;
    second.close(Instant::now() + SOON).await.expect("leaves");
    let again = assigned(&first, &held).await;
    let new = again.iter().find(|assignment| gone.contains(&assignment.partition)).expect("it is back");
    let old = held.iter().find(|assignment| assignment.partition == new.partition).expect("it was held");
    assert_ne!(old.generation, new.generation);
    let commit = |generation, offset| Commit { partition: new.partition, generation, offset: Offset(offset) };
    let outcomes = first.commit(vec![commit(old.generation, 2)]).await;
    let error = outcomes[0].as_ref().expect_err("that assignment is over");
    assert_eq!(error.code(), "Fenced/NotOwner", "{error}");
    let committed = || async { driver.committed(&readers(), &name).await.expect("offsets")[new.partition.0 as usize] };
    assert_eq!(committed().await, Some(Offset(0)), "it moves nothing");
    first.commit(vec![commit(new.generation, 1)]).await.remove(0).expect("the present one counts");
    assert_eq!(committed().await, Some(Offset(1)));
    first.close(Instant::now() + SOON).await.expect("leaves");
    driver.close(Instant::now() + SOON).await.expect("closes");
}
