//! What publishes a burst: the bus's publishers, or a raw strategy in their place.

use std::sync::Arc;

use anyhow::Result;
use busline::Bus;

#[cfg(any(feature = "nats", feature = "kafka"))]
use super::raw::Raw;
use super::variant::Variant;
use crate::place::Stage;
use crate::publishing::{Burst, Publishers, Start};
#[cfg(any(feature = "nats", feature = "kafka"))]
use crate::topic_plan::attested;
use crate::workload::Workload;

/// Ready to publish to topics that are made.
pub(crate) enum Opened {
    Bus(Publishers),
    #[cfg(any(feature = "nats", feature = "kafka"))]
    Raw(Raw),
}

impl Opened {
    /// Makes the topics and opens what publishes to them.
    ///
    /// # Errors
    /// Those of the driver and of the native client.
    #[cfg_attr(
        not(any(feature = "nats", feature = "kafka")),
        expect(unused_variables, reason = "no raw strategy in this build")
    )]
    pub(crate) async fn open(
        bus: &Bus,
        stage: &Stage,
        topics: &[String],
        variant: Variant,
        workload: &Arc<Workload>,
    ) -> Result<Self> {
        stage.plan.make(bus, &stage.url, topics).await?;
        #[cfg(any(feature = "nats", feature = "kafka"))]
        {
            let backend = bus.driver().capabilities().backend;
            if variant.strategy.is_raw_on(backend) {
                let durability = attested(bus, &topics[0]).await?;
                let raw = Raw::open(variant.strategy, backend, stage, topics, workload, durability).await?;
                return Ok(Self::Raw(raw));
            }
        }
        Publishers::open(bus, topics, workload.window_envelopes).await.map(Self::Bus)
    }

    /// Publishes the whole workload and waits for the last outcome.
    ///
    /// # Errors
    /// What cannot be handed over at all; an envelope that is not acked is counted instead.
    pub(crate) async fn burst(&self, workload: &Arc<Workload>, start: &Start) -> Result<Burst> {
        match self {
            Self::Bus(publishers) => publishers.burst(workload, start).await,
            #[cfg(any(feature = "nats", feature = "kafka"))]
            Self::Raw(raw) => raw.burst(start).await,
        }
    }

    /// Envelopes that were accepted and not acked.
    pub(crate) fn failures(&self) -> u64 {
        match self {
            Self::Bus(publishers) => publishers.failures(),
            #[cfg(any(feature = "nats", feature = "kafka"))]
            Self::Raw(raw) => raw.failures(),
        }
    }

    /// Envelopes that were not accepted.
    pub(crate) fn rejected(&self) -> u64 {
        match self {
            Self::Bus(_) => 0,
            #[cfg(any(feature = "nats", feature = "kafka"))]
            Self::Raw(raw) => raw.rejected(),
        }
    }

    /// Whether the bus itself counts what was acked.
    pub(crate) fn is_bus(&self) -> bool {
        matches!(self, Self::Bus(_))
    }

    /// Ends a native client; publishers are closed with their bus.
    ///
    /// # Errors
    /// Those of the client.
    pub(crate) async fn close(self) -> Result<()> {
        match self {
            Self::Bus(_) => Ok(()),
            #[cfg(any(feature = "nats", feature = "kafka"))]
            Self::Raw(raw) => raw.close().await,
        }
    }
}
