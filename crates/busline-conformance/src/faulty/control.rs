//! What a test can order a faulty driver to do.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use busline_core::TopicName;
use tokio::sync::Notify;

use super::life::{Life, Moment, Side};
use super::sink::Queue;
use super::source::{CommitFate, Commits, Watch};

/// Limits that a faulty driver offers instead of those of the driver underneath; `None` keeps them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Most batches that may be unsettled at once. The driver underneath never sees more than it offered.
    pub batches_in_flight_max: Option<usize>,
    /// Most records of a batch, if the driver underneath takes as many.
    pub batch_records_max: Option<usize>,
}

impl Shape {
    /// One batch in flight, so that what is accepted meanwhile waits in the publisher.
    pub fn one_at_a_time() -> Self {
        Self { batches_in_flight_max: Some(1), batch_records_max: None }
    }
}

/// The remote control of a [`Faulty`](super::Faulty) driver; it speaks to all sinks of that driver.
///
/// A batch that reaches a sink waits while [`hold`](Faults::hold) is in force, then meets the next fate that was
/// ordered, in order of arrival; without one it is passed on.
#[derive(Clone)]
pub struct Faults(Arc<Control>);

pub(super) struct Control {
    pub(super) shape: Shape,
    pub(super) commits: Arc<Commits>,
    pub(super) life: Arc<Life>,
    orders: Mutex<Orders>,
    /// Wakes tests that wait for something to be held, stalled or closed.
    changed: Notify,
    door: Condvar,
}

#[derive(Default)]
struct Orders {
    holding: bool,
    /// Held batches that may go on nevertheless.
    allowance: usize,
    fates: VecDeque<Fate>,
    deaf: bool,
    panic: Option<Side>,
    door: Door,
    /// A topic that is trimmed to its last record once it was read.
    trimmed_behind: Option<TopicName>,
    queues: Vec<Weak<Queue>>,
    sinks_open: usize,
    taken: u64,
}

/// The door through which the next batch comes into the sink.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Door {
    #[default]
    Open,
    Shut,
    SomebodyWaits,
}

/// What happens to one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// The driver underneath gets it and answers.
    Pass,
    /// Refused: certainly not stored.
    Fail,
    /// Stored, but the answer is lost: for records of this key, or for all.
    Swallow(Option<String>),
    /// Dropped without an answer, and not stored.
    Forget,
}

impl Faults {
    pub(super) fn new(shape: Shape) -> (Self, Arc<Control>) {
        let control = Arc::new(Control {
            shape,
            commits: Arc::default(),
            life: Arc::default(),
            orders: Mutex::default(),
            changed: Notify::new(),
            door: Condvar::new(),
        });
        (Self(Arc::clone(&control)), control)
    }

    /// Keeps batches from now on.
    pub fn hold(&self) {
        self.0.orders().holding = true;
    }

    /// Lets everything go that is held, and keeps nothing more.
    pub fn release(&self) {
        let mut orders = self.0.orders();
        orders.holding = false;
        orders.allowance = 0;
        drop(orders);
        self.0.pump();
    }

    /// Lets the oldest `batches` go that are held, and goes on holding.
    pub fn release_next(&self, batches: usize) {
        self.0.orders().allowance += batches;
        self.0.pump();
    }

    /// Refuses the next batches: they are definitely failed and never handed over.
    pub fn fail_next(&self, batches: usize) {
        self.order(Fate::Fail, batches);
    }

    /// Loses the answers to the next batches: they are handed over and reported as indeterminate.
    pub fn swallow_next(&self, batches: usize) {
        self.order(Fate::Swallow(None), batches);
    }

    /// Loses the answers to records of this key in the next batch, which is handed over whole.
    pub fn swallow_key(&self, key: &str) {
        self.order(Fate::Swallow(Some(key.into())), 1);
    }

    /// Drops the next batches without an answer, as a defective driver would.
    pub fn forget_next(&self, batches: usize) {
        self.order(Fate::Forget, batches);
    }

    /// Makes the sink that takes the next batch panic, as a defective driver would: before it has taken the batch, which is
    /// dropped then, or after it.
    pub(crate) fn panic_at_next(&self, side: Side) {
        self.0.orders().panic = Some(side);
    }

    /// Lets the next batches pass; for a fate behind them.
    pub fn pass_next(&self, batches: usize) {
        self.order(Fate::Pass, batches);
    }

    /// Takes back every fate that no batch has met.
    pub fn forgive(&self) {
        self.0.orders().fates.clear();
    }

    /// Makes sinks ignore their close: it neither settles what is held nor returns, until [`hear`](Faults::hear).
    pub fn turn_deaf(&self) {
        self.0.orders().deaf = true;
    }

    /// Ends [`turn_deaf`](Faults::turn_deaf).
    pub fn hear(&self) {
        self.0.orders().deaf = false;
        self.0.changed();
    }

    /// Stops the next batch on the publisher's own thread, just before the sink takes it.
    pub fn shut_door(&self) {
        self.0.orders().door = Door::Shut;
    }

    /// Waits until a batch stands before the shut door.
    pub async fn somebody_waits(&self) {
        self.0.until(|orders| orders.door == Door::SomebodyWaits).await;
    }

    /// Lets the batch before the door in.
    pub fn open_door(&self) {
        self.0.orders().door = Door::Open;
        self.0.door.notify_all();
    }

    /// Batches that are held.
    pub fn held(&self) -> usize {
        self.0.queues().iter().map(|queue| queue.waiting()).sum()
    }

    /// Waits until at least `batches` are held.
    pub async fn held_at_least(&self, batches: usize) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.held() >= batches {
                return;
            }
            changed.await;
        }
    }

    /// Sinks that were opened and not closed.
    pub fn sinks_open(&self) -> usize {
        self.0.orders().sinks_open
    }

    /// Sinks that are there and were never told to close.
    pub fn sinks_untold(&self) -> usize {
        let queues: Vec<Arc<Queue>> = self.0.orders().queues.iter().filter_map(Weak::upgrade).collect();
        queues.iter().filter(|queue| !queue.is_closed()).count()
    }

    /// Batches that sinks have taken since the driver was opened.
    pub fn batches(&self) -> u64 {
        self.0.orders().taken
    }

    /// Loses the answers to the next commits of sources: they are stored, and reported as not known to be.
    pub fn lose_commits(&self, calls: usize) {
        self.0.commits.order(CommitFate::Lose, calls);
    }

    /// Drops the next commits of sources, and reports them as not known to be stored.
    pub fn refuse_commits(&self, calls: usize) {
        self.0.commits.order(CommitFate::Refuse, calls);
    }

    /// Takes back every order about commits that none has met.
    pub fn forgive_commits(&self) {
        self.0.commits.forgive();
    }

    /// Makes every record of this key undecodable, as another client could have written it.
    pub fn spoil_key(&self, key: &str) {
        self.0.commits.spoil(key);
    }

    /// Lets the process behind this driver die at this moment.
    pub(crate) fn die_at(&self, moment: Moment) {
        self.0.life.end_at(moment);
    }

    /// Waits for its death.
    pub(crate) async fn died(&self) {
        self.0.life.died().await;
    }

    /// A step that the test itself takes in that process; never comes back from its death.
    pub(crate) async fn pass(&self, step: &str, side: Side) {
        self.0.life.pass(step, side).await;
    }

    /// Trims each partition of a topic to its last record as soon as something of it was read, once.
    pub(crate) fn trim_behind_next_read(&self, topic: &TopicName) {
        self.0.orders().trimmed_behind = Some(topic.clone());
    }

    /// Tells everything that sources opened from now on give and take.
    pub(crate) fn watch_sources(&self, watch: Arc<dyn Watch>) {
        self.0.commits.watch(watch);
    }

    fn order(&self, fate: Fate, batches: usize) {
        self.0.orders().fates.extend(std::iter::repeat_n(fate, batches));
    }
}

impl Control {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this topic is to be trimmed now that it was read.
    pub(super) fn trims_behind(&self, topic: &TopicName) -> bool {
        self.orders().trimmed_behind.take_if(|wanted| wanted == topic).is_some()
    }

    pub(super) fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// The fate of the next batch, or `None` while it is held.
    pub(super) fn next_fate(&self) -> Option<Fate> {
        let mut orders = self.orders();
        if orders.holding {
            orders.allowance = orders.allowance.checked_sub(1)?;
        }
        Some(orders.fates.pop_front().unwrap_or(Fate::Pass))
    }

    /// Waits on this thread while the door is shut.
    pub(super) fn enter(&self) {
        let mut orders = self.orders();
        orders.taken += 1;
        if orders.door == Door::Shut {
            orders.door = Door::SomebodyWaits;
            self.changed();
            let opened = self.door.wait_while(orders, |orders| orders.door == Door::SomebodyWaits);
            drop(opened);
        }
    }

    /// Panics if that was ordered for this side of taking a batch.
    pub(super) fn keep_calm(&self, side: Side) {
        let panics = self.orders().panic.take_if(|ordered| *ordered == side).is_some();
        assert!(!panics, "the test lets this sink panic");
    }

    pub(super) fn sink_opened(&self, queue: &Arc<Queue>) {
        let mut orders = self.orders();
        orders.sinks_open += 1;
        orders.queues.retain(|known| known.strong_count() > 0);
        orders.queues.push(Arc::downgrade(queue));
    }

    pub(super) fn sink_closed(&self) {
        self.orders().sinks_open -= 1;
        self.changed();
    }

    pub(super) async fn until_it_hears(&self) {
        self.until(|orders| !orders.deaf).await;
    }

    async fn until(&self, holds: impl Fn(&Orders) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds(&self.orders()) {
                return;
            }
            changed.await;
        }
    }

    fn queues(&self) -> Vec<Arc<Queue>> {
        self.orders().queues.iter().filter_map(Weak::upgrade).collect()
    }

    fn pump(&self) {
        for queue in self.queues() {
            queue.pump();
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("held", &self.held()).field("sinks_open", &self.sinks_open()).finish()
    }
}
