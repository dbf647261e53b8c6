//! Whether all of a workload stands in a store: once, whole, and each aggregate in order.

use std::collections::HashMap;

use busline::Headers;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::workload::{Event, Workload, aggregate_of};

/// One stored record, as a dump gives it: those of a partition by their offsets, those of others anywhere between.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) topic: usize,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) key: &'a [u8],
    pub(crate) headers: &'a Headers,
    pub(crate) body: &'a [u8],
}

/// What a dump shows. Unit: envelopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Different planned envelopes that are there.
    pub(crate) stored: u64,
    /// Planned envelopes that are not there.
    pub(crate) missing: u64,
    /// Rows whose envelope is there already.
    pub(crate) duplicates: u64,
    /// Rows in front of which a later envelope of their aggregate stands, or in another partition than it.
    pub(crate) order_violations: u64,
    /// Rows that are no planned envelope, or a changed one.
    pub(crate) damaged: u64,
}

impl Verdict {
    /// Whether every planned envelope is there once, whole and in order, but for so many that were refused.
    pub(crate) fn is_perfect(&self, refused: u64) -> bool {
        *self == Self { stored: self.stored, missing: refused, ..Self::default() }
    }
}

/// The parts of a CloudEvents body that say which event it is. A reader of its own: it shares nothing with the codec.
#[derive(Deserialize)]
struct Body<'a> {
    id: &'a str,
    subject: &'a str,
    sequence: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Takes the rows of a dump one by one.
pub(crate) struct Judge<'w> {
    workload: &'w Workload,
    aggregates: Vec<Seen>,
    /// The offset of the latest row of each partition.
    last: HashMap<(usize, u32), u64>,
    verdict: Verdict,
}

/// What was seen of one aggregate.
struct Seen {
    versions: Vec<bool>,
    highest: u64,
    partition: Option<u32>,
}

impl<'w> Judge<'w> {
    pub(crate) fn new(workload: &'w Workload) -> Self {
        let seen = |aggregate| Seen {
            versions: vec![false; workload.versions_of(aggregate) as usize],
            highest: 0,
            partition: None,
        };
        Self {
            workload,
            aggregates: (0..workload.aggregates).map(seen).collect(),
            last: HashMap::new(),
            verdict: Verdict::default(),
        }
    }

    pub(crate) fn row(&mut self, row: &Row<'_>) {
        let before = self.last.insert((row.topic, row.partition), row.offset);
        let rises = before.is_none_or(|before| before < row.offset);
        let Some((aggregate, version)) = self.planned(row) else {
            self.verdict.damaged += 1;
            return;
        };
        let seen = &mut self.aggregates[aggregate];
        let known = &mut seen.versions[version as usize - 1];
        if std::mem::replace(known, true) {
            self.verdict.duplicates += 1;
            return;
        }
        self.verdict.stored += 1;
        let at_home = *seen.partition.get_or_insert(row.partition) == row.partition;
        if version < seen.highest || !at_home || !rises {
            self.verdict.order_violations += 1;
        }
        seen.highest = seen.highest.max(version);
    }

    /// A row that cannot be read, or whose checksum does not fit.
    #[cfg(feature = "sqlite")]
    pub(crate) fn damaged_row(&mut self) {
        self.verdict.damaged += 1;
    }

    pub(crate) fn finish(mut self) -> Verdict {
        self.verdict.missing = self.workload.envelopes - self.verdict.stored;
        self.verdict
    }

    /// The planned event of this row, if it is one in every part.
    fn planned(&self, row: &Row<'_>) -> Option<(usize, u64)> {
        let body: Body<'_> = serde_json::from_slice(row.body).ok()?;
        let aggregate = aggregate_of(body.subject)?;
        let version: u64 = body.sequence.parse().ok()?;
        let whole = row.key == body.subject.as_bytes() && body.data.get().as_bytes() == self.workload.payload().bytes();
        let versions = self.aggregates.get(aggregate)?.versions.len() as u64;
        let planned = (1..=versions).contains(&version) && self.workload.topic_of(aggregate) == row.topic;
        let whole = whole && self.workload.is_headers_of(Event { aggregate, version }, body.id, row.headers);
        (whole && planned).then_some((aggregate, version))
    }
}

#[cfg(test)]
mod tests {
    use busline::Wire;

    use super::*;
    use crate::workload::{Level, Mode, Shape};

    /// A small workload and its rows as a correct store holds them: topic by topic, one partition each.
    fn stored() -> (Workload, Vec<(usize, Event)>) {
        let shape = Shape { payload_bytes: None, window_envelopes: 8, senders: None, topics: 2 };
        let workload = Workload::of_size(Level::Low, Mode::Async, 200, &shape).expect("legal");
        let rows = (0..2).flat_map(|topic| {
            workload.events().filter(move |event| event.aggregate % 2 == topic).map(move |event| (topic, event))
        });
        let rows = rows.collect();
        (workload, rows)
    }

    fn judged(workload: &Workload, rows: &[(usize, Event)], change: impl Fn(usize, &mut Vec<u8>)) -> Verdict {
        let mut judge = Judge::new(workload);
        for (place, (topic, event)) in rows.iter().enumerate() {
            let envelope = workload.envelope(*event);
            let mut body = Vec::new();
            Wire::CloudEvents.encode(&envelope, "/busline/t", &mut body);
            change(place, &mut body);
            let key = envelope.aggregate_id.as_bytes();
            let headers = &envelope.headers;
            judge.row(&Row { topic: *topic, partition: 0, offset: place as u64, key, headers, body: &body });
        }
        judge.finish()
    }

    fn unchanged(_: usize, _: &mut Vec<u8>) {}

    #[test]
    fn a_whole_dump_is_perfect() {
        let (workload, rows) = stored();
        let verdict = judged(&workload, &rows, unchanged);
        assert_eq!(verdict, Verdict { stored: 200, ..Verdict::default() });
        assert!(verdict.is_perfect(0));
    }

    #[test]
    fn other_aggregates_may_come_in_any_order() {
        let (workload, mut rows) = stored();
        rows.sort_by_key(|(topic, event)| (*topic, event.aggregate, event.version));
        assert!(judged(&workload, &rows, unchanged).is_perfect(0));
    }

    #[test]
    fn a_lost_envelope_is_missing() {
        let (workload, mut rows) = stored();
        rows.remove(77);
        let verdict = judged(&workload, &rows, unchanged);
        assert_eq!(verdict, Verdict { stored: 199, missing: 1, ..Verdict::default() });
        assert!(!verdict.is_perfect(0));
    }

    #[test]
    fn a_doubled_envelope_is_a_duplicate() {
        let (workload, mut rows) = stored();
        rows.insert(80, rows[20]);
        let verdict = judged(&workload, &rows, unchanged);
        assert_eq!(verdict, Verdict { stored: 200, duplicates: 1, ..Verdict::default() });
        assert!(!verdict.is_perfect(0));
    }

    #[test]
    fn swapped_envelopes_of_an_aggregate_break_the_order() {
        let (workload, mut rows) = stored();
        let same: Vec<usize> =
            (0..rows.len()).filter(|place| rows[*place].1.aggregate == rows[0].1.aggregate).take(2).collect();
        rows.swap(same[0], same[1]);
        let verdict = judged(&workload, &rows, unchanged);
        assert_eq!(verdict, Verdict { stored: 200, order_violations: 1, ..Verdict::default() });
        assert!(!verdict.is_perfect(0));
    }

    #[test]
    fn headers_that_are_not_the_planned_ones_are_damage() {
        let (without, rows) = stored();
        let with = without.clone().with_headers(true);
        assert!(judged(&with, &rows, unchanged).is_perfect(0));
        let mut judge = Judge::new(&with);
        for (asked, expected) in [(&with, 0), (&without, 1)] {
            let envelope = asked.envelope(rows[expected].1);
            let mut body = Vec::new();
            Wire::CloudEvents.encode(&envelope, "/busline/t", &mut body);
            let (key, headers) = (envelope.aggregate_id.as_bytes(), &envelope.headers);
            judge.row(&Row { topic: 0, partition: 0, offset: expected as u64, key, headers, body: &body });
        }
        let verdict = judge.finish();
        assert_eq!((verdict.stored, verdict.damaged), (1, 1), "one came without its headers: {verdict:?}");
    }

    #[test]
    fn a_changed_body_and_a_foreign_row_are_damage() {
        let (workload, mut rows) = stored();
        let changed = judged(&workload, &rows, |place, body| {
            if place == 3 {
                let at = body.len() - 5;
                body[at] ^= 1;
            }
        });
        assert_eq!(changed, Verdict { stored: 199, missing: 1, damaged: 1, ..Verdict::default() });
        rows.push((1, Event { aggregate: 1, version: 999 }));
        assert_eq!(judged(&workload, &rows, unchanged), Verdict { stored: 200, damaged: 1, ..Verdict::default() });
    }
}
