//! Requests of the driver that a user may not send: the answer is a refusal that names the subject, and not silence.

use std::sync::Arc;
use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_core::{
    BoxFuture, Driver, Error, ErrorKind, Offset, Partition, ReadRequest, Result, SourceRequest, Start, TopicName,
    TopicSpec,
};
use busline_nats::{NatsConfig, NatsDriver};
use tokio::time::{Instant, sleep, timeout};

use crate::door::{SOON, assert_one_line};

/// Of the driver: far longer than a refusal takes.
const PATIENCE: Duration = Duration::from_secs(120);

const TOPIC: &str = "orders";

fn server(permissions: &str) -> Server {
    let config = format!(
        "authorization {{ users: [ {{ user: all, password: all }}
        {{ user: some, password: some, permissions: {{ {permissions} }} }} ] }}"
    );
    Server::start(&Options { config, ..Options::default() }).unwrap_or_else(|error| panic!("{error}"))
}

async fn connect(server: &Server, user: &str) -> Result<NatsDriver> {
    let url = format!("nats://{user}:{user}@127.0.0.1:{}", server.port());
    let mut config = NatsConfig::from_url(&url).expect("a legal URL");
    config.patience = PATIENCE;
    timeout(SOON, NatsDriver::open(config)).await.expect("an answer long before the patience ends")
}

fn topic() -> TopicName {
    TOPIC.parse().expect("legal")
}

fn assert_denied(error: &Error, subject: &str) {
    assert_one_line(error, &[]);
    assert_eq!(error.code(), "Denied/Permission", "{subject}: {error}");
    assert!(error.to_string().contains(&format!(" {subject};")), "{subject} is named: {error}");
}

/// What is asked of a driver.
type Asks = for<'a> fn(&'a NatsDriver, &'a TopicName) -> BoxFuture<'a, Result<()>>;

async fn is_denied(deny: &str, subject: &str, ask: Asks) {
    let server = server(&format!("publish: {{ deny: \"{deny}\" }}"));
    let all = connect(&server, "all").await.expect("opens");
    all.create_topic(&topic(), &TopicSpec { partitions: 1, ..TopicSpec::default() }).await.expect("made");
    let stored = all.as_nats().request(format!("{TOPIC}.0"), "{}".into());
    timeout(SOON, stored).await.expect("in time").expect("stored");
    let some = connect(&server, "some").await.expect("opens");
    let name = topic();
    let error = timeout(SOON, ask(&some, &name)).await.expect("an answer long before the patience ends");
    assert_denied(&error.expect_err("denied"), subject);
    for driver in [all, some] {
        driver.close(Instant::now() + SOON).await.expect("closes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_not_allowed_is_denied_by_its_subject() {
    let asks: [(&str, &str, Asks); 6] = [
        ("$JS.API.STREAM.INFO.>", "$JS.API.STREAM.INFO.orders", |driver, topic| {
            Box::pin(async move { driver.topic(topic).await.map(drop) })
        }),
        ("$JS.API.STREAM.LIST", "$JS.API.STREAM.LIST", |driver, _| {
            Box::pin(async move { driver.topics().await.map(drop) })
        }),
        ("$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.CREATE.bills", |driver, _| {
            let spec = TopicSpec { partitions: 1, ..TopicSpec::default() };
            Box::pin(async move { driver.create_topic(&"bills".parse().expect("legal"), &spec).await.map(drop) })
        }),
        ("$JS.API.STREAM.MSG.GET.>", "$JS.API.STREAM.MSG.GET.orders", |driver, topic| {
            Box::pin(async move { driver.bounds(topic, Partition(0)).await.map(drop) })
        }),
        ("$JS.API.DIRECT.GET.>", "$JS.API.DIRECT.GET.orders", |driver, topic| {
            let (partition, from, to) = (Partition(0), Offset(0), Offset(u64::MAX));
            let request = ReadRequest { partition, from, to, records_max: 9, bytes_max: 1 << 20 };
            Box::pin(async move { driver.read(topic, request).await.map(drop) })
        }),
        ("$KV.>", "$KV.busline_groups.asked", |driver, topic| {
            Box::pin(async move { driver.source(member(driver.topic(topic).await?)).await.map(drop) })
        }),
    ];
    for (deny, subject, ask) in asks {
        is_denied(deny, subject, ask).await;
    }
}

fn member(topic: busline_core::TopicInfo) -> SourceRequest {
    let group = "billing".parse().expect("legal");
    SourceRequest { group, topic, member: "a".into(), start: Start::Earliest, lease: Duration::from_secs(5) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_door_without_answers_is_denied() {
    let asked = server("publish: { deny: \"$JS.API.INFO\" }");
    assert_denied(&connect(&asked, "some").await.expect_err("denied"), "$JS.API.INFO");
    let answered = server("subscribe: { deny: \"_INBOX.>\" }");
    let error = connect(&answered, "some").await.expect_err("denied");
    assert_eq!(error.code(), "Denied/Permission", "{error}");
    assert!(error.to_string().contains("_INBOX."), "{error}");
}

/// A member that may not read says so for as long as it may not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_may_not_ask_is_its_trouble() {
    const ASKED: [&str; 3] = ["CONSUMER.CREATE.orders.>", "CONSUMER.MSG.NEXT.>", "DIRECT.GET.KV_busline_groups"];
    for asked in ASKED {
        let server = server(&format!("publish: {{ deny: \"$JS.API.{asked}\" }}"));
        let what = asked.trim_end_matches('>');
        let all = connect(&server, "all").await.expect("opens");
        let spec = TopicSpec { partitions: 1, ..TopicSpec::default() };
        let info = all.create_topic(&topic(), &spec).await.expect("made");
        let some = Arc::new(connect(&server, "some").await.expect("opens"));
        let source = some.source(member(info)).await.expect("joins");
        let until_denied = async {
            loop {
                match source.trouble() {
                    Some(error) if error.kind() == ErrorKind::Denied => return error,
                    _ => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let error = timeout(SOON, until_denied).await.unwrap_or_else(|_| panic!("{what}: no word of it"));
        assert_eq!(error.code(), "Denied/Permission", "{what}: {error}");
        assert!(error.to_string().contains(what), "{error}");
        // Several attempts long.
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            let error = source.trouble().expect("it still may not");
            assert_eq!(error.code(), "Denied/Permission", "{what}: {error}");
            sleep(Duration::from_millis(5)).await;
        }
        source.close(Instant::now() + SOON).await.expect("closes");
        for driver in [&all, &*some] {
            driver.close(Instant::now() + SOON).await.expect("closes");
        }
    }
}
