//! The bus, topic and backend that one case plays on.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use busline_core::{Bus, Closed, Driver, Publisher, PublisherBuilder, TopicName};

use crate::faulty::{Faults, Faulty, Shape};
use crate::harness::Harness;
use crate::stored::Stored;

/// Longest time that anything takes which should take a moment.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Longest wait for what should come soon: a broker that many other tests use, too, may have much to do first.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A bus on a fresh topic.
pub(crate) struct Stage {
    pub(crate) bus: Bus,
    pub(crate) topic: String,
}

impl Stage {
    /// On the harness's own driver.
    pub(crate) async fn open(harness: &impl Harness) -> Self {
        let driver = harness.connect().await.expect("the harness connects");
        Self::on(driver)
    }

    /// On a faulty driver with its limits.
    pub(crate) async fn faulty(harness: &impl Harness) -> (Self, Faults) {
        Self::shaped(harness, Shape::default()).await
    }

    /// On a faulty driver with these limits.
    pub(crate) async fn shaped(harness: &impl Harness, shape: Shape) -> (Self, Faults) {
        let driver = harness.connect().await.expect("the harness connects");
        let (driver, faults) = Faulty::wrap(driver, shape);
        (Self::on(driver), faults)
    }

    pub(crate) fn on(driver: Arc<dyn Driver>) -> Self {
        Self { bus: Bus::new(driver), topic: fresh_topic() }
    }

    pub(crate) fn driver(&self) -> &Arc<dyn Driver> {
        self.bus.driver()
    }

    pub(crate) fn name(&self) -> TopicName {
        TopicName::new(&self.topic).expect("a legal name")
    }

    /// A publisher's builder on the topic.
    pub(crate) fn builder(&self) -> PublisherBuilder {
        self.bus.publisher(&self.topic)
    }

    /// A publisher with the default settings.
    pub(crate) async fn publisher(&self) -> Publisher {
        self.builder().open().await.expect("a publisher with default settings opens")
    }

    /// What the topic holds, read without the publisher.
    pub(crate) async fn stored(&self) -> Stored {
        Stored::read(&**self.driver(), &self.name()).await
    }

    /// Closes the bus: everything must end.
    pub(crate) async fn close(self) -> Vec<Closed> {
        let ends = within("bus.close", self.bus.close(SOON)).await.expect("the bus closes");
        for end in &ends {
            assert!(end.left.is_empty(), "close(10 s) must leave nothing behind, it left {:?}", end.left);
        }
        ends
    }
}

/// A topic name that no other case and no other run uses.
pub(crate) fn fresh_topic() -> String {
    format!("conformance-{:016x}", rand::random::<u64>())
}

/// Awaits something that must come soon; names it if it does not.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT_MAX, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not come within {WAIT_MAX:?}"),
    }
}

/// Says why a case does not run on this backend; the case has checked that the backend says `Unsupported` itself.
pub(crate) fn skip(reason: &str) {
    println!("not applicable: {reason}");
}
