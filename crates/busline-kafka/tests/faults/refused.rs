//! Records that the broker refuses for good: the client ends, its neighbours are sent again.

use std::time::Duration;

use busline_core::{Envelope, Payload, Receipt};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use crate::load::{PARTITIONS, connect};
use crate::{broker, plain};

/// Somebody lowers the topic's limit while a publisher is open, which no client is told.
async fn lower_limit(topic: &str, bytes: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker::bootstrap()).create().expect("an admin client");
    let lower = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", bytes);
    let altered = admin.alter_configs([&lower], &AdminOptions::new()).await.expect("an answer");
    altered.into_iter().for_each(|altered| drop(altered.expect("altered")));
    tokio::time::sleep(Duration::from_millis(500)).await;
}

fn envelope(key: usize, version: u64, bytes: usize) -> Envelope {
    let payload = Payload::bytes_of("application/octet-stream", vec![b'x'; bytes]).expect("bytes");
    Envelope::new(format!("key-{key}"), "Happened", version).with_payload(payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_over_the_brokers_limit_fails_alone() {
    let bus = connect(&broker::bootstrap()).await;
    let topic = format!("conformance-refused-{:x}", std::process::id());
    let publisher = bus.publisher(&topic).on_failure(drop).open().await.expect("opens");
    publisher.publish_sync(envelope(0, 1, 10)).await.expect("acked");
    lower_limit(&topic, "3000").await;
    let mut receipts: Vec<(usize, u64, Receipt)> = Vec::new();
    for version in 2..=40 {
        for key in 0..8 {
            let bytes = if (key, version) == (3, 20) { 5_000 } else { 10 };
            receipts.push((key, version, publisher.publish(envelope(key, version, bytes)).await.expect("accepted")));
        }
    }
    let mut failed = Vec::new();
    for (key, version, receipt) in receipts {
        if let Err(error) = receipt.await {
            assert!(error.is_definite(), "key {key}, version {version}: {error}");
            failed.push((key, version, error.code()));
        }
    }
    println!("{failed:?}");
    assert_eq!(failed.first(), Some(&(3, 20, "TooLarge/Record".into())));
    // Behind it only its own key may have failed, and only what was accepted before anybody could know.
    assert!(failed[1..].iter().all(|(key, _, code)| *key == 3 && code == "Unavailable/BehindFailed"), "{failed:?}");
    publisher.publish_sync(envelope(3, 41, 10)).await.expect("the key flows again");
    bus.close(Duration::from_secs(10)).await.expect("closes");
    let stored = plain::read(&broker::bootstrap(), &topic, PARTITIONS);
    for key in 0..8 {
        let expected = 39 + usize::from(key == 0) - if key == 3 { failed.len() - 1 } else { 0 };
        assert_eq!(stored[&format!("key-{key}")].len(), expected, "key {key}");
    }
}
