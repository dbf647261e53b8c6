//! Opening a subscription.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::engine::Engine;
use super::handler::{BatchHandler, Handler, Place};
use super::parking::{ParkedScope, Parking, Writer, keep};
use super::retry::Retry;
use super::settings::{ParkingPolicy, SubscriptionSettings};
use super::subscribe::{Running, Subscription};
use super::watchdog::Watchdog;
use super::worker::{InBatches, OneByOne, Runner};
use super::{reader, tender, worker};
use crate::bus::{BusCore, Ground};
use crate::driver::{Driver, SourceRequest, Start};
use crate::error::{Error, Result};
use crate::topic::{
    GroupName, Provision, TOPIC_AND_GROUP_BYTES_MAX, TopicInfo, TopicName, offset_beyond_end, partition_not_found,
};

/// Opens a [`Subscription`] of a group to a topic.
#[derive(Debug)]
pub struct SubscriptionBuilder {
    bus: Weak<BusCore>,
    topic: String,
    group: String,
    provision: Provision,
    settings: SubscriptionSettings,
    is_another: bool,
}

impl SubscriptionBuilder {
    pub(crate) fn new(bus: Weak<BusCore>, topic: &str, group: &str) -> Self {
        Self {
            bus,
            topic: topic.into(),
            group: group.into(),
            provision: Provision::default(),
            settings: SubscriptionSettings::default(),
            is_another: false,
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

    /// Handlers that run at once, each for another key: 1 to 4,096. Default 16.
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

    /// Longest run of a handler; then its attempt has failed. 1 ms to 1 h, default 30 s.
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

    /// What becomes of a record that has used its attempts up or cannot be decoded. Default: it is parked with its key.
    #[must_use]
    pub fn parking(mut self, policy: ParkingPolicy) -> Self {
        self.settings.parking = policy;
        self
    }

    /// Joins as one more member, also if this bus has a subscription of this group to this topic already.
    ///
    /// Two members in one process share its fate, so they make nothing safer; they are for tests, and for handlers that
    /// differ in nothing but their concurrency.
    #[must_use]
    pub fn another_member(mut self) -> Self {
        self.is_another = true;
        self
    }

    /// Joins the group and runs the handler for each event, until the subscription is closed.
    ///
    /// # Errors
    /// `Invalid/…` for a bad name or setting; `Invalid/NoRuntime`; what the provision says; `Unsupported/Groups`;
    /// `NotFound/Partition` if the start names one that the topic does not have, `Invalid/Offset` if it names an offset
    /// beyond the end of one; `AlreadyExists/Subscription` if this bus has one of this group and topic; `Closed/Bus`.
    ///
    /// # Cancel safety
    /// A dropped future runs no handler. The topic and the group's parking topic may have been made, and the group may count
    /// the member until its lease has run out.
    pub async fn handle<H: Handler>(self, handler: H) -> Result<Subscription> {
        self.run(OneByOne(handler)).await
    }

    /// The same with a handler that gets up to `size_max` events of different keys at once, from 1 to 4,096, and gives a
    /// verdict for each.
    ///
    /// # Errors
    /// As [`handle`](Self::handle), and `Invalid/Range` for the size.
    ///
    /// # Cancel safety
    /// As [`handle`](Self::handle).
    pub async fn handle_batch<H: BatchHandler>(self, size_max: usize, handler: H) -> Result<Subscription> {
        if !(1..=HANDLER_BATCH_MAX).contains(&size_max) {
            let error = Error::invalid("Range").cause(format!("a batch of {size_max} events"));
            let error = error.next("use 1 to 4,096 events");
            return Err(error.at("subscribe", format!("{} of group {}", self.topic, self.group)));
        }
        self.run(InBatches { handler, size_max }).await
    }

    async fn run<R: Runner>(self, runner: R) -> Result<Subscription> {
        let name = format!("{} of group {}", self.topic, self.group);
        self.open(runner).await.map_err(|error| error.at("subscribe", name))
    }

    async fn open<R: Runner>(self, runner: R) -> Result<Subscription> {
        let (topic, group) = (TopicName::new(&self.topic)?, GroupName::new(&self.group)?);
        if topic.as_str().len() + group.as_str().len() > TOPIC_AND_GROUP_BYTES_MAX {
            return Err(Error::invalid("NameTooLong")
                .cause(format!("topic and group have more than {TOPIC_AND_GROUP_BYTES_MAX} characters together"))
                .next("shorten one of them"));
        }
        self.settings.validate()?;
        let Ground { runtime, bus, driver } = Ground::of(&self.bus)?;
        let place = Arc::new(Place { topic, group });
        let claim = BusCore::claim(&bus, &place, self.is_another)?;
        let topic = crate::provision::provision(&*driver, &place.topic, &self.provision).await?;
        check_start(&*driver, &self.settings.start, &topic).await?;
        let member = member_name();
        let parking = open_parking(&*driver, &place, &topic, &member, &self.settings).await?;
        let request = SourceRequest {
            group: place.group.clone(),
            topic,
            member,
            start: self.settings.start.clone(),
            lease: self.settings.lease,
        };
        let source = match driver.source(request).await {
            Ok(source) => source,
            Err(error) => {
                if let Some(parking) = &parking {
                    parking.writer.close(Instant::now() + driver.patience()).await?;
                }
                return Err(error);
            }
        };
        let engine = Arc::new(Engine::new(driver, source, self.settings, place, parking));
        let watchdog = Some(Watchdog::start(&engine)?);
        let tasks = vec![
            runtime.spawn(reader::read(Arc::clone(&engine))),
            runtime.spawn(tender::tend(Arc::clone(&engine))),
            runtime.spawn(tender::ring(Arc::clone(&engine))),
        ];
        let runner = Arc::new(runner);
        let start = |number| runtime.spawn(worker::work(Arc::clone(&engine), Arc::clone(&runner), number));
        let workers = (0..engine.slots.len()).map(start).collect();
        let keeper = engine.parking.iter().map(|_| runtime.spawn(keep(Arc::clone(&engine)))).collect();
        let running = Running { watchdog, tasks, workers, keeper };
        let subscription = Subscription::new(engine, running, claim, runtime);
        if !bus.register_subscription(&subscription) {
            // The bus was closed meanwhile; the end of the only handle closes the subscription.
            return Err(crate::bus::bus_closed());
        }
        Ok(subscription)
    }
}

/// Finds or makes the group's parking topic, unless nothing is to be parked.
async fn open_parking(
    driver: &dyn Driver,
    place: &Place,
    topic: &TopicInfo,
    member: &str,
    settings: &SubscriptionSettings,
) -> Result<Option<Parking>> {
    let scope = match settings.parking {
        ParkingPolicy::Key => ParkedScope::Key,
        ParkingPolicy::Record => ParkedScope::Record,
        ParkingPolicy::Off => return Ok(None),
    };
    let parking = crate::provision::provision_parking(driver, topic, &place.group).await?;
    let writer = Writer::open(driver, &parking, topic.incarnation).await?;
    let policy = (scope, settings.parked_keys_max);
    Ok(Some(Parking::new(policy, topic.clone(), parking, member.to_owned(), writer)))
}

/// Most events of one batch.
pub const HANDLER_BATCH_MAX: usize = 4_096;

async fn check_start(driver: &dyn Driver, start: &Start, topic: &TopicInfo) -> Result<()> {
    let Start::Offsets(offsets) = start else { return Ok(()) };
    for (partition, offset) in offsets {
        if partition.0 >= topic.spec.partitions {
            return Err(partition_not_found(&topic.name, *partition));
        }
        let end = driver.bounds(&topic.name, *partition).await?.end;
        if *offset > end {
            return Err(offset_beyond_end(*partition, *offset, end));
        }
    }
    Ok(())
}

/// The member's name: process and a random part, unique in its group.
pub(crate) fn member_name() -> String {
    format!("{}-{:08x}", std::process::id(), rand::random::<u32>())
}
