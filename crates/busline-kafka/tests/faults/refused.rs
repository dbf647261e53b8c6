//! Records that the broker refuses for good: the client ends, its neighbours are sent again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use busline_core::{Ack, Envelope, Partition, Payload, Receipt, Result, partition_of};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use crate::broker::proxy::Proxy;
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

fn payload(bytes: usize) -> Payload {
    Payload::bytes_of("application/octet-stream", vec![b'x'; bytes]).expect("bytes")
}

fn envelope(key: usize, version: u64, bytes: usize) -> Envelope {
    Envelope::new(format!("key-{key}"), "Happened", version).with_payload(payload(bytes))
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

/// A key that lies in this partition.
fn key_in(partition: u32) -> String {
    let is_there = |key: &String| partition_of(key.as_bytes(), PARTITIONS) == Partition(partition);
    (0..).map(|number| format!("key-{number}")).find(is_there).expect("every partition has keys")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_refused_record_is_not_sent_before_the_refusal_was_reported() {
    const SLOW: u64 = 1_200;
    let proxy = Proxy::start(broker::port()).expect("a proxy");
    let bus = connect(&proxy.bootstrap()).await;
    let topic = format!("conformance-unheard-{:x}", std::process::id());
    let publisher = bus.publisher(&topic).on_failure(drop).open().await.expect("opens");
    let (bad, slow) = (key_in(0), key_in(1));
    let publish = |key: &str, version, bytes| {
        publisher.publish(Envelope::new(key, "Happened", version).with_payload(payload(bytes)))
    };
    publish(&slow, 1, 10).await.expect("accepted").await.expect("acked");
    lower_limit(&topic, "3000").await;
    // More than a client that ends is waited for: together they are over the limit, and one by one they take 5 ms each.
    proxy.slow_down(5);
    let mut many = VecDeque::new();
    for version in 2..=SLOW {
        many.push_back(publish(&slow, version, 10).await.expect("accepted"));
    }
    // The sink takes four batches at once, so four records went alone, and the rest goes in one batch behind them.
    for receipt in many.drain(..4) {
        receipt.await.expect("acked");
    }
    // Refused while that batch is being sent, with two behind it in the sink. The others wait in the publisher until the
    // batch is settled, and reach the sink before the refusal is reported.
    let refused = publish(&bad, 1, 5_000).await.expect("accepted");
    let mut behind = Vec::new();
    for version in 2..=9 {
        behind.push((version, publish(&bad, version, 10).await.expect("accepted")));
    }
    let refused = refused.await.expect_err("over the limit");
    assert!(refused.is_definite() && refused.code() == "TooLarge/Record", "{refused}");
    for (version, receipt) in behind {
        let error = receipt.await.expect_err("what it stands behind is not stored");
        // The broker may have stored what was on its way with the one that it refused.
        assert!(
            error.code() == "Unavailable/BehindFailed" && (error.is_definite() || version <= 3),
            "{version}: {error}"
        );
    }
    for receipt in many {
        receipt.await.expect("acked");
    }
    publish(&bad, 10, 10).await.expect("accepted").await.expect("the key flows again");
    bus.close(Duration::from_secs(10)).await.expect("closes");
    let stored = plain::read(&broker::bootstrap(), &topic, PARTITIONS);
    assert_eq!(stored[&bad].iter().filter(|version| **version > 3).collect::<Vec<_>>(), [&10]);
    assert!(stored[&slow].iter().copied().eq(1..=SLOW as usize));
}

/// Where the records of a batch stand that are over the limit, by key and version: the first of all, the last of all, two of
/// one key, and one with an earlier and later neighbour of each kind.
const OVER: [(usize, u64); 5] = [(0, 2), (7, 21), (3, 9), (3, 15), (5, 12)];

/// What became of the records of one batch, in which some are over the limit of the broker alone.
fn check_outcomes(versions: std::ops::RangeInclusive<u64>, outcomes: &[Result<Ack>]) -> HashMap<usize, Vec<u64>> {
    let mut acked: HashMap<usize, Vec<u64>> = HashMap::new();
    let places = versions.flat_map(|version| (0..8).map(move |key| (key, version)));
    for ((key, version), outcome) in places.zip(outcomes) {
        let first = OVER.iter().filter(|(of, _)| *of == key).map(|(_, version)| *version).min();
        let expected = match first {
            Some(first) if first == version => "TooLarge/Record",
            Some(first) if first < version => "Unavailable/BehindFailed",
            _ => "acked",
        };
        let found = match outcome {
            Ok(_) => "acked".into(),
            Err(error) if error.is_definite() => error.code(),
            Err(error) => format!("not known: {error}"),
        };
        assert_eq!(found, expected, "key {key}, version {version}");
        if outcome.is_ok() {
            acked.entry(key).or_default().push(version);
        }
    }
    acked
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_an_outcome_for_each_record_and_each_key_keeps_its_order() {
    let bus = connect(&broker::bootstrap()).await;
    let topic = format!("conformance-in-part-{:x}", std::process::id());
    let publisher = bus.publisher(&topic).on_failure(drop).open().await.expect("opens");
    let first = (0..8).map(|key| envelope(key, 1, 10)).collect();
    let firsts = publisher.publish_batch(first).await.expect("outcomes");
    assert!(firsts.iter().all(Result::is_ok), "{firsts:?}");
    lower_limit(&topic, "3000").await;
    let size = |key, version| if OVER.contains(&(key, version)) { 5_000 } else { 10 };
    let batch: Vec<Envelope> = (2..=21)
        .flat_map(|version| (0..8).map(move |key| (key, version)))
        .map(|(key, version)| envelope(key, version, size(key, version)))
        .collect();
    let outcomes = publisher.publish_batch(batch.clone()).await.expect("outcomes");
    assert_eq!(outcomes.len(), batch.len());
    let mut expected = check_outcomes(2..=21, &outcomes);
    // What failed is published again, made smaller, in its order: it stands behind what was acked of its key.
    let failed = batch.into_iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_err());
    let again: Vec<Envelope> = failed.map(|(envelope, _)| envelope.with_payload(payload(10))).collect();
    for envelope in &again {
        let key = envelope.aggregate_id.trim_start_matches("key-").parse().expect("a number");
        expected.entry(key).or_default().push(envelope.event_version);
    }
    let outcomes = publisher.publish_batch(again).await.expect("outcomes");
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    bus.close(Duration::from_secs(10)).await.expect("closes");
    let stored = plain::read(&broker::bootstrap(), &topic, PARTITIONS);
    for (key, versions) in expected {
        let versions: Vec<usize> =
            std::iter::once(1).chain(versions.into_iter().map(|version| version as usize)).collect();
        assert_eq!(stored[&format!("key-{key}")], versions, "key {key}");
    }
}
