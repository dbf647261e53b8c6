//! What cannot be seen from outside: memory, and owners that write when they should not.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::entry::Token;
use super::writer::Writer;
use crate::bus::Bus;
use crate::driver::Driver;
use crate::envelope::Envelope;
use crate::memory::MemoryDriver;
use crate::subscription::handler::{Delivery, HandlerError};
use crate::topic::{GroupName, Partition, Provision, TopicName, TopicSpec};

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("comes soon");
}

/// Another `owner` behind one's own makes what one writes afterwards count for nothing: one begins again, and what was
/// written in between is written once more.
#[tokio::test]
async fn an_owner_that_meets_another_begins_again() {
    let driver: Arc<dyn Driver> = Arc::new(MemoryDriver::new());
    let bus = Bus::new(Arc::clone(&driver));
    let one = Provision::CreateOnly(TopicSpec { partitions: 1, ..TopicSpec::default() });
    let publisher = bus.publisher("orders").provision(one).open().await.expect("opens");
    let handler = |delivery: Delivery| async move {
        match delivery.envelope.aggregate_id.as_str() {
            "good" => Ok(()),
            _ => Err(HandlerError::park("broken")),
        }
    };
    let subscription = bus.subscribe("orders", "g").handle(handler).await.expect("subscribes");
    let publish = async |key: &str, version| {
        let envelope = Envelope::new(key, "T", version).json(&version).expect("JSON");
        publisher.publish(envelope).await.expect("accepted").await.expect("acked");
    };
    publish("a", 1).await;
    until(async || subscription.parking().keys == 1).await;
    let (topic, group) = (TopicName::new("orders").expect("legal"), GroupName::new("g").expect("legal"));
    let parking = driver.topic(&topic.parking(&group)).await.expect("exists");
    let incarnation: Uuid = driver.topic(&topic).await.expect("exists").incarnation;
    let zombie = Writer::open(&*driver, &parking, incarnation).await.expect("opens");
    for round in 2..6 {
        let entry = zombie.control(Partition(0), "owner", Token::random());
        zombie.write(&[entry]).await.into_iter().for_each(|outcome| assert!(outcome.is_ok(), "acked"));
        publish("a", round).await;
        publish("b", round).await;
    }
    let parked = bus.parked("orders", "g").await.expect("exists");
    let count = async || {
        let queues = parked.queues(&super::ParkedFilter::default()).await.expect("reads");
        queues.iter().map(|queue| (queue.key.clone(), queue.records)).collect::<Vec<_>>()
    };
    until(async || count().await == [("a".to_owned(), 5), ("b".to_owned(), 4)]).await;
    publish("good", 1).await;
    until(async || driver.lag(&group, &topic).await.expect("a group")[0].records == 0).await;
    assert_eq!(subscription.parking().keys, 2);
    bus.close(Duration::from_secs(5)).await.expect("closes");
}
