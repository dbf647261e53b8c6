//! Whether handlers got every planned envelope once, and each aggregate's in order.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::workload::{Workload, aggregate_of};

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
    /// Aggregates whose last version has not come.
    open: AtomicUsize,
    odd: Mutex<Odd>,
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
        let open = aggregates.iter().filter(|aggregate| aggregate.planned > 0).count();
        Self { aggregates, open: AtomicUsize::new(open), odd: Mutex::default() }
    }

    /// Notes an arrival; gives whether the last version of every aggregate has come with it.
    pub(crate) fn arrive(&self, key: &str, version: u64) -> bool {
        let found = aggregate_of(key).and_then(|number| Some((number, self.aggregates.get(number)?)));
        let Some((number, aggregate)) = found.filter(|(_, it)| (1..=it.planned).contains(&version)) else {
            self.odd().foreign += 1;
            return false;
        };
        let highest = aggregate.highest.load(Ordering::Acquire);
        if version <= highest {
            self.odd().come_late(number, version);
            return false;
        }
        if version > highest + 1 {
            self.odd().skipped.extend((highest + 1..version).map(|skipped| (number, skipped)));
        }
        aggregate.highest.store(version, Ordering::Release);
        version == aggregate.planned && self.open.fetch_sub(1, Ordering::AcqRel) == 1
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
    use crate::workload::{Event, Level, Mode, Shape, key_of};

    fn arrived(change: impl Fn(&mut Vec<Event>)) -> (Arrived, bool) {
        let shape = Shape { payload_bytes: None, window_envelopes: 8, senders: None, topics: 2 };
        let workload = Workload::of_size(Level::Low, Mode::Async, 200, &shape).expect("legal");
        let mut events: Vec<Event> = workload.events().collect();
        change(&mut events);
        let arrivals = Arrivals::new(&workload);
        let ends: Vec<bool> =
            events.iter().map(|event| arrivals.arrive(&key_of(event.aggregate), event.version)).collect();
        (arrivals.arrived(), ends.iter().filter(|end| **end).count() == 1)
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
