//! What the committer does beside publishing, a bounded step at a time: limits of retention, what deleted topics left,
//! and giving free pages back.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use busline_core::{GroupName, Result, TopicName, warn_deleted};

use crate::group::Store;
use crate::queue::{Deletes, Queue};
use crate::retention::{self, Lost};

/// How far giving pages back is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vacuum {
    /// Nothing was deleted since it ended.
    Done,
    /// Something may have been deleted; it begins if that has left many free pages.
    Wanted,
    /// It goes on until none are left.
    Begun,
}

/// What is to be done, and when.
pub(crate) struct Upkeep {
    look_every: Duration,
    next_look: Instant,
    /// The limited topic that was looked at last, while a look goes on.
    looked_at: Option<i64>,
    /// Partitions that are over a limit.
    due: VecDeque<i64>,
    /// What groups have lost since it was last said.
    lost: BTreeMap<(TopicName, GroupName), u64>,
    sweeping: bool,
    vacuum: Vacuum,
    /// Sweeping or giving pages back was broken off: both begin again after the next look.
    broken_off: bool,
    /// The code of the error that was logged last: one that stays is logged once.
    logged: Option<String>,
    /// Before this, publishing has the thread: a step under load is followed by as much time for what waits.
    rest_until: Instant,
}

impl Upkeep {
    /// Looks at once, since the file may come from anywhere.
    pub(crate) fn new(look_every: Duration) -> Self {
        let now = Instant::now();
        Self {
            look_every,
            next_look: now,
            looked_at: None,
            due: VecDeque::new(),
            lost: BTreeMap::new(),
            sweeping: true,
            vacuum: Vacuum::Wanted,
            broken_off: false,
            logged: None,
            rest_until: now,
        }
    }

    /// How long the committer may wait for a job before there is a step to do.
    pub(crate) fn pause(&self) -> Duration {
        if self.has_begun() || self.sweeping || self.vacuum != Vacuum::Done {
            return Duration::ZERO;
        }
        self.next_look.saturating_duration_since(Instant::now())
    }

    /// A change was made, which may have deleted something.
    pub(crate) fn note_change(&mut self, deletes: Deletes) {
        if deletes == Deletes::Nothing {
            return;
        }
        self.sweeping = true;
        self.want_vacuum();
    }

    fn want_vacuum(&mut self) {
        if self.vacuum == Vacuum::Done {
            self.vacuum = Vacuum::Wanted;
        }
    }

    /// One step while nothing waits.
    pub(crate) fn step(&mut self, store: &mut Store, queue: &Queue) {
        let done = if self.is_looking() {
            self.retain(store, queue)
        } else if self.sweeping {
            store.sweep(queue).map(|more| {
                self.sweeping = more;
                self.want_vacuum();
            })
        } else {
            store.vacuum(queue, self.vacuum).map(|vacuum| self.vacuum = vacuum)
        };
        self.after(done);
    }

    /// One step of retention while jobs wait, if it is due: a topic under constant load is kept to its limits too.
    pub(crate) fn step_under_load(&mut self, store: &mut Store, queue: &Queue) {
        let start = Instant::now();
        if start < self.rest_until || !self.is_looking() {
            return;
        }
        let done = self.retain(store, queue);
        self.after(done);
        let end = Instant::now();
        self.rest_until = end + (end - start);
    }

    fn has_begun(&self) -> bool {
        self.looked_at.is_some() || !self.due.is_empty()
    }

    fn is_looking(&self) -> bool {
        self.has_begun() || self.next_look <= Instant::now()
    }

    /// Deletes a chunk of what is due, or looks at the next topic.
    fn retain(&mut self, store: &mut Store, queue: &Queue) -> Result<()> {
        let now = store.now();
        if let Some(id) = self.due.front().copied() {
            let chunk = store.tidy(queue, &move |connection| retention::enforce_chunk(connection, id, now))?;
            self.want_vacuum();
            self.note_lost(chunk.lost);
            if !chunk.more {
                self.due.pop_front();
            }
        } else {
            let after = self.looked_at.unwrap_or_default();
            match store.look(|connection| retention::look(connection, after, now))? {
                Some((topic, due)) => {
                    self.looked_at = Some(topic);
                    self.due.extend(due);
                }
                None => {
                    self.end_look();
                    self.resume();
                }
            }
        }
        if self.due.is_empty() {
            self.tell_lost();
        }
        Ok(())
    }

    fn end_look(&mut self) {
        self.looked_at = None;
        self.next_look = Instant::now() + self.look_every;
    }

    /// Leaves everything until the next look.
    pub(crate) fn break_off(&mut self) {
        self.tell_lost();
        self.due.clear();
        self.broken_off |= self.sweeping || self.vacuum != Vacuum::Done;
        self.sweeping = false;
        self.vacuum = Vacuum::Done;
        self.end_look();
    }

    /// Goes on with what was broken off.
    fn resume(&mut self) {
        if std::mem::take(&mut self.broken_off) {
            self.sweeping = true;
            self.want_vacuum();
        }
    }

    fn note_lost(&mut self, lost: Vec<Lost>) {
        for Lost { topic, group, records } in lost {
            *self.lost.entry((topic, group)).or_default() += records;
        }
    }

    fn tell_lost(&mut self) {
        for ((topic, group), records) in std::mem::take(&mut self.lost) {
            warn_deleted(&topic, &group, records);
        }
    }

    /// What could not be done is tried again after the next look.
    fn after(&mut self, done: Result<()>) {
        let Err(error) = done else { return };
        self.break_off();
        // A lock is another process's turn, and a bus that closes needs no upkeep.
        if !matches!(error.reason(), "Locked" | "Bus") && self.logged.replace(error.code()) != Some(error.code()) {
            tracing::warn!("delete old records: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use busline_core::{Partition, Retention, SystemClock, TopicSpec};

    use crate::config::SqliteConfig;
    use crate::connection::open_writer;
    use crate::topics;

    /// The store of a file whose one partition holds 10,000 records where 1 is allowed.
    fn over_its_limit(folder: &std::path::Path) -> Store {
        let config = SqliteConfig::new(folder.join("bus.db"));
        let connection = open_writer(&config).unwrap();
        let retention = Retention { records_max: Some(1), ..Retention::default() };
        topics::create(&connection, &name(), &TopicSpec { partitions: 1, retention, ..TopicSpec::default() }).unwrap();
        connection.execute_batch("UPDATE partitions SET end_offset = 10000").unwrap();
        let rows = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
                    INSERT INTO records SELECT (1 << 40) + i, 0, x'00', NULL, x'00', 0 FROM n";
        connection.execute_batch(rows).unwrap();
        Store::new(config, connection, None, Arc::new(SystemClock)).unwrap()
    }

    fn name() -> TopicName {
        "orders".parse().unwrap()
    }

    fn start(store: &Store) -> u64 {
        store.look(|connection| topics::partition(connection, &name(), Partition(0))).unwrap().1.start.0
    }

    #[test]
    fn a_step_is_made_under_load_and_followed_by_a_rest() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, queue) = (over_its_limit(folder.path()), Queue::default());
        let mut upkeep = Upkeep::new(Duration::from_secs(3_600));
        let (mut before, mut steps) = (0, 0);
        while start(&store) < 9_999 {
            upkeep.step_under_load(&mut store, &queue);
            let now = start(&store);
            assert!(now - before <= retention::CHUNK_RECORDS, "one step deletes one chunk");
            steps += u32::from(now > before);
            before = now;
        }
        assert_eq!(steps, 20);
        upkeep.rest_until = Instant::now() + Duration::from_secs(3_600);
        upkeep.step_under_load(&mut store, &queue);
        assert!(upkeep.looked_at.is_some(), "it rests, so the look has not gone on to its end");
    }
}
