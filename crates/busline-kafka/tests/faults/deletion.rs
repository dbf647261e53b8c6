//! Topics that brokers delete late, or show for a while after they were deleted.

use std::time::Duration;

use busline_core::{Driver, TopicName, TopicSpec};
use busline_kafka::{KafkaConfig, KafkaDriver};

use crate::broker;
use crate::broker::proxy::Proxy;

/// More looks than one, fewer than the brokers are waited for.
const LOOKS: usize = 5;
/// Of a driver that is to give up.
const IMPATIENT: Duration = Duration::from_secs(2);
const PATIENT: Duration = Duration::from_secs(60);

/// A topic, and a driver behind a proxy that has seen it.
struct Stage {
    proxy: Proxy,
    driver: KafkaDriver,
    topic: TopicName,
}

impl Stage {
    async fn open(name: &str, patience: Duration) -> Self {
        let topic = format!("conformance-{name}-{:x}", std::process::id()).parse().expect("legal");
        let straight = KafkaDriver::open(KafkaConfig::new([broker::bootstrap()])).await.expect("the broker answers");
        straight.create_topic(&topic, &TopicSpec::default()).await.expect("made");
        close(&straight).await;
        let proxy = Proxy::start(broker::port()).expect("a proxy");
        let config = KafkaConfig { patience, ..KafkaConfig::new([proxy.bootstrap()]) };
        let driver = KafkaDriver::open(config).await.expect("the broker answers");
        driver.topic(&topic).await.expect("it is shown");
        Self { proxy, driver, topic }
    }

    /// It is gone, for whoever asks in whichever way.
    async fn assert_gone(&self) {
        let gone = self.driver.topic(&self.topic).await.expect_err("deleted");
        assert_eq!(gone.code(), "NotFound/Topic", "{gone}");
        let left = self.driver.topics().await.expect("a list");
        assert!(left.iter().all(|other| other.name != self.topic), "{left:?}");
        let again = self.driver.delete_topic(&self.topic).await.expect_err("deleted");
        assert_eq!(again.code(), "NotFound/Topic", "{again}");
        close(&self.driver).await;
    }
}

async fn close(driver: &KafkaDriver) {
    driver.close(tokio::time::Instant::now() + Duration::from_secs(10)).await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_ends_when_the_topic_is_not_shown_any_more() {
    let stage = Stage::open("shown", PATIENT).await;
    // The first look is that of the deletion for the topic itself.
    stage.proxy.be_outdated(1 + LOOKS);
    stage.driver.delete_topic(&stage.topic).await.expect("deleted");
    assert_eq!(stage.proxy.outdated(), 0, "as long as it was shown, it was waited for");
    stage.assert_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_stays_shown_is_not_told_as_deleted() {
    let stage = Stage::open("stays", IMPATIENT).await;
    stage.proxy.be_outdated(usize::MAX);
    let error = stage.driver.delete_topic(&stage.topic).await.expect_err("it is shown");
    assert_eq!((error.code().as_str(), error.is_definite()), ("Unavailable/Deletion", false), "{error}");
    let said = error.to_string();
    assert!(said.contains("delete topic") && said.contains("delete it again"), "{said}");
    stage.proxy.be_outdated(0);
    stage.assert_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_answer_is_lost_is_done_when_the_topic_is_gone() {
    let stage = Stage::open("unanswered", IMPATIENT).await;
    stage.proxy.lose_deletions(true);
    stage.driver.delete_topic(&stage.topic).await.expect("it is gone, whoever said so");
    stage.proxy.lose_deletions(false);
    stage.assert_gone().await;
}
