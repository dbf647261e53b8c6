//! The setting by which a Kafka topic syncs each record before its ack, or does not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use busline::{KafkaConfig, Medium};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigEntry, ConfigSource, OwnedResourceSpecifier, ResourceSpecifier,
};
use rdkafka::client::DefaultClientContext;

use crate::at_once::at_once;

const FLUSH: &str = "flush.messages";

/// Longest wait until a broker that is asked knows of it.
const KNOWN_MAX: Duration = Duration::from_secs(30);

/// Has these topics sync each record before its ack, or leave that to the system.
pub(crate) async fn set(url: &str, topics: &[String], medium: Medium) -> Result<()> {
    let messages = if medium == Medium::Synced { "1".to_string() } else { i64::MAX.to_string() };
    let admin: AdminClient<DefaultClientContext> =
        crate::twin::kafka::client(&KafkaConfig::parse(url)?).create().context("a client for settings")?;
    let admin = Arc::new(admin);
    let setting = topics.iter().cloned().map(|topic| {
        let (admin, messages) = (Arc::clone(&admin), messages.clone());
        async move { set_of(&admin, &topic, &messages).await }
    });
    at_once(setting).await.map(drop)
}

async fn set_of(admin: &AdminClient<DefaultClientContext>, topic: &str, messages: &str) -> Result<()> {
    let topic = ResourceSpecifier::Topic(topic);
    // The request replaces everything that was set for the topic, so what stays is said again.
    let found = settings(admin, &topic).await?;
    let own = found.iter().filter(|it| it.source == ConfigSource::DynamicTopic && it.name != FLUSH);
    let mut alter = AlterConfig::new(topic).set(FLUSH, messages);
    for ConfigEntry { name, value, .. } in own {
        alter = alter.set(name, value.as_deref().unwrap_or_default());
    }
    for altered in admin.alter_configs([&alter], &AdminOptions::new()).await? {
        altered.map_err(|(name, code): (OwnedResourceSpecifier, _)| anyhow!("set {FLUSH} of {name:?}: {code}"))?;
    }
    let until = Instant::now() + KNOWN_MAX;
    let is_known =
        |found: &[ConfigEntry]| found.iter().any(|it| it.name == FLUSH && it.value.as_deref() == Some(messages));
    while !is_known(&settings(admin, &topic).await?) {
        ensure!(Instant::now() < until, "no broker knew of {FLUSH} within {KNOWN_MAX:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn settings(
    admin: &AdminClient<DefaultClientContext>,
    topic: &ResourceSpecifier<'_>,
) -> Result<Vec<ConfigEntry>> {
    let described = admin.describe_configs([topic], &AdminOptions::new()).await?;
    let resource = described.into_iter().next().context("no settings")?;
    Ok(resource.map_err(|code| anyhow!("read the settings of a topic: {code}"))?.entries)
}
