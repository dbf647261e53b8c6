//! Limits of the server that are met in the middle of a load.

use busline_brokers::nats::{Options, Server};
use std::sync::Arc;

use busline_core::{Bus, Driver, Durability, Envelope, Medium, Retention, TopicName, TopicSpec};
use busline_nats::{NatsConfig, NatsDriver};

use crate::load::{Load, STRATEGIES, driver};

fn with_payload(size: &str) -> Options {
    Options { config: format!("max_payload: {size}"), ..Options::default() }
}

/// The limit shrinks while connections stand, and once more over a restart. What does not fit any more is not acked, takes
/// only its own key along, and the keys go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_limit_that_shrinks_fails_what_is_too_large_and_nothing_else() {
    for strategy in STRATEGIES {
        let server = Server::start(&with_payload("256KB")).expect("a server");
        let reader = driver(server.port(), strategy).await;
        let mut load = Load::open(driver(server.port(), strategy).await, &format!("shrinks-{strategy}"), 50).await;
        load.publish_large(100, 100_000).await;
        load.publisher().flush().await;
        server.configure(&with_payload("64KB")).expect("written");
        server.reload().expect("read");
        for round in 0..2 {
            load.publish(2_000).await;
            load.publish_large(20, 100_000).await;
            load.publish(2_000).await;
            load.publisher().flush().await;
            load.until_acked().await;
            if round == 0 {
                server.kill().expect("it ran");
                server.configure(&with_payload("32KB")).expect("written");
                server.start_again().expect("it starts on its store");
            }
        }
        let counts = load.judge(&reader, strategy).await;
        println!("{strategy}: {counts:?}");
        // 40 were too large; behind each, those of its key that were accepted before its report. A server ends the connection
        // over one that it was sent before the limit was heard of, without a word of which it was: that one is in doubt.
        assert!(counts.failed + counts.indeterminate >= 40 && counts.failed > 0, "{strategy}: {counts:?}");
        assert!(counts.acked >= 2_102, "{strategy}: {counts:?}");
    }
}

/// An atomic batch with a record that a limit does not allow any more is not stored, and the line goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_atomic_batch_that_became_too_large_fails_and_nothing_else() {
    for strategy in STRATEGIES {
        let server = Server::start(&with_payload("256KB")).expect("a server");
        let topic = format!("atomic-{strategy}");
        let load = Load::open(driver(server.port(), strategy).await, &topic, 1).await;
        let event =
            |version: u64, size: usize| Envelope::new("k", "Happened", version).json(&"1".repeat(size)).expect("json");
        load.publisher().publish_sync(event(1, 10)).await.expect("acked");
        server.kill().expect("it ran");
        server.configure(&with_payload("64KB")).expect("written");
        server.start_again().expect("it starts on its store");
        load.publisher().publish_sync(event(2, 10)).await.expect("acked by the server that takes less");
        let error = load.publisher().publish_atomic(vec![event(3, 10), event(4, 100_000)]).await;
        let error = error.expect_err("too large");
        assert_eq!(error.code(), "TooLarge/Record", "{strategy}: {error}");
        assert!(error.is_definite(), "{strategy}: {error}");
        let acks = load.publisher().publish_atomic(vec![event(3, 10), event(4, 10)]).await.expect("stored");
        assert_eq!(acks.len(), 2, "{strategy}");
        load.bus.close(std::time::Duration::from_secs(5)).await.expect("closes");
    }
}

/// The store is full under load, and has room again after a while.
async fn full_store(strategy: &str) {
    let with_store = |size: &str| Options { jetstream: format!("max_file_store: {size}"), ..Options::default() };
    let server = Server::start(&with_store("8MB")).expect("a server");
    let reader = driver(server.port(), strategy).await;
    let deadline = std::time::Duration::from_secs(5);
    let topic = format!("full-{strategy}");
    let mut load = Load::open_for(driver(server.port(), strategy).await, &topic, 50, deadline).await;
    load.publish(40_000).await;
    load.publisher().flush().await;
    assert!(load.was_told("resource").await, "{strategy}: somebody hears why");
    server.kill().expect("it ran");
    server.configure(&with_store("1GB")).expect("written");
    server.start_again().expect("it starts on its store");
    load.until_acked().await;
    load.publish(2_000).await;
    load.publisher().flush().await;
    let counts = load.judge(&reader, strategy).await;
    println!("{strategy}: {counts:?}");
    assert!(counts.failed + counts.indeterminate > 0 && counts.acked > 2_000, "{strategy}: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_is_told_and_loses_doubles_and_reorders_nothing() {
    for strategy in STRATEGIES {
        full_store(strategy).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_over_the_servers_limit_fails_alone() {
    let options = Options { config: "max_payload: 64KB".into(), ..Options::default() };
    let server = Server::start(&options).expect("a server");
    for strategy in STRATEGIES {
        let topic = format!("limits-{strategy}");
        let small = driver(server.port(), strategy).await;
        assert!(small.capabilities().record_bytes_max < 64 * 1024, "the limit is known at open");
        let load = Load::open(small, &topic, 1).await;
        let large = Envelope::new("k", "Large", 1).json(&"1".repeat(70_000)).expect("json");
        let error = match load.publisher().publish(large).await {
            Ok(receipt) => receipt.await.expect_err("too large"),
            Err(error) => error,
        };
        assert_eq!(error.code(), "TooLarge/Record", "{error}");
        assert!(error.is_definite());
        let next = Envelope::new("k", "Small", 2).json(&1).expect("json");
        load.publisher().publish(next).await.expect("accepted").await.expect("acked");
        load.bus.close(std::time::Duration::from_secs(5)).await.expect("closes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_streams_carry_one_topic() {
    let server = Server::start(&Options::default()).expect("a server");
    for strategy in STRATEGIES {
        let reader = driver(server.port(), strategy).await;
        let topic = TopicName::new(&format!("wide.{strategy}")).expect("legal");
        let retention = Retention { bytes_max: Some(1 << 30), ..Retention::default() };
        let spec = TopicSpec { streams: 4, retention, ..TopicSpec::default() };
        let made = reader.create_topic(&topic, &spec).await.expect("made");
        assert_eq!(reader.topic(&topic).await.expect("found"), made);
        assert_eq!(reader.topics().await.expect("listed").iter().filter(|found| found.name == topic).count(), 1);
        let mut load = Load::open(driver(server.port(), strategy).await, topic.as_str(), 97).await;
        load.publish(20_000).await;
        load.publisher().flush().await;
        let counts = load.judge(&reader, strategy).await;
        assert_eq!(counts.acked, 20_000);
        reader.delete_topic(&topic).await.expect("deleted");
        assert_eq!(reader.topic(&topic).await.expect_err("gone").code(), "NotFound/Topic");
    }
}

/// What was made of a topic before the server refused the rest is in nobody's way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_cannot_be_made_whole_leaves_nothing() {
    let config =
        "accounts { A { jetstream: { max_streams: 2 }, users: [ { user: a, password: a } ] } }\nno_auth_user: a";
    let server = Server::start(&Options { config: config.into(), ..Options::default() }).expect("a server");
    let driver = driver(server.port(), "best").await;
    let topic = TopicName::new("orders").expect("legal");
    let spec = |streams| TopicSpec { partitions: 4, streams, ..TopicSpec::default() };
    let error = driver.create_topic(&topic, &spec(4)).await.expect_err("there may be two streams");
    assert_eq!(error.code(), "Unavailable/StreamsMax", "{error}");
    driver.create_topic(&topic, &spec(2)).await.unwrap_or_else(|error| panic!("there is room for two: {error}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingest_queue_that_overflows_makes_no_hole() {
    // So short that the server refuses single messages out of the middle of what is on its way.
    let options = Options { jetstream: "max_buffered_msgs: 20".into(), ..Options::default() };
    let server = Server::start(&options).expect("a server");
    for strategy in STRATEGIES {
        let reader = driver(server.port(), strategy).await;
        let mut load = Load::open(driver(server.port(), strategy).await, &format!("overflow-{strategy}"), 300).await;
        load.publish(3_000).await;
        load.publisher().flush().await;
        let counts = load.judge(&reader, strategy).await;
        println!("{strategy}: {counts:?}");
        assert_eq!(counts.acked, 3_000, "{strategy}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn synced_is_offered_only_where_the_server_attests_it() {
    let synced = Options { jetstream: "sync_interval: always".into(), ..Options::default() };
    for (options, asked, medium) in [
        (Options::default(), true, Medium::Written),
        (synced.clone(), false, Medium::Written),
        (synced, true, Medium::Synced),
    ] {
        let server = Server::start(&options).expect("a server");
        let monitor = server.monitor_url().trim_start_matches("http://").trim_end_matches('/').to_owned();
        let monitor = if asked { format!("?monitor={monitor}") } else { String::new() };
        let config = NatsConfig::from_url(&format!("{}{monitor}", server.url())).expect("legal");
        let bus = Bus::new(Arc::new(NatsDriver::open(config).await.expect("opens")));
        let event = Envelope::new("k", "Happened", 1).json(&1).expect("json");
        let publisher = bus.publisher("t").open().await.expect("opens");
        let ack = publisher.publish(event).await.expect("taken").await.expect("acked");
        assert_eq!(ack.durability, Durability::one(medium));
        let required = bus.publisher("t").require(Durability::one(Medium::Synced)).open().await;
        match (medium, required) {
            (Medium::Synced, required) => drop(required.expect("it is attested")),
            (_, required) => assert_eq!(required.expect_err("refused").code(), "Unsupported/Durability"),
        }
        bus.close(std::time::Duration::from_secs(5)).await.expect("closes");
    }
}
