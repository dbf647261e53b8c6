//! The Kafka driver keeps the promises.

#[path = "broker/mod.rs"]
mod broker;

use std::sync::Arc;

use busline_conformance::{Harness, Interruption};
use busline_core::{Driver, Result};
use busline_kafka::{KafkaConfig, KafkaDriver};

/// One broker for all cases; their topics have names of their own.
struct Broker;

impl Harness for Broker {
    async fn connect(&self) -> Result<Arc<dyn Driver>> {
        Ok(Arc::new(KafkaDriver::open(KafkaConfig::new([broker::bootstrap()])).await?))
    }

    async fn interrupt(&self) -> Option<Interruption> {
        None
    }
}

busline_conformance::conformance!(Broker);
