//! Members in processes of their own that are killed or frozen.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_conformance::Meeting;
use busline_core::{Driver, Result};
use busline_nats::{NatsConfig, NatsDriver};

/// A server of its own for each test.
struct OneServer(Server);

impl OneServer {
    fn new() -> Self {
        Self(Server::start(&Options::default()).expect("a server"))
    }
}

impl Meeting for OneServer {
    const LEASE: Duration = Duration::from_secs(2);

    fn place(&self) -> String {
        self.0.url()
    }

    async fn connect(place: &str) -> Result<Arc<dyn Driver>> {
        Ok(Arc::new(NatsDriver::open(NatsConfig::from_url(place)?).await?))
    }

    /// Its last renewal was at most two beats before its death, of a fifth of the lease each.
    fn followed_within() -> RangeInclusive<Duration> {
        Self::LEASE * 3 / 5..=Duration::from_secs(60)
    }

    fn frozen_for() -> Duration {
        Duration::ZERO
    }
}

busline_conformance::members!(OneServer, OneServer::new());
