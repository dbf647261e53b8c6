//! The Kafka driver keeps the promises.

#[path = "broker/mod.rs"]
#[allow(dead_code, reason = "the fault tests use the rest")]
mod broker;

use std::sync::Arc;

use broker::proxy::Proxy;
use busline_conformance::{Harness, Interruption};
use busline_core::{Driver, Result};
use busline_kafka::{KafkaConfig, KafkaDriver};

/// One broker for all cases, since their topics have names of their own, and a proxy of its own for each.
struct Broker(Option<Arc<Proxy>>);

impl Broker {
    fn new() -> Self {
        // A case that counts the threads of its process has none of ours.
        let is_alone = std::env::var_os("BUSLINE_CONFORMANCE_ALONE").is_some();
        Self((!is_alone).then(|| Arc::new(Proxy::start(broker::port()).expect("a proxy"))))
    }
}

impl Harness for Broker {
    async fn connect(&self) -> Result<Arc<dyn Driver>> {
        let bootstrap = self.0.as_ref().map_or_else(broker::bootstrap, |proxy| proxy.bootstrap());
        Ok(Arc::new(KafkaDriver::open(KafkaConfig::new([bootstrap])).await?))
    }

    async fn interrupt(&self) -> Option<Interruption> {
        let proxy = Arc::clone(self.0.as_ref()?);
        proxy.shut();
        Some(Interruption { what: "the broker cannot be reached", heal: Box::new(move || proxy.open()) })
    }
}

busline_conformance::conformance!(Broker::new());
