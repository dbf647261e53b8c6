//! Members in processes of their own that are killed or frozen.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use busline_conformance::Meeting;
use busline_core::{Driver, Result};
use busline_kafka::{KafkaConfig, KafkaDriver};

use crate::broker;

/// The broker of all tests.
struct Shared;

impl Meeting for Shared {
    /// The shortest session that brokers take by default.
    const LEASE: Duration = Duration::from_secs(6);

    fn place(&self) -> String {
        broker::bootstrap()
    }

    async fn connect(place: &str) -> Result<Arc<dyn Driver>> {
        Ok(Arc::new(KafkaDriver::open(KafkaConfig::new(place.split(','))).await?))
    }

    /// Under KIP-848 the session belongs to the broker.
    fn followed_within() -> RangeInclusive<Duration> {
        Duration::ZERO..=Duration::from_secs(60)
    }

    /// In the long run of the pipeline beyond the 5 minutes without a poll too, after which the client leaves the group by
    /// itself.
    fn frozen_for() -> Duration {
        if std::env::var_os("BUSLINE_LONG").is_some() { Duration::from_secs(310) } else { Duration::ZERO }
    }
}

busline_conformance::members!(Shared, Shared);
