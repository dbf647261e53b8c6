//! Two readings of one parking partition: one at its end, that knows what is open, and one behind it that meets records in
//! the order in which they were parked.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::entry::{Diagnosis, ParkedScope, Token, error_of, parked_record};
use super::filter::ParkedFilter;
use super::keep::read_page;
use super::log::{Applied, LogState};
use crate::driver::Driver;
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
        let mut is_new = false;
        loop {
            let page = read_page(&*self.driver, &self.topic, self.partition, self.head_next).await?;
            let Some(last) = page.last() else { return Ok(is_new) };
            is_new = true;
            self.head_next = last.offset.next();
            for record in &page {
                if let Applied::Replayer(token) = self.head.apply(record) {
                    self.has_begun |= self.own == Some(token);
                }
            }
        }
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
                return Ok(Some((id, ParkedRecord { record, scope, diagnosis, replay_error: None })));
            }
        }
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

    /// Errors of failed replays, by queue, of what is still open.
    pub(crate) async fn replay_errors(&self) -> Result<HashMap<QueueId, String>> {
        let mut errors = HashMap::new();
        let (mut next, mut state) = (Offset(0), LogState::new(self.head.incarnation()));
        loop {
            let page = read_page(&*self.driver, &self.topic, self.partition, next).await?;
            let Some(last) = page.last() else { return Ok(errors) };
            next = last.offset.next();
            for record in &page {
                if let Applied::Failed(scope, offset) = state.apply(record)
                    && self.head.is_open(&record.key, scope, offset)
                    && let Some(error) = error_of(&record.headers)
                {
                    errors.insert(QueueId::of(scope, &record.key, offset), error);
                }
            }
        }
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
