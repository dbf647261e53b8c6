//! What the topics of a run are made of, and how durably.

use std::time::Duration;

use anyhow::Result;
use busline::{Bus, Durability, Medium, Partition, TopicName, TopicSpec};

use crate::at_once::at_once;

/// The topics of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TopicPlan {
    pub(crate) spec: TopicSpec,
    /// What acks are to attest, where the topic says so (Kafka). `None` leaves it as the brokers have it.
    medium: Option<Medium>,
}

/// Longest wait for a publisher to close.
const CLOSE_MAX: Duration = Duration::from_secs(60);

impl TopicPlan {
    pub(crate) fn new(streams: u32, wanted: Option<Durability>) -> Self {
        let replicas = wanted.map_or(1, |wanted| replicas_of(wanted.copies));
        let spec = TopicSpec { streams, replicas, ..TopicSpec::default() };
        Self { spec, medium: wanted.map(|wanted| wanted.medium) }
    }

    /// Makes the topics by the driver, all at once.
    ///
    /// # Errors
    /// Those of the driver: a backend that keeps no such copies, or has no streams.
    pub(crate) async fn make(&self, bus: &Bus, url: &str, topics: &[String]) -> Result<()> {
        let names = topics.iter().map(|topic| TopicName::new(topic)).collect::<busline::Result<Vec<TopicName>>>()?;
        at_once(names.into_iter().map(|name| {
            let (bus, spec) = (bus.clone(), self.spec.clone());
            async move {
                let topic = bus.driver().create_topic(&name, &spec).await?;
                // Who leads a partition may be told before it leads it, and what is published then is tried again a tenth of
                // a second later: by the bus, by its twin, or by both.
                for partition in (0..topic.spec.partitions).map(Partition) {
                    bus.driver().bounds(&name, partition).await?;
                }
                busline::Result::Ok(())
            }
        }))
        .await?;
        #[cfg(feature = "kafka")]
        if let Some(medium) = self.medium.filter(|_| crate::contender::backend_of(url) == "kafka") {
            crate::kafka_flush::set(url, topics, medium).await?;
        }
        #[cfg(not(feature = "kafka"))]
        let _ = (url, self.medium);
        Ok(())
    }
}

/// Copies of a topic whose acks attest so many: every backend acks when more than half of them have it.
fn replicas_of(copies: u8) -> u8 {
    copies.saturating_mul(2).saturating_sub(1).max(1)
}

/// What acks on this topic attest.
///
/// # Errors
/// Those of opening a publisher.
pub(crate) async fn attested(bus: &Bus, topic: &str) -> Result<Durability> {
    let publisher = bus.publisher(topic).open().await?;
    let durability = publisher.offer().durability;
    let left = publisher.close(CLOSE_MAX).await.left;
    anyhow::ensure!(left.is_empty(), "the publisher of {topic} was not closed within {CLOSE_MAX:?}");
    Ok(durability)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_of_more_than_half_attest_the_copies_asked_for() {
        for (copies, replicas) in [(1, 1), (2, 3), (3, 5)] {
            let wanted = Durability { medium: Medium::Written, copies };
            assert_eq!(TopicPlan::new(1, Some(wanted)).spec.replicas, replicas);
        }
        assert_eq!(TopicPlan::new(1, None), TopicPlan::default());
        assert_eq!(TopicPlan::new(4, None).spec.streams, 4);
    }
}
