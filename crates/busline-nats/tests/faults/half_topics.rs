//! What is left of a topic whose maker, or whose deleter, died in the middle.

use std::sync::Arc;
use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_core::{Bus, Deletion, Driver, Envelope, TopicName, TopicSpec};
use busline_nats::NatsDriver;
use serde_json::Value;
use tokio::time::timeout;

use crate::load::driver;

const SOON: Duration = Duration::from_secs(60);

const STREAMS: u32 = 4;

fn topic() -> TopicName {
    "orders".parse().expect("legal")
}

fn spec(streams: u32) -> TopicSpec {
    TopicSpec { partitions: STREAMS, streams, ..TopicSpec::default() }
}

async fn ask(driver: &NatsDriver, what: &str) -> Value {
    let asked = driver.as_nats().request(format!("$JS.API.{what}"), "".into());
    let answer = timeout(SOON, asked).await.expect("in time").expect("an answer");
    serde_json::from_slice(&answer.payload).expect("JSON")
}

async fn streams(driver: &NatsDriver) -> usize {
    let names = ask(driver, "STREAM.NAMES").await;
    names["streams"].as_array().map_or(0, Vec::len)
}

/// Removes the first of the topic's streams: they are made last and deleted first.
async fn remove_first(driver: &NatsDriver, count: u32) {
    for number in 0..count {
        assert_eq!(ask(driver, &format!("STREAM.DELETE.orders=={number}")).await["success"], true);
    }
}

/// Publishes to each partition of the topic.
async fn assert_works(driver: &Arc<NatsDriver>) {
    let bus = Bus::new(Arc::clone(driver) as Arc<dyn Driver>);
    let publisher = bus.publisher("orders").open().await.expect("opens");
    for key in 0..64 {
        let event = Envelope::new(format!("key-{key}"), "Happened", 1).json(&1).expect("json");
        publisher.publish_sync(event).await.expect("acked");
    }
    publisher.close(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_whose_maker_died_is_finished_by_the_next() {
    let server = Server::start(&Options::default()).expect("a server");
    let driver = driver(server.port(), "best").await;
    for left in 1..STREAMS {
        driver.create_topic(&topic(), &spec(STREAMS)).await.expect("made");
        remove_first(&driver, STREAMS - left).await;
        let made = driver.create_topic(&topic(), &spec(STREAMS)).await;
        let made = made.unwrap_or_else(|error| panic!("{left} streams are there: {error}"));
        assert_eq!(driver.topic(&topic()).await.expect("it is there"), made);
        assert_works(&driver).await;
        driver.delete_topic(&topic()).await.expect("deleted");
        assert_eq!(streams(&driver).await, 0);
    }
}

/// Records that are left may be wanted by somebody, and what was begun otherwise may still be at work: neither is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_topic_is_in_the_way_until_it_is_deleted() {
    let server = Server::start(&Options::default()).expect("a server");
    let driver = driver(server.port(), "best").await;
    for with_records in [true, false] {
        driver.create_topic(&topic(), &spec(STREAMS)).await.expect("made");
        let mut wanted = spec(2);
        if with_records {
            assert_works(&driver).await;
            wanted = spec(STREAMS);
        }
        remove_first(&driver, 1).await;
        let error = driver.create_topic(&topic(), &wanted).await.expect_err("something is left");
        assert_eq!(error.code(), "AlreadyExists/Stream", "{error}");
        assert!(error.to_string().contains("busline topic delete"), "it says what to do: {error}");
        assert_eq!(streams(&driver).await, STREAMS as usize - 1, "and touches nothing");

        let bus = Bus::new(Arc::clone(&driver) as Arc<dyn Driver>);
        let dry = Deletion { dry_run: true, ..Deletion::default() };
        assert_eq!(bus.delete_topic("orders", dry).await.expect_err("no topic").code(), "NotFound/Topic");
        bus.delete_topic("orders", Deletion::default()).await.unwrap_or_else(|error| panic!("deleted: {error}"));
        assert_eq!(streams(&driver).await, 0);
        let gone = bus.delete_topic("orders", Deletion::default()).await.expect_err("nothing is left");
        assert_eq!(gone.code(), "NotFound/Topic");
        driver.create_topic(&topic(), &wanted).await.expect("the name is free");
        driver.delete_topic(&topic()).await.expect("deleted");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_make_one_topic_at_once_make_one() {
    let server = Server::start(&Options::default()).expect("a server");
    let (one, other) = (driver(server.port(), "best").await, driver(server.port(), "best").await);
    for round in 0..20 {
        let (name, spec) = (topic(), spec(STREAMS));
        let made = tokio::join!(one.create_topic(&name, &spec), other.create_topic(&name, &spec));
        let found = one.topic(&name).await.expect("it is there");
        for made in [made.0, made.1] {
            match made {
                Ok(made) => assert_eq!(made, found, "round {round}"),
                Err(error) => assert_eq!(error.code(), "AlreadyExists/Topic", "round {round}: {error}"),
            }
        }
        assert_eq!(streams(&one).await, STREAMS as usize);
        one.delete_topic(&name).await.expect("deleted");
    }
}
