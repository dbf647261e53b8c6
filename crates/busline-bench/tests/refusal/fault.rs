//! What is done to one envelope in a thousand.

use busline::{Record, decode};

/// One way to break a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is gone.
    Drop,
    /// It is there twice.
    Double,
    /// It and another one of its aggregate have changed places.
    Swap,
}

/// Envelopes of which one is broken.
const ONE_IN: u64 = 1_000;

/// Last event version that may be broken: the last ones of an aggregate tell a reader that it is done.
const LAST_VERSION: u64 = 9;

/// Breaks what passes by.
#[derive(Debug)]
pub(crate) struct Breaker {
    fault: Fault,
    passed: u64,
    due: u64,
}

impl Breaker {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, passed: 0, due: 0 }
    }

    /// Breaks at most one of these, so that no victim is broken twice; one that is due and finds no victim waits.
    pub(crate) fn pass(&mut self, records: &mut Vec<Record>) {
        let before = self.passed / ONE_IN;
        self.passed += records.len() as u64;
        self.due += self.passed / ONE_IN - before;
        if self.due > 0 && break_one(self.fault, records) {
            self.due -= 1;
        }
    }
}

fn break_one(fault: Fault, records: &mut Vec<Record>) -> bool {
    let Some(at) = records.iter().position(|record| version_of(record) <= LAST_VERSION) else { return false };
    match fault {
        Fault::Drop => drop(records.remove(at)),
        Fault::Double => records.insert(at, records[at].clone()),
        Fault::Swap => {
            let behind = records[at + 1..].iter().position(|other| other.key == records[at].key);
            let Some(behind) = behind.map(|behind| at + 1 + behind) else { return false };
            let body = records[at].body.clone();
            records[at].body = std::mem::replace(&mut records[behind].body, body);
        }
    }
    true
}

fn version_of(record: &Record) -> u64 {
    decode(&record.body, String::new).expect("the bus stored an envelope").event_version
}
