//! The bus: one backend, and what was opened on it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::health::{Facts, Health, Memory, gather};
use crate::publisher::{Closed, Publisher, PublisherBuilder, PublisherCore};
use crate::subscription::{
    Deletion, Parked, ParkedCount, Place, Subscription, SubscriptionBuilder, SubscriptionCore, close_in_handler,
    delete_group, delete_topic,
};
use crate::topic::{GroupName, TopicName};

/// One backend, opened.
///
/// Cloning is a counter. [`Bus::close`] ends everything that was opened on it.
#[derive(Clone)]
pub struct Bus(Arc<BusCore>);

/// What the builders of a bus need of it.
pub(crate) struct BusCore {
    driver: Arc<dyn Driver>,
    open: Mutex<Open>,
    /// What earlier looks at its health have seen.
    health: Mutex<Memory>,
}

/// What opening something stands on: a runtime for its tasks, and a bus that is open.
pub(crate) struct Ground {
    pub(crate) runtime: Handle,
    pub(crate) bus: Arc<BusCore>,
    pub(crate) driver: Arc<dyn Driver>,
}

impl Ground {
    /// # Errors
    /// `Invalid/NoRuntime`; `Closed/Bus`.
    pub(crate) fn of(bus: &Weak<BusCore>) -> Result<Self> {
        let runtime = Handle::try_current().map_err(|_| no_runtime())?;
        let bus = bus.upgrade().ok_or_else(bus_closed)?;
        let driver = bus.driver()?;
        Ok(Self { runtime, bus, driver })
    }
}

#[derive(Default)]
struct Open {
    closed: bool,
    publishers: Vec<Arc<PublisherCore>>,
    subscriptions: Vec<Arc<SubscriptionCore>>,
    /// Groups and topics that subscriptions are opening or open for.
    claims: Vec<Arc<Place>>,
}

impl Bus {
    /// A bus over this driver.
    pub fn new(driver: Arc<dyn Driver>) -> Self {
        Self(Arc::new(BusCore { driver, open: Mutex::default(), health: Mutex::default() }))
    }

    /// The backend underneath, for topics, groups and bounded reads.
    pub fn driver(&self) -> &Arc<dyn Driver> {
        &self.0.driver
    }

    /// Prepares a publisher on this topic; [`PublisherBuilder::open`] checks the name and opens it.
    pub fn publisher(&self, topic: &str) -> PublisherBuilder {
        PublisherBuilder::new(Arc::downgrade(&self.0), topic)
    }

    /// Prepares a subscription of this group to this topic; [`SubscriptionBuilder::handle`] checks the names and joins.
    pub fn subscribe(&self, topic: &str, group: &str) -> SubscriptionBuilder {
        SubscriptionBuilder::new(Arc::downgrade(&self.0), topic, group)
    }

    /// What this group has parked of this topic.
    ///
    /// # Errors
    /// `Invalid/…` for a bad name; `NotFound/Topic`; `NotFound/Parking` if the group has no parking topic; `Closed/Bus`.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn parked(&self, topic: &str, group: &str) -> Result<Parked> {
        let (topic, group) = (TopicName::new(topic)?, GroupName::new(group)?);
        let driver = self.0.driver()?;
        let topic = driver.topic(&topic).await?;
        Parked::open(driver, topic, group).await
    }

    /// Deletes a topic with its records, the offsets of its groups and their parking topics; gives what each had parked.
    ///
    /// # Errors
    /// `NotFound/Topic`; `Unavailable/ParkedRecords` while a group has records parked, unless they may go;
    /// `Unavailable/GroupActive` while a group with members reads it, or a replay runs; `Closed/Bus`.
    ///
    /// # Cancel safety
    /// A part may be deleted; calling it again finishes what was broken off.
    pub async fn delete_topic(&self, topic: &str, deletion: Deletion) -> Result<Vec<ParkedCount>> {
        let (topic, driver) = (TopicName::new(topic)?, self.0.driver()?);
        delete_topic(&driver, &topic, deletion).await
    }

    /// Forgets a group on a topic: its offsets and its parking topic; gives what it had parked. A group of that name begins
    /// anew.
    ///
    /// # Errors
    /// `NotFound/Topic`, `NotFound/Group`; `Unavailable/ParkedRecords` while it has records parked, unless they may go;
    /// `Unavailable/GroupActive` with the names of its members, or of its replays; `Unsupported/Groups`; `Closed/Bus`.
    ///
    /// # Cancel safety
    /// A part may be forgotten; calling it again finishes what was broken off.
    pub async fn delete_group(&self, group: &str, topic: &str, deletion: Deletion) -> Result<Vec<ParkedCount>> {
        let (group, topic, driver) = (GroupName::new(group)?, TopicName::new(topic)?, self.0.driver()?);
        delete_group(&driver, &topic, &group, deletion).await
    }

    /// Looks at how the bus is, by acks and commits that moved since the looks before; asks the backend for a sign of life
    /// and for what its groups have lost.
    ///
    /// Call it regularly, such as every 10 s: a first look knows only what is in trouble already. A publisher stands still
    /// if envelopes wait and none was acked for 5 s, a subscription if records wait and none was committed for 5 s beyond
    /// its handler timeout. Waits for the backend for at most 2 s. A closed bus is down.
    ///
    /// # Cancel safety
    /// A look that is dropped has not been made.
    ///
    /// # Source
    /// Promises B1 and T3.
    pub async fn health(&self) -> Health {
        let facts = match self.0.at_work() {
            Ok((publishers, subscriptions)) => gather(&*self.0.driver, &publishers, &subscriptions).await,
            Err(closed) => Facts { silence: Some(closed), ..Facts::default() },
        };
        let mut memory = self.0.health.lock().unwrap_or_else(PoisonError::into_inner);
        memory.judge(facts, Instant::now())
    }

    /// Closes all subscriptions and publishers and then the backend; gives what each publisher ended with.
    ///
    /// Returns by about the deadline, which all share. Idempotent; a later call finds nothing left to close.
    ///
    /// # Errors
    /// What the driver could not end, `Timeout/CloseDeadline` among it; `Invalid/CloseInHandler` at once, if a handler of
    /// one of its subscriptions calls it: it would wait for itself. `Invalid/NoRuntime` outside a runtime.
    ///
    /// # Cancel safety
    /// The bus stays closed to what is new; a further call ends the rest.
    ///
    /// # Source
    /// Promises P9 and C13.
    pub async fn close(&self, deadline: Duration) -> Result<Vec<Closed>> {
        Handle::try_current().map_err(|_| no_runtime().at("close bus", self.0.driver.capabilities().backend))?;
        if self.0.lock().subscriptions.iter().any(|subscription| subscription.is_in_handler()) {
            return Err(close_in_handler().at("close bus", self.0.driver.capabilities().backend));
        }
        let end = Instant::now().checked_add(deadline).unwrap_or_else(|| Instant::now() + CLOSE_MAX);
        let (subscriptions, publishers) = self.0.close_to_new();
        let left = move || end.saturating_duration_since(Instant::now());
        // Handlers that are still running may publish, so subscriptions end first. All of a kind end at once, so that a
        // stuck one takes no time from the others.
        let mut ending: JoinSet<()> = JoinSet::new();
        for subscription in subscriptions {
            ending.spawn(async move { drop(subscription.close(left()).await) });
        }
        ending.join_all().await;
        let mut ending = JoinSet::new();
        for publisher in publishers {
            publisher.refuse_further();
            ending.spawn(async move { publisher.close(left()).await });
        }
        let ends = ending.join_all().await;
        self.0.forget_closed();
        let end = end.max(Instant::now() + DRIVER_CLOSE_MIN);
        match timeout_at(end, self.0.driver.close(end)).await {
            Ok(closed) => closed.map(|()| ends),
            Err(_) => Err(Error::new(ErrorKind::Timeout, "CloseDeadline")
                .cause("the driver did not end in time")
                .next("close with a longer deadline")
                .at("close bus", self.0.driver.capabilities().backend)),
        }
    }
}

/// What stands for a deadline that is no instant any more.
const CLOSE_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Time the driver has to end even if the publishers have used the deadline up.
const DRIVER_CLOSE_MIN: Duration = Duration::from_millis(50);

/// Publishers and subscriptions that are open.
type AtWork = (Vec<Arc<PublisherCore>>, Vec<Arc<SubscriptionCore>>);

impl BusCore {
    pub(crate) fn driver(&self) -> Result<Arc<dyn Driver>> {
        if self.lock().closed { Err(bus_closed()) } else { Ok(Arc::clone(&self.driver)) }
    }

    /// What is open and has not ended.
    fn at_work(&self) -> Result<AtWork> {
        let open = self.lock();
        if open.closed {
            return Err(bus_closed());
        }
        let publishers = open.publishers.iter().filter(|known| !known.has_ended()).cloned().collect();
        let subscriptions = open.subscriptions.iter().filter(|known| !known.has_ended()).cloned().collect();
        Ok((publishers, subscriptions))
    }

    /// Remembers a publisher, and forgets those that were closed by themselves; gives whether the bus is still open.
    pub(crate) fn register(&self, publisher: &Publisher) -> bool {
        let mut open = self.lock();
        open.publishers.retain(|known| !known.has_ended());
        if !open.closed {
            open.publishers.push(publisher.shared());
        }
        !open.closed
    }

    /// Remembers a subscription, and forgets those that were closed by themselves; gives whether the bus is still open.
    pub(crate) fn register_subscription(&self, subscription: &Subscription) -> bool {
        let mut open = self.lock();
        open.subscriptions.retain(|known| !known.has_ended());
        // Also of a closed bus: then a second close ends it.
        open.subscriptions.push(subscription.shared());
        !open.closed
    }

    /// Keeps a group and topic for one subscription of this bus, until the claim is dropped.
    ///
    /// # Errors
    /// `AlreadyExists/Subscription` unless `is_another` member is wanted.
    pub(crate) fn claim(bus: &Arc<Self>, place: &Arc<Place>, is_another: bool) -> Result<Claim> {
        let mut open = bus.lock();
        if !is_another && open.claims.iter().any(|known| known == place) {
            return Err(Error::new(ErrorKind::AlreadyExists, "Subscription")
                .cause("this bus has a subscription of this group to this topic")
                .next("raise its concurrency, close it first, or ask for another member"));
        }
        open.claims.push(Arc::clone(place));
        Ok(Claim { bus: Arc::downgrade(bus), place: Arc::clone(place) })
    }

    fn close_to_new(&self) -> (Vec<Arc<SubscriptionCore>>, Vec<Arc<PublisherCore>>) {
        let mut open = self.lock();
        open.closed = true;
        // They stay in the list, so that a close that was dropped in the middle can be called again.
        (open.subscriptions.clone(), open.publishers.clone())
    }

    fn forget_closed(&self) {
        let mut open = self.lock();
        open.subscriptions.clear();
        open.publishers.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group and topic kept for one subscription.
pub(crate) struct Claim {
    bus: Weak<BusCore>,
    place: Arc<Place>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(bus) = self.bus.upgrade() {
            bus.lock().claims.retain(|known| !Arc::ptr_eq(known, &self.place));
        }
    }
}

/// The error of a call on a bus that is closed.
pub fn bus_closed() -> Error {
    Error::new(ErrorKind::Closed, "Bus").cause("the bus is closed").next("connect again")
}

/// The error of a call in a child of the process that opened the bus: threads and locks of the bus stayed with the parent.
pub fn forked_process() -> Error {
    Error::new(ErrorKind::Closed, "ForkedProcess")
        .cause("the bus was opened before this process was forked")
        .next("connect again in the child")
}

/// The error of a call that needs a runtime, outside of one.
pub fn no_runtime() -> Error {
    Error::invalid("NoRuntime").cause("there is no tokio runtime here").next("call this inside a tokio runtime")
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bus").field(&self.0.driver).finish()
    }
}

impl fmt::Debug for BusCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BusCore").field(&self.driver).finish()
    }
}
