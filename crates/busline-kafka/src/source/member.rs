//! What the subscription sees of a member.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use busline_core::{
    BoxFuture, Commit, Error, ErrorKind, Offset, Partition, Result, Source, SourceEvent, SourceRequest, Start, Term,
    Until, not_owner, partition_not_found, source_closed,
};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use super::agreement::Agreement;
use super::ahead::Ahead;
use super::bell::Bell;
use super::poller;
use crate::clients::Clients;
use crate::{groups, identity, topics};

/// The reading end of a topic.
pub(crate) struct KafkaSource {
    pub(super) shared: Arc<Shared>,
}

/// What the subscription's tasks and the member's thread share.
pub(super) struct Shared {
    pub(super) request: SourceRequest,
    pub(super) clients: Arc<Clients>,
    pub(super) bell: Arc<Bell>,
    pub(super) agreement: Agreement,
    state: Mutex<State>,
    /// Until when what is held may be worked on, as the state has it: asked before each attempt, by every worker.
    until: Until,
    ready: Notify,
    closing: AtomicBool,
    ended: AtomicBool,
    end: Notify,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) ahead: Ahead,
    pub(super) orders: Vec<Order>,
    /// Why nothing more comes.
    pub(super) over: Option<Error>,
    pub(super) trouble: Option<Error>,
    /// When the newest commit was sent that the group has answered.
    pub(super) alive: Option<Instant>,
}

/// What the member's thread is to do.
pub(super) enum Order {
    Commit(Vec<Commit>, oneshot::Sender<Vec<Result<()>>>),
    Seek { partition: Partition, generation: u64, offset: Offset, answer: oneshot::Sender<Result<()>> },
    Release(Vec<(Partition, u64)>, oneshot::Sender<()>),
}

impl KafkaSource {
    /// Joins the group. Partitions come as events.
    pub(crate) fn join(clients: &Arc<Clients>, request: SourceRequest) -> Result<Self> {
        let name = &request.topic.name;
        let described = topics::describe(clients, name)?;
        if described.id != request.topic.incarnation {
            return Err(identity::replaced().at("subscribe", name));
        }
        if let Start::Offsets(offsets) = &request.start
            && let Some((missing, _)) = offsets.iter().find(|(partition, _)| partition.0 >= described.partitions)
        {
            return Err(partition_not_found(name, *missing));
        }
        let agreement = Agreement::find(clients, &request);
        let shared = Arc::new(Shared::new(clients, request, agreement));
        poller::start(&shared)?;
        // From here on the end of the source ends the member.
        let source = Self { shared };
        source.wait_until_listed()?;
        Ok(source)
    }

    /// Waits until the group lists the member, so that whoever asks for its members after subscribing finds it.
    fn wait_until_listed(&self) -> Result<()> {
        let Shared { request, clients, .. } = &*self.shared;
        let is_listed = || match groups::member_names(clients, &request.group, &request.topic.name) {
            Ok(names) => Ok(names.contains(&request.member)),
            // Whoever may read with a group need not be allowed to list it.
            Err(error) if error.kind() == ErrorKind::Denied => Ok(true),
            Err(error) => Err(error),
        };
        if clients.await_that(is_listed)? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, "NoAnswer")
            .cause("the group has not taken the member in time")
            .next("check that the brokers run")
            .at("subscribe", &request.topic.name))
    }

    /// Gives the thread an order; its answer, or the error of a member that has ended.
    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        if !self.shared.order(order(answer)) {
            return Err(source_closed());
        }
        answered.await.map_err(|_| source_closed())
    }
}

impl Shared {
    pub(super) fn new(clients: &Arc<Clients>, request: SourceRequest, agreement: Agreement) -> Self {
        Self {
            agreement,
            request,
            clients: Arc::clone(clients),
            bell: Arc::default(),
            state: Mutex::default(),
            until: Until::default(),
            ready: Notify::new(),
            closing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            end: Notify::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is held or read, and wakes whoever waits for that.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state);
        self.note_until(&state);
        drop(state);
        self.ready.notify_one();
        changed
    }

    fn note_until(&self, state: &State) {
        // An answer that came after a loss is good for what is taken from then on, not for what was held before.
        self.until.set(match state.alive {
            None => Term::None,
            Some(_) if state.ahead.has_untold_loss() => Term::Over,
            Some(alive) => Term::At(alive + self.agreement.silence_max()),
        });
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.bell.ring();
        self.ready.notify_one();
    }

    /// The thread has ended: the group is left, and nobody answers orders any more.
    pub(super) fn end(&self) {
        let mut state = self.state();
        self.ended.store(true, Ordering::Release);
        state.orders.clear();
        drop(state);
        self.ready.notify_one();
        self.end.notify_waiters();
    }

    /// Gives the thread an order, unless it has ended.
    fn order(&self, order: Order) -> bool {
        let mut state = self.state();
        if self.ended.load(Ordering::Acquire) {
            return false;
        }
        state.orders.push(order);
        drop(state);
        self.bell.ring();
        true
    }

    fn take(&self, records_max: usize, bytes_max: usize) -> Result<Option<SourceEvent>> {
        let mut state = self.state();
        if self.is_closing() {
            return Err(source_closed());
        }
        let event = state.ahead.take(records_max, bytes_max);
        // A loss may be taken in now.
        self.note_until(&state);
        if event.is_none()
            && let Some(over) = &state.over
        {
            return Err(over.clone());
        }
        drop(state);
        if matches!(event, Some(SourceEvent::Records { .. })) {
            // There is room again.
            self.bell.ring();
        }
        Ok(event)
    }

    fn set_paused(&self, partitions: &[(Partition, u64)], is_paused: bool) {
        self.change(|state| state.ahead.set_paused(partitions, is_paused));
        self.bell.ring();
    }
}

impl Source for KafkaSource {
    fn next(&self, records_max: usize, bytes_max: usize) -> BoxFuture<'_, Result<SourceEvent>> {
        Box::pin(async move {
            loop {
                let ready = self.shared.ready.notified();
                if let Some(event) = self.shared.take(records_max, bytes_max)? {
                    return Ok(event);
                }
                ready.await;
            }
        })
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'_, Vec<Result<()>>> {
        let count = commits.len();
        Box::pin(async move {
            match self.order(|answer| Order::Commit(commits, answer)).await {
                Ok(outcomes) => outcomes,
                Err(error) => vec![Err(error); count],
            }
        })
    }

    fn pause(&self, partitions: &[(Partition, u64)]) {
        self.shared.set_paused(partitions, true);
    }

    fn resume(&self, partitions: &[(Partition, u64)]) {
        self.shared.set_paused(partitions, false);
    }

    fn seek(&self, partition: Partition, generation: u64, offset: Offset) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.order(|answer| Order::Seek { partition, generation, offset, answer })
                .await
                .unwrap_or_else(|_| Err(not_owner(partition)))
        })
    }

    fn holds_until(&self) -> Option<Instant> {
        self.shared.until.holds_until()
    }

    fn release(&self, partitions: Vec<(Partition, u64)>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.order(|answer| Order::Release(partitions, answer)).await })
    }

    fn trouble(&self) -> Option<Error> {
        let state = self.shared.state();
        state.over.clone().or_else(|| state.trouble.clone())
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.shared.close();
        Box::pin(async move {
            loop {
                let mut end = std::pin::pin!(self.shared.end.notified());
                end.as_mut().enable();
                if self.shared.ended.load(Ordering::Acquire) {
                    return Ok(());
                }
                if timeout_at(deadline, end).await.is_err() {
                    return Err(Error::new(ErrorKind::Timeout, "Close")
                        .cause("the group has not answered by the deadline")
                        .next("nothing: the member ends by itself")
                        .at("leave the group", &self.shared.request.group));
                }
            }
        })
    }
}

impl Drop for KafkaSource {
    /// A source that was dropped instead of closed leaves its group all the same, by its thread.
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource").field("topic", &self.shared.request.topic.name).finish_non_exhaustive()
    }
}
