//! Collects what a look at a bus finds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::judge::{Facts, Feeding, Publishing, Subscribing};
use crate::driver::{Driver, Lag};
use crate::error::{Error, ErrorKind, Result};
use crate::publisher::PublisherCore;
use crate::subscription::SubscriptionCore;
use crate::topic::{GroupName, TopicName};

/// Longest wait for the backend's answers.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Time without an ack that means nothing.
const ACK_PATIENCE: Duration = Duration::from_secs(5);

/// Looks at these publishers and subscriptions and asks the backend.
pub(crate) async fn gather(
    driver: &dyn Driver,
    publishers: &[Arc<PublisherCore>],
    subscriptions: &[Arc<SubscriptionCore>],
) -> Facts {
    let mut facts = Facts {
        publishers: publishers.iter().map(look_at_publisher).collect(),
        feedings: publishers.iter().filter_map(|publisher| look_at_feeding(publisher, subscriptions)).collect(),
        ..Facts::default()
    };
    let mut works: Vec<Subscribing> = subscriptions.iter().map(look_at_subscription).collect();
    let topics: BTreeSet<TopicName> = facts
        .publishers
        .iter()
        .map(|work| work.topic.clone())
        .chain(works.iter().map(|work| work.topic.clone()))
        .collect();
    match timeout(ANSWER_MAX, ask(driver, &topics, &works)).await {
        Ok(Ok(lags)) => {
            works.iter_mut().for_each(|work| add_lags(work, &lags));
            facts.deleted = lags.into_iter().map(|(topic, group, lags)| (topic, group, deleted(&lags))).collect();
        }
        Ok(Err(error)) => facts.silence = Some(error),
        Err(_) => facts.silence = Some(no_answer(driver)),
    }
    if facts.silence.is_some() {
        // Where they stand is not known.
        works.iter_mut().for_each(|work| work.partitions.clear());
    }
    facts.subscriptions = works;
    facts
}

type Lags = Vec<(TopicName, GroupName, Vec<Lag>)>;

/// A sign of life, and how far every group of these topics is.
async fn ask(driver: &dyn Driver, topics: &BTreeSet<TopicName>, works: &[Subscribing]) -> Result<Lags> {
    driver.probe().await?;
    let mut lags = Vec::new();
    if topics.is_empty() || !driver.capabilities().groups {
        return Ok(lags);
    }
    let mut pairs: BTreeSet<(GroupName, TopicName)> = driver.groups().await?.into_iter().collect();
    pairs.retain(|(_, topic)| topics.contains(topic));
    pairs.extend(works.iter().map(|work| (work.group.clone(), work.topic.clone())));
    for (group, topic) in pairs {
        match driver.lag(&group, &topic).await {
            Ok(lag) => lags.push((topic, group, lag)),
            // Deleted meanwhile, which its publishers and subscriptions say themselves.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(lags)
}

fn look_at_publisher(publisher: &Arc<PublisherCore>) -> Publishing {
    let stats = publisher.stats();
    let failed = stats.failed + stats.indeterminate;
    Publishing {
        number: publisher.number(),
        topic: publisher.topic_name().clone(),
        acked: stats.acked,
        failed,
        waiting: stats.accepted.saturating_sub(stats.acked + failed),
        patience: ACK_PATIENCE,
        trouble: publisher.trouble(),
    }
}

/// What handlers of a subscription to the publisher's own topic have published with it.
fn look_at_feeding(publisher: &Arc<PublisherCore>, subscriptions: &[Arc<SubscriptionCore>]) -> Option<Feeding> {
    let (number, fed) = publisher.feeding()?;
    let subscription = subscriptions.iter().find(|subscription| subscription.number() == number)?;
    let (group, topic) = subscription.place();
    let handled = subscription.stats().handled;
    (topic == *publisher.topic_name()).then(|| Feeding { number: publisher.number(), topic, group, fed, handled })
}

fn look_at_subscription(subscription: &Arc<SubscriptionCore>) -> Subscribing {
    let (stats, (group, topic)) = (subscription.stats(), subscription.place());
    Subscribing {
        number: subscription.number(),
        topic,
        group,
        partitions: subscription.moving().into_iter().map(|partition| (partition, 0, 0)).collect(),
        missing: stats.gap_positions + stats.gone,
        patience: subscription.patience(),
        trouble: subscription.trouble(),
        blocked: subscription.blocked(),
        blocked_handlers: subscription.blocked_handlers(),
    }
}

fn add_lags(work: &mut Subscribing, lags: &Lags) {
    let found = lags.iter().find(|(topic, group, _)| (topic, group) == (&work.topic, &work.group));
    let lags: &[Lag] = found.map_or(&[], |(.., lags)| lags);
    for (partition, committed, waiting) in &mut work.partitions {
        if let Some(lag) = lags.iter().find(|lag: &&Lag| lag.partition == *partition) {
            (*committed, *waiting) = (lag.committed.map_or(0, |offset| offset.0), lag.records);
        }
    }
}

fn deleted(lags: &[Lag]) -> u64 {
    lags.iter().filter_map(|lag| lag.deleted).sum()
}

fn no_answer(driver: &dyn Driver) -> Error {
    Error::new(ErrorKind::Timeout, "Health")
        .cause(format!("no answer within {ANSWER_MAX:?}"))
        .next("see whether the backend is up and reachable")
        .at("look at", driver.capabilities().backend)
}
