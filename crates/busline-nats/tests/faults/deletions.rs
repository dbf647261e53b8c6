//! Streams and consumers that somebody deletes under load.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_core::{Bus, Delivery, Driver, Envelope, ErrorKind};
use busline_nats::NatsDriver;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::load::{Load, STRATEGIES, driver};

const SOON: Duration = Duration::from_secs(60);

async fn ask(driver: &NatsDriver, what: &str) -> Value {
    let answer = driver.as_nats().request(format!("$JS.API.{what}"), "".into()).await.expect("an answer");
    serde_json::from_slice(&answer.payload).expect("JSON")
}

/// Every envelope has its outcome, and no ack follows a failure of its key; another topic goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_deleted_under_load_is_named_and_touches_no_other() {
    let server = Server::start(&Options::default()).expect("a server");
    for strategy in STRATEGIES {
        let admin = driver(server.port(), strategy).await;
        let topic = format!("deleted-{strategy}");
        let mut load = Load::open(driver(server.port(), strategy).await, &topic, 20).await;
        let mut other = Load::open(driver(server.port(), strategy).await, &format!("other-{strategy}"), 20).await;
        load.publish(1_000).await;
        let deleting = async {
            sleep(Duration::from_millis(10)).await;
            assert_eq!(ask(&admin, &format!("STREAM.DELETE.{topic}")).await["success"], true);
        };
        tokio::join!(load.publish(5_000), other.publish(5_000), deleting);
        load.publish(100).await;
        let mut outcomes = load.outcomes().await;
        // Nothing of any key is on its way any more.
        load.publish(1).await;
        outcomes.extend(load.outcomes().await);
        let acked = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count();
        println!("{strategy}: {acked} of {} acked", outcomes.len());
        let mut failed: HashMap<&str, ErrorKind> = HashMap::new();
        for (key, outcome) in &outcomes {
            match outcome {
                Ok(_) => assert!(!failed.contains_key(&**key), "{strategy}: an ack behind a failure of {key}"),
                Err(error) => {
                    failed.insert(key, error.kind());
                    assert!(error.to_string().contains(&topic), "{error}");
                }
            }
        }
        assert!(acked >= 1 && failed.len() == 20, "{strategy}: the topic was there, and is gone for every key");
        let (_, last) = outcomes.last().expect("some");
        assert_eq!(last.as_ref().expect_err("it is gone").code(), "NotFound/Topic", "{strategy}");
        other.publisher().flush().await;
        assert_eq!(other.judge(&admin, strategy).await.acked, 5_000);
        load.bus.close(SOON).await.expect("closes");
    }
}

/// Consumers are deleted again and again while records come and are handled: each is handled once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_deleted_under_load_cost_nothing_but_time() {
    const RECORDS: u64 = 20_000;
    const KEYS: u64 = 40;
    let server = Server::start(&Options::default()).expect("a server");
    let admin = driver(server.port(), "best").await;
    let bus = Bus::new(driver(server.port(), "best").await);
    let publisher = bus.publisher("consumed").open().await.expect("opens");
    let handled: Arc<Mutex<Vec<(String, u64)>>> = Arc::default();
    let notes = Arc::clone(&handled);
    let handler = move |Delivery { envelope, .. }: Delivery| {
        notes.lock().expect("no panic").push((envelope.aggregate_id, envelope.event_version));
        std::future::ready(Ok(()))
    };
    let subscription = bus.subscribe("consumed", "billing").handle(handler).await.expect("joins");
    let count = || handled.lock().expect("no panic").len() as u64;
    let publishing = async {
        for number in 0..RECORDS {
            let envelope = Envelope::new(format!("key-{}", number % KEYS), "Happened", number / KEYS + 1);
            drop(publisher.publish(envelope).await.expect("accepted"));
            if number.is_multiple_of(200) {
                sleep(Duration::from_millis(10)).await;
            }
        }
        publisher.flush().await;
    };
    let deleting = async {
        let (mut deleted, end) = (0, Instant::now() + SOON);
        while count() < RECORDS {
            assert!(Instant::now() < end, "{} of {RECORDS} after {deleted} deletions", count());
            let names = ask(&admin, "CONSUMER.NAMES.consumed").await;
            for name in names["consumers"].as_array().cloned().unwrap_or_default() {
                let name = name.as_str().expect("a name");
                // It may have gone by itself.
                drop(ask(&admin, &format!("CONSUMER.DELETE.consumed.{name}")).await);
                deleted += 1;
            }
            sleep(Duration::from_millis(150)).await;
        }
        deleted
    };
    let ((), deleted) = tokio::join!(publishing, deleting);
    println!("{deleted} consumers deleted");
    assert!(deleted >= 4, "they were deleted: {deleted}");
    subscription.close(SOON).await.expect("closes");
    let mut versions: HashMap<String, Vec<u64>> = HashMap::new();
    for (key, version) in handled.lock().expect("no panic").drain(..) {
        versions.entry(key).or_default().push(version);
    }
    for (key, versions) in versions {
        assert_eq!(versions, (1..=RECORDS / KEYS).collect::<Vec<u64>>(), "{key}");
    }
    bus.close(SOON).await.expect("closes");
    admin.close(Instant::now() + SOON).await.expect("closes");
}
