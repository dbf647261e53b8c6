//! What cannot be seen from outside: memory, and owners that write when they should not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use super::entry::{Diagnosis, ParkedScope, Token};
use super::filter::ParkedFilter;
use super::parked::{Parked, ParkedQueue};
use super::writer::{Outgoing, Writer};
use crate::bus::Bus;
use crate::driver::Driver;
use crate::envelope::Envelope;
use crate::headers::Headers;
use crate::memory::MemoryDriver;
use crate::subscription::handler::{Delivery, HandlerError};
use crate::topic::{GroupName, Offset, Partition, Provision, TopicName, TopicSpec};

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
        let queues = parked.queues(&ParkedFilter::default()).await.expect("reads");
        queues.iter().map(|queue| (queue.key.clone(), queue.records)).collect::<Vec<_>>()
    };
    until(async || count().await == [("a".to_owned(), 5), ("b".to_owned(), 4)]).await;
    publish("good", 1).await;
    until(async || driver.lag(&group, &topic).await.expect("a group")[0].records == 0).await;
    assert_eq!(subscription.parking().keys, 2);
    bus.close(Duration::from_secs(5)).await.expect("closes");
}

/// Writes a parking topic in which each key has so many records waiting.
async fn park_many(driver: &Arc<dyn Driver>, keys: u64, records: u64) -> Parked {
    let (topic, group) = (TopicName::new("orders").expect("legal"), GroupName::new("g").expect("legal"));
    let spec = TopicSpec { partitions: 1, ..TopicSpec::default() };
    let topic = driver.create_topic(&topic, &spec).await.expect("a new topic");
    let parking = driver.create_topic(&topic.name.parking(&group), &spec).await.expect("a new topic");
    let (writer, token) = (Writer::open(&**driver, &parking, topic.incarnation).await.expect("opens"), Token::random());
    let mut entries = vec![writer.control(Partition(0), "owner", token)];
    for number in 0..keys * records {
        let diagnosis = Diagnosis {
            topic: "orders".into(),
            partition: Partition(0),
            offset: Offset(number),
            id: None,
            event_type: None,
            attempts: 1,
            error: "an error of some length, as errors are in real systems that say what is wrong".into(),
            first: Timestamp::UNIX_EPOCH,
            last: Timestamp::UNIX_EPOCH,
            group: "g".into(),
            member: "m".into(),
        };
        let entry = writer.entry(Headers::default(), "behind", token).place(ParkedScope::Key, Offset(number));
        let header_block = entry.diagnosis(&diagnosis).block();
        let key = format!("{:036}", number % keys).into();
        entries.push(Outgoing { partition: Partition(0), key, header_block, body: Bytes::from_static(&[b' '; 500]) });
    }
    writer.write(&entries).await.into_iter().for_each(|outcome| assert!(outcome.is_ok(), "{outcome:?}"));
    Parked::open(Arc::clone(driver), topic, group).await.expect("it is there")
}

/// A list is handed over as it is read: it keeps some bytes of each key, and nothing of what queues behind.
#[tokio::test(flavor = "current_thread")]
async fn a_list_costs_no_more_whatever_queues_behind() {
    const KEYS: u64 = 3_000;
    let mut costs = Vec::new();
    for records in [1, 12] {
        let driver: Arc<dyn Driver> = Arc::new(MemoryDriver::new());
        let parked = park_many(&driver, KEYS, records).await;
        let (before, mut peak, mut seen) = (crate::counting::held(), 0, 0);
        let each = |queue: ParkedQueue| {
            assert_eq!(queue.records, records);
            seen += 1;
            peak = peak.max(crate::counting::held() - before);
            true
        };
        parked.each_queue(&ParkedFilter::default(), each).await.expect("reads");
        assert_eq!((seen, parked.count().await.expect("reads")), (KEYS, KEYS * records));
        println!("{peak} bytes for {KEYS} keys of {records} records");
        costs.push(peak);
    }
    // A page of entries is in memory beside the keys.
    let page_bytes = 4 * 1024 * 1024;
    assert!(costs[1] < 200 * KEYS as isize + page_bytes, "{costs:?}");
    assert!(costs[1] < costs[0] + page_bytes / 2, "{costs:?}");
}
