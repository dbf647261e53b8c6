//! Opening a subscription.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::engine::Engine;
use super::handler::{Handler, Place};
use super::retry::Retry;
use super::settings::SubscriptionSettings;
use super::subscribe::Subscription;
use super::watchdog::Watchdog;
use super::{reader, tender, worker};
use crate::bus::BusCore;
use crate::driver::{SourceRequest, Start};
use crate::error::{Error, Result};
use crate::topic::{GroupName, Provision, TOPIC_AND_GROUP_BYTES_MAX, TopicName};

/// Opens a [`Subscription`] of a group to a topic.
#[derive(Debug)]
pub struct SubscriptionBuilder {
    bus: Weak<BusCore>,
    topic: String,
    group: String,
    provision: Provision,
    settings: SubscriptionSettings,
}

impl SubscriptionBuilder {
    pub(crate) fn new(bus: Weak<BusCore>, topic: &str, group: &str) -> Self {
        Self {
            bus,
            topic: topic.into(),
            group: group.into(),
            provision: Provision::default(),
            settings: SubscriptionSettings::default(),
        }
    }

    /// All settings at once.
    #[must_use]
    pub fn settings(mut self, settings: SubscriptionSettings) -> Self {
        self.settings = settings;
        self
    }

    /// What to do about a missing or different topic. Default: make a missing one.
    #[must_use]
    pub fn provision(mut self, provision: Provision) -> Self {
        self.provision = provision;
        self
    }

    /// Handlers that run at once, each for another key. Default 16.
    #[must_use]
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.settings.concurrency = handlers;
        self
    }

    /// How failed attempts are made again. Default five attempts in all.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.settings.retry = retry;
        self
    }

    /// Longest run of a handler. Default 30 s.
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handler_timeout = timeout;
        self
    }

    /// Where the group begins if it has no committed offset. Default: the earliest record.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.settings.start = start;
        self
    }

    /// Joins the group and runs the handler for each event, until the subscription is closed.
    ///
    /// # Errors
    /// `Invalid/…` for a bad name or setting; `Invalid/NoRuntime`; what the provision says; `Unsupported/Groups`;
    /// `AlreadyExists/Subscription` if this bus has one of this group and topic; `Closed/Bus`.
    pub async fn handle<H: Handler>(self, handler: H) -> Result<Subscription> {
        let name = format!("{} of group {}", self.topic, self.group);
        self.open(handler).await.map_err(|error| error.at("subscribe", name))
    }

    async fn open<H: Handler>(self, handler: H) -> Result<Subscription> {
        let (topic, group) = (TopicName::new(&self.topic)?, GroupName::new(&self.group)?);
        if topic.as_str().len() + group.as_str().len() > TOPIC_AND_GROUP_BYTES_MAX {
            return Err(Error::invalid("NameTooLong")
                .cause(format!("topic and group have more than {TOPIC_AND_GROUP_BYTES_MAX} characters together"))
                .next("shorten one of them"));
        }
        self.settings.validate()?;
        let runtime = Handle::try_current().map_err(|_| crate::bus::no_runtime())?;
        let bus = self.bus.upgrade().ok_or_else(crate::bus::bus_closed)?;
        let driver = bus.driver()?;
        let topic = crate::provision::provision(&*driver, &topic, &self.provision).await?;
        let request = SourceRequest {
            group: group.clone(),
            topic: topic.clone(),
            member: member_name(),
            start: self.settings.start.clone(),
            lease: self.settings.lease,
        };
        let place = Arc::new(Place { topic: topic.name, group });
        let source = driver.source(request).await?;
        let engine = Arc::new(Engine::new(driver, source, self.settings, place));
        let watchdog = Watchdog::start(&engine)?;
        let handler = Arc::new(handler);
        let mut tasks =
            vec![runtime.spawn(reader::read(Arc::clone(&engine))), runtime.spawn(tender::tend(Arc::clone(&engine)))];
        for number in 0..engine.slots.len() {
            tasks.push(runtime.spawn(worker::work(Arc::clone(&engine), Arc::clone(&handler), number)));
        }
        let subscription = Subscription::new(engine, watchdog, tasks, runtime);
        bus.register_subscription(&subscription);
        Ok(subscription)
    }
}

/// The member's name: process and a random part, unique in its group.
fn member_name() -> String {
    format!("{}-{:08x}", std::process::id(), rand::random::<u32>())
}
