//! Two readings of one parking partition: one at its end, that knows what is open, and one behind it that meets records in
//! the order in which they were parked.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::entry::{Diagnosis, ParkedScope, Token, error_of, parked_record};
use super::filter::ParkedFilter;
use super::log::{Applied, LogState};
use super::page::{read_page, was_trimmed};
use crate::driver::{Driver, ReadRequest};
use crate::error::Result;
use crate::record::Record;
use crate::topic::{Offset, Partition, TopicName};

/// What identifies a queue of parked records in a partition: a key, or a record that is parked alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum QueueId {
    Key(Box<[u8]>),
    Record(Offset),
}

impl QueueId {
    pub(crate) fn of(scope: ParkedScope, key: &[u8], offset: Offset) -> Self {
        match scope {
            ParkedScope::Key => Self::Key(key.into()),
            ParkedScope::Record => Self::Record(offset),
        }
    }
}

/// A parked record that waits.
#[derive(Debug, Clone)]
pub struct ParkedRecord {
    /// The record as it was: its own offset, key, headers and body; its time is when it was parked.
    pub record: Record,
    /// What was parked.
    pub scope: ParkedScope,
    /// Why and where.
    pub diagnosis: Diagnosis,
    /// The error of the last replay, if one has failed.
    pub replay_error: Option<String>,
}

pub(crate) struct Follower {
    driver: Arc<dyn Driver>,
    topic: TopicName,
    partition: Partition,
    pub(crate) head: LogState,
    head_next: Offset,
    behind: LogState,
    behind_next: Offset,
    page: std::vec::IntoIter<Record>,
    /// Of queues whose first record was replayed in vain: its offset, and where its `failed` stands in the log.
    failed: HashMap<QueueId, (Offset, Offset)>,
    own: Option<Token>,
    has_begun: bool,
}

impl Follower {
    pub(crate) fn new(driver: Arc<dyn Driver>, topic: TopicName, partition: Partition, incarnation: Uuid) -> Self {
        Self {
            driver,
            topic,
            partition,
            head: LogState::new(incarnation),
            head_next: Offset(0),
            behind: LogState::new(incarnation),
            behind_next: Offset(0),
            page: Vec::new().into_iter(),
            failed: HashMap::new(),
            own: None,
            has_begun: false,
        }
    }

    /// Notes when it meets the `replayer` of this token.
    pub(crate) fn expecting(self, token: Token) -> Self {
        Self { own: Some(token), ..self }
    }

    /// Whether it was met.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Reads to the end of the partition; gives whether there was anything.
    pub(crate) async fn catch_up(&mut self) -> Result<bool> {
        let (mut first, mut pages) = (None, 0);
        loop {
            let page = read_page(&*self.driver, &self.topic, self.partition, self.head_next).await?;
            let Some(last) = page.last() else { break };
            first = first.or(page.first().map(|record| record.offset));
            pages += 1;
            self.head_next = last.offset.next();
            page.iter().for_each(|record| self.meet(record));
        }
        if pages > 1 && was_trimmed(&*self.driver, &self.topic, self.partition, first).await? {
            self.begin_again();
            return Box::pin(self.catch_up()).await;
        }
        Ok(pages > 0)
    }

    fn meet(&mut self, record: &Record) {
        match self.head.apply(record) {
            Applied::Replayer(token) => self.has_begun |= self.own == Some(token),
            Applied::Failed(scope, offset) => {
                self.failed.insert(QueueId::of(scope, &record.key, offset), (offset, record.offset));
            }
            Applied::Done(scope, offset) if !self.failed.is_empty() => {
                self.failed.remove(&QueueId::of(scope, &record.key, offset));
            }
            _ => {}
        }
    }

    /// Forgets what was read.
    fn begin_again(&mut self) {
        let incarnation = self.head.incarnation();
        (self.head, self.behind) = (LogState::new(incarnation), LogState::new(incarnation));
        (self.head_next, self.behind_next) = (Offset(0), Offset(0));
        self.page = Vec::new().into_iter();
        self.failed.clear();
    }

    /// The next record in log order that is open, up to where the end was last seen.
    pub(crate) async fn next_open(&mut self) -> Result<Option<(QueueId, ParkedRecord)>> {
        loop {
            let Some(entry) = self.next_entry().await? else { return Ok(None) };
            let Applied::Parked(scope, offset) = self.behind.apply(&entry) else { continue };
            if !self.head.is_open(&entry.key, scope, offset) {
                continue;
            }
            if let Some((record, diagnosis)) = parked_record(&entry) {
                let id = QueueId::of(scope, &entry.key, offset);
                let replay_error = self.replay_error(&id, offset).await?;
                return Ok(Some((id, ParkedRecord { record, scope, diagnosis, replay_error })));
            }
        }
    }

    /// The first open record of the next queue in log order, and how many wait in it. Each queue is given once and then
    /// forgotten, so that what was given costs nothing more.
    pub(crate) async fn next_queue(&mut self) -> Result<Option<(u64, ParkedRecord)>> {
        loop {
            let Some(entry) = self.next_entry().await? else { return Ok(None) };
            let Some((scope, offset)) = self.behind.follow_owner(&entry) else { continue };
            let Some(records) = self.head.take_queue(&entry.key, scope, offset) else { continue };
            if let Some((record, diagnosis)) = parked_record(&entry) {
                let id = QueueId::of(scope, &entry.key, offset);
                let replay_error = self.replay_error(&id, offset).await?;
                self.failed.remove(&id);
                return Ok(Some((records, ParkedRecord { record, scope, diagnosis, replay_error })));
            }
        }
    }

    /// The error of the last replay of this record, if that failed: read again, since it may be long.
    async fn replay_error(&self, id: &QueueId, offset: Offset) -> Result<Option<String>> {
        let Some((_, place)) = self.failed.get(id).filter(|(failed, _)| *failed == offset) else { return Ok(None) };
        let (partition, from, to) = (self.partition, *place, place.next());
        let request = ReadRequest { partition, from, to, records_max: 1, bytes_max: usize::MAX };
        let entry = self.driver.read(&self.topic, request).await?.pop();
        Ok(entry.and_then(|entry| error_of(&entry.headers)))
    }

    async fn next_entry(&mut self) -> Result<Option<Record>> {
        if self.behind_next >= self.head_next {
            return Ok(None);
        }
        if self.page.len() == 0 {
            let page = read_page(&*self.driver, &self.topic, self.partition, self.behind_next).await?;
            self.page = page.into_iter();
        }
        let next = self.page.next();
        if let Some(record) = &next {
            self.behind_next = record.offset.next();
        }
        Ok(next)
    }
}

/// Which queues are wanted, decided by the first record of each.
#[derive(Debug)]
pub(crate) struct Selection {
    filter: ParkedFilter,
    decided: HashMap<QueueId, bool>,
}

impl Selection {
    pub(crate) fn new(filter: ParkedFilter) -> Self {
        Self { filter, decided: HashMap::new() }
    }

    pub(crate) fn wants(&mut self, id: &QueueId, record: &ParkedRecord) -> bool {
        if let Some(decided) = self.decided.get(id) {
            return *decided;
        }
        let wants = self.filter.matches(record);
        self.decided.insert(id.clone(), wants);
        wants
    }

    /// Nothing more of this queue.
    pub(crate) fn leave(&mut self, id: QueueId) {
        self.decided.insert(id, false);
    }
}
