//! Rights that are taken away and given back while events flow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use busline_brokers::kafka::java;
use busline_core::{Bus, Envelope};
use busline_kafka::{KafkaConfig, KafkaDriver};

use crate::group::Group;
use crate::load::{Load, Outcome, all_acked, judge, tell};
use crate::place::{PASSWORD, USER, sasl, server};

const SOON: Duration = Duration::from_secs(60);

/// The user may do everything with the topic. Without this, the first rule of a topic forbids all that it does not allow.
async fn allow_everything(topic: &str) {
    change("--add", "--allow-principal", "ALL", topic).await;
}

/// Takes a right on a topic away from the user.
async fn forbid(operation: &'static str, topic: &str) {
    change("--add", "--deny-principal", operation, topic).await;
}

/// Gives it back.
async fn forbid_no_more(operation: &'static str, topic: &str) {
    change("--remove", "--deny-principal", operation, topic).await;
}

/// Changes the rules of the broker with its own tool.
async fn change(action: &'static str, whose: &'static str, operation: &'static str, topic: &str) {
    let (bootstrap, topic, user) = (server().bootstrap(), topic.to_owned(), format!("User:{USER}"));
    let run = move || {
        let mut tool =
            java(&["-Xmx128m", "-XX:TieredStopAtLevel=1"], "org.apache.kafka.tools.AclCommand").expect("installed");
        tool.args(["--bootstrap-server", &bootstrap, action, "--force", whose, &user]);
        let output = tool.args(["--operation", operation, "--topic", &topic]).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    tokio::task::spawn_blocking(run).await.expect("no panic");
}

async fn connect() -> Bus {
    let config = KafkaConfig::parse(&sasl("SASL_PLAINTEXT", "PLAIN", USER, PASSWORD)).expect("legal");
    Bus::new(Arc::new(KafkaDriver::open(config).await.expect("it is let in")))
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_that_is_forbidden_under_load_fails_and_goes_on_when_it_is_allowed() {
    const TOPIC: &str = "revoked-writing";
    allow_everything(TOPIC).await;
    let bus = connect().await;
    let publisher = bus.publisher(TOPIC).deadline(SOON).on_failure(drop).open().await.expect("opens");
    let load = Load::start(publisher.clone());
    load.more(2_000).await;
    forbid("WRITE", TOPIC).await;
    let refused = async {
        loop {
            if let Err(error) = publisher.publish_sync(Envelope::new("other", "Happened", 1)).await {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(SOON, refused).await.expect("it is refused");
    assert_eq!(error.code(), "Denied/Topic", "{error}");
    assert!(error.is_definite(), "{error}");
    forbid_no_more("WRITE", TOPIC).await;
    load.more(2_000).await;
    let outcomes = load.end().await;
    bus.close(SOON).await.expect("closes");
    assert!(outcomes.values().flatten().any(|outcome| *outcome == Outcome::Failed), "what was forbidden has failed");
    // Requests that were on their way behind the first refused one may be left open; the judge looks them up too.
    judge(&server().bootstrap(), TOPIC, &outcomes);
    tell("writing forbidden", 1, None, &outcomes, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_that_is_forbidden_stands_still_and_goes_on_when_it_is_allowed() {
    const TOPIC: &str = "revoked-reading";
    allow_everything(TOPIC).await;
    let bus = connect().await;
    let load = Load::start(bus.publisher(TOPIC).deadline(SOON).open().await.expect("opens"));
    let group = Group::join(&bus, TOPIC).await;
    load.more(2_000).await;
    group.goes_beyond(0).await;
    forbid("READ", TOPIC).await;
    let started = Instant::now();
    let trouble = loop {
        if let Some(trouble) = group.trouble().filter(|trouble| trouble.code() == "Denied/Topic") {
            break trouble;
        }
        assert!(started.elapsed() < SOON, "nobody is told that reading is forbidden: {:?}", group.trouble());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    println!("{trouble}");
    load.more(2_000).await;
    let behind = group.distinct();
    forbid_no_more("READ", TOPIC).await;
    group.goes_beyond(behind).await;
    let outcomes = load.end().await;
    assert!(all_acked(&outcomes), "writing was never forbidden");
    let again = group.judge(&outcomes).await;
    bus.close(SOON).await.expect("closes");
    judge(&server().bootstrap(), TOPIC, &outcomes);
    tell("reading forbidden", 1, None, &outcomes, Some(again));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_whose_settings_may_not_be_read_is_refused_with_the_right_that_is_missing() {
    const TOPIC: &str = "revoked-settings";
    allow_everything(TOPIC).await;
    let bus = connect().await;
    drop(bus.publisher(TOPIC).open().await.expect("opens").close(SOON).await);
    forbid("DescribeConfigs", TOPIC).await;
    let started = Instant::now();
    // Brokers hear of a rule a moment later.
    let error = loop {
        match bus.publisher(TOPIC).open().await {
            Ok(publisher) => drop(publisher.close(SOON).await),
            Err(error) => break error,
        };
        assert!(started.elapsed() < SOON, "what acks attest is not known, and it opens");
    };
    assert_eq!(error.code(), "Denied/Topic", "{error}");
    assert!(error.to_string().contains("grant this user DescribeConfigs"), "{error}");
    let listed = bus.driver().topics().await.expect("the others are listed");
    assert!(listed.iter().all(|topic| topic.name.as_str() != TOPIC), "{listed:?}");
    forbid_no_more("DescribeConfigs", TOPIC).await;
    bus.close(SOON).await.expect("closes");
}
