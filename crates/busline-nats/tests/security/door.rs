//! Whether a URL opens a server, over all the ways that the driver has to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use busline_core::{Bus, Envelope, Error, ErrorKind, ReadRequest, TopicName};
use busline_nats::{NatsConfig, NatsDriver};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::listener::{assert_never_said, listen};

/// Longest wait for anything in these tests.
pub(crate) const SOON: Duration = Duration::from_secs(60);

fn config(url: &str) -> NatsConfig {
    let mut config = NatsConfig::from_url(url).expect("a legal URL");
    config.connect_timeout = Duration::from_secs(5);
    config.patience = Duration::from_secs(10);
    config
}

/// Opens a bus.
pub(crate) async fn open(url: &str, secrets: &[&str]) -> Bus {
    listen();
    let driver = NatsDriver::open(config(url)).await.unwrap_or_else(|error| panic!("opens: {error}"));
    assert_hidden(&format!("{driver:?} {:?} {:?}", config(url), driver.facts()), secrets);
    Bus::new(Arc::new(driver))
}

/// Administration by the client library, publishing and reading by links: each presents the credentials by itself.
pub(crate) async fn opens(url: &str, topic: &str, secrets: &[&str]) {
    let bus = open(url, secrets).await;
    assert_works(&bus, topic).await;
    bus.close(SOON).await.expect("closes");
    assert_never_said(secrets);
}

/// That a record can be published and read.
pub(crate) async fn assert_works(bus: &Bus, topic: &str) {
    let event = Envelope::new("k", "Happened", 1).json(&1).expect("json");
    let publisher = bus.publisher(topic).open().await.expect("opens");
    let ack = publisher.publish_sync(event).await.expect("acked");
    let topic = TopicName::new(topic).expect("legal");
    let (driver, partition) = (bus.driver(), ack.partition);
    let bounds = driver.bounds(&topic, partition).await.expect("bounds");
    let request = ReadRequest { partition, from: bounds.start, to: bounds.end, records_max: 10, bytes_max: 1 << 20 };
    assert!(!driver.read(&topic, request).await.expect("a read").is_empty());
}

/// The error of a URL that does not open; it is one line, and says none of these secrets.
pub(crate) async fn refused(url: &str, secrets: &[&str]) -> Error {
    listen();
    let opened = timeout(SOON, NatsDriver::open(config(url))).await.expect("an answer");
    let error = opened.expect_err("it is refused");
    assert_one_line(&error, secrets);
    assert_never_said(secrets);
    error
}

/// Asks until the backend says that it denies; gives its word.
pub(crate) async fn denial(bus: &Bus, secrets: &[&str]) -> Error {
    let end = Instant::now() + SOON;
    loop {
        match bus.driver().probe().await {
            Err(error) if error.kind() == ErrorKind::Denied => {
                assert_one_line(&error, secrets);
                return error;
            }
            said => assert!(Instant::now() < end, "the server denies nothing: {said:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// That an error is for people and gives nothing away.
pub(crate) fn assert_one_line(error: &Error, secrets: &[&str]) {
    assert!(!error.to_string().contains('\n'), "one line: {error}");
    assert_hidden(&format!("{error} {error:?}"), secrets);
}

fn assert_hidden(text: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!text.contains(secret), "a secret is printed: {text}");
    }
}

/// A folder with files of secrets and certificates.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// Writes a file and gives its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Writes a file and gives its path as text of a URL and of the server's settings.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        self.write(name, text).display().to_string()
    }
}
