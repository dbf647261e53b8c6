//! What each way in is good for: an event there and back, or one line that says why not.

use std::sync::Arc;
use std::time::Duration;

use busline_core::{Bus, Delivery, Envelope, Error};
use busline_kafka::{KafkaConfig, KafkaDriver};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::overheard;
use crate::place::PASSWORD;

const SOON: Duration = Duration::from_secs(60);

/// Publishes events and has a group handle them.
pub(crate) async fn travels(url: &str, what: &str) {
    overheard::listen();
    let driver = KafkaDriver::open(KafkaConfig::parse(url).expect("legal")).await.expect("it is let in");
    assert!(!format!("{driver:?}").contains(PASSWORD), "{driver:?}");
    let bus = Bus::new(Arc::new(driver));
    let topic = format!("secured-{what}");
    let publisher = bus.publisher(&topic).open().await.expect("opens");
    let (handled, mut handles) = mpsc::unbounded_channel();
    let handler = move |delivery: Delivery| {
        let version = delivery.envelope.event_version;
        std::future::ready(handled.send(version).map_err(Into::into))
    };
    let subscription = bus.subscribe(&topic, "readers").handle(handler).await.expect("subscribes");
    for version in 1..=3 {
        publisher.publish_sync(Envelope::new("key", "Happened", version)).await.expect("acked");
    }
    for version in 1..=3 {
        assert_eq!(timeout(SOON, handles.recv()).await.expect("it comes"), Some(version));
    }
    subscription.close(SOON).await.expect("closes");
    bus.close(SOON).await.expect("closes");
    overheard::holds_no(PASSWORD);
}

/// Is not let in: an error of one line without the secret, long before the test's own limit.
pub(crate) async fn refused(url: &str) -> Error {
    overheard::listen();
    let mut config = KafkaConfig::parse(url).expect("legal");
    assert!(!format!("{config:?}").contains(PASSWORD), "{config:?}");
    config.patience = Duration::from_secs(8);
    let opened = timeout(SOON, KafkaDriver::open(config)).await.expect("an answer");
    let error = opened.err().unwrap_or_else(|| panic!("let in: {url}"));
    let text = format!("{error}\n{error:?}");
    assert!(!text.contains(PASSWORD), "a secret is printed: {text}");
    assert!(!error.to_string().contains('\n'), "one line: {error}");
    overheard::holds_no(PASSWORD);
    println!("{error}");
    error
}
