//! Whether handlers got every planned envelope once, and each aggregate's in order.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::workload::Workload;

/// What arrived at handlers. Unit: envelopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Different planned envelopes.
    pub(crate) delivered: u64,
    /// Planned ones that did not come.
    pub(crate) missing: u64,
    /// Ones that had come before.
    pub(crate) duplicates: u64,
    /// First deliveries behind a later one of their aggregate.
    pub(crate) order_violations: u64,
    /// Ones that nobody planned.
    pub(crate) foreign: u64,
}

/// Takes arrivals one by one, from many handlers at once.
///
/// What comes in order costs one look and one store in a place of its aggregate; only what does not takes a lock.
#[derive(Debug)]
pub(crate) struct Arrivals {
    aggregates: Vec<Aggregate>,
    /// Of each topic the aggregates whose last version has not come.
    open: Vec<AtomicUsize>,
    /// Topics that have such aggregates.
    open_topics: AtomicUsize,
    odd: Mutex<Odd>,
}

/// What ends with an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// More is to come of its topic, or it was none of the planned ones.
    Nothing,
    /// Its topic: the last version of each of its aggregates has come.
    Topic,
    /// The last topic, and so everything.
    All,
}

#[derive(Debug)]
struct Aggregate {
    /// The highest version that has come.
    highest: AtomicU64,
    planned: u64,
}

#[derive(Debug, Default)]
struct Odd {
    /// Versions below the highest of their aggregate that have not come.
    skipped: HashSet<(usize, u64)>,
    duplicates: u64,
    order_violations: u64,
    foreign: u64,
}

impl Arrivals {
    pub(crate) fn new(workload: &Workload) -> Self {
        Self::behind(workload, 0)
    }

    /// Those of the aggregates from this number on.
    pub(crate) fn behind(workload: &Workload, first: usize) -> Self {
        let planned = |number| if number < first { 0 } else { workload.versions_of(number) };
        let aggregate = |number| Aggregate { highest: AtomicU64::new(0), planned: planned(number) };
        let aggregates: Vec<Aggregate> = (0..workload.aggregates).map(aggregate).collect();
        let mut open = vec![0; workload.topics];
        for (number, _) in aggregates.iter().enumerate().filter(|(_, aggregate)| aggregate.planned > 0) {
            open[workload.topic_of(number)] += 1;
        }
        let open_topics = AtomicUsize::new(open.iter().filter(|count| **count > 0).count());
        let open = open.into_iter().map(AtomicUsize::new).collect();
        Self { aggregates, open, open_topics, odd: Mutex::default() }
    }

    /// The topic of this aggregate.
    pub(crate) fn topic_of(&self, number: usize) -> usize {
        number % self.open.len()
    }

    /// Notes an arrival of this aggregate.
    pub(crate) fn arrive(&self, number: usize, version: u64) -> Ends {
        let planned = self.aggregates.get(number).filter(|it| (1..=it.planned).contains(&version));
        let Some(aggregate) = planned else {
            self.foreign();
            return Ends::Nothing;
        };
        let highest = aggregate.highest.load(Ordering::Acquire);
        if version <= highest {
            self.odd().come_late(number, version);
            return Ends::Nothing;
        }
        if version > highest + 1 {
            self.odd().skipped.extend((highest + 1..version).map(|skipped| (number, skipped)));
        }
        aggregate.highest.store(version, Ordering::Release);
        match version == aggregate.planned && self.open[self.topic_of(number)].fetch_sub(1, Ordering::AcqRel) == 1 {
            false => Ends::Nothing,
            true if self.open_topics.fetch_sub(1, Ordering::AcqRel) == 1 => Ends::All,
            true => Ends::Topic,
        }
    }

    /// Notes the arrival of something that nobody planned.
    pub(crate) fn foreign(&self) {
        self.odd().foreign += 1;
    }

    pub(crate) fn arrived(&self) -> Arrived {
        let odd = self.odd();
        let sum = |of: fn(&Aggregate) -> u64| self.aggregates.iter().map(of).sum::<u64>();
        let delivered = sum(|it| it.highest.load(Ordering::Acquire)) - odd.skipped.len() as u64;
        Arrived {
            delivered,
            missing: sum(|it| it.planned) - delivered,
            duplicates: odd.duplicates,
            order_violations: odd.order_violations,
            foreign: odd.foreign,
        }
    }

    fn odd(&self) -> MutexGuard<'_, Odd> {
        self.odd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Odd {
    fn come_late(&mut self, number: usize, version: u64) {
        if self.skipped.remove(&(number, version)) {
            self.order_violations += 1;
        } else {
            self.duplicates += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Event, Level, Mode, Shape};

    fn arrived(change: impl Fn(&mut Vec<Event>)) -> (Arrived, bool) {
        let shape = Shape { payload_bytes: None, window_envelopes: 8, senders: None, topics: 2 };
        let workload = Workload::of_size(Level::Low, Mode::Async, 200, &shape).expect("legal");
        let mut events: Vec<Event> = workload.events().collect();
        change(&mut events);
        let arrivals = Arrivals::new(&workload);
        let arrive = |event: &Event| arrivals.arrive(event.aggregate, event.version);
        let ends: Vec<Ends> = events.iter().map(arrive).collect();
        let ended = |what| ends.iter().filter(|end| **end == what).count();
        assert!(ended(Ends::Topic) <= 1, "of two topics one ends first");
        (arrivals.arrived(), ended(Ends::All) == 1)
    }

    #[test]
    fn all_in_order_is_perfect_and_ends_once() {
        let (found, ended) = arrived(|_| {});
        assert_eq!((found, ended), (Arrived { delivered: 200, ..Arrived::default() }, true));
    }

    #[test]
    fn other_aggregates_may_come_in_any_order() {
        let (found, ended) = arrived(|events| events.sort_by_key(|event| (event.aggregate, event.version)));
        assert_eq!((found, ended), (Arrived { delivered: 200, ..Arrived::default() }, true));
    }

    #[test]
    fn one_that_does_not_come_is_missing() {
        let (found, ended) = arrived(|events| {
            events.remove(60);
        });
        assert_eq!((found, ended), (Arrived { delivered: 199, missing: 1, ..Arrived::default() }, true));
        let (found, ended) = arrived(|events| {
            events.pop();
        });
        assert_eq!((found, ended), (Arrived { delivered: 199, missing: 1, ..Arrived::default() }, false));
    }

    #[test]
    fn one_that_comes_again_is_a_duplicate() {
        let (found, _) = arrived(|events| events.insert(100, events[3]));
        assert_eq!(found, Arrived { delivered: 200, duplicates: 1, ..Arrived::default() });
    }

    #[test]
    fn swapped_versions_break_the_order() {
        let (found, _) = arrived(|events| {
            let same: Vec<usize> = (0..200).filter(|place| events[*place].aggregate == 7).collect();
            events.swap(same[0], same[2]);
        });
        assert_eq!(found, Arrived { delivered: 200, order_violations: 2, ..Arrived::default() });
    }

    #[test]
    fn what_nobody_planned_is_foreign() {
        let (found, _) = arrived(|events| events.push(Event { aggregate: 3, version: 99 }));
        assert_eq!(found, Arrived { delivered: 200, foreign: 1, ..Arrived::default() });
    }
}
