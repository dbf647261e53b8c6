//! Reads back what is perhaps stored.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use busline_core::{Headers, Offset, Partition, ReadRequest, Record, Result};
use bytes::Bytes;

use super::table::Place;
use super::writer::Shared;
use crate::native;

/// A record that is perhaps stored, as it would stand in the log.
#[derive(Debug, PartialEq, Eq)]
struct Sought {
    place: Place,
    key: Vec<u8>,
    headers: Headers,
    body: Vec<u8>,
}

/// Brokers that do not answer within this time are asked another time: reports wait meanwhile.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Looks for each doubtful record in the log from its partition's place on; gives those found with their offsets.
///
/// What is not found proves nothing: it may still be on its way.
pub(super) fn look(shared: &Shared, from: &HashMap<Partition, Offset>) -> Result<Vec<(Place, Offset)>> {
    let sought = sought(shared);
    if sought.is_empty() {
        return Ok(Vec::new());
    }
    let name = &shared.topic.info.name;
    native::describe_topics(&shared.clients.native()?, &[name.as_str()], ANSWER_MAX)?;
    let mut found = Vec::new();
    for (partition, sought) in sought {
        let mut offset = from.get(&partition).copied().unwrap_or(Offset(0));
        let mut sought = sought.into_iter().peekable();
        while sought.peek().is_some() {
            let request =
                ReadRequest { partition, from: offset, to: Offset(u64::MAX), records_max: 1_000, bytes_max: 1 << 22 };
            let read = shared.clients.readers.read(&shared.clients, name, &request)?;
            let Some(last) = read.last() else { break };
            offset = last.offset.next();
            found.extend(matches(&mut sought, &read));
        }
    }
    Ok(found)
}

/// Those of the sought that stand in these records, each behind the one before it.
fn matches(sought: &mut std::iter::Peekable<impl Iterator<Item = Sought>>, read: &[Record]) -> Vec<(Place, Offset)> {
    let mut found = Vec::new();
    for record in read {
        let is_it = |sought: &Sought| {
            record.key == sought.key[..] && record.body == sought.body[..] && record.headers == sought.headers
        };
        if let Some(sought) = sought.next_if(is_it) {
            found.push((sought.place, record.offset));
        }
    }
    found
}

fn sought(shared: &Shared) -> BTreeMap<Partition, Vec<Sought>> {
    let state = shared.state();
    let mut places: Vec<(usize, Vec<usize>)> = Vec::new();
    state.table.each_doubtful(|place, _, _| match places.last_mut() {
        Some((slot, indexes)) if *slot == place.slot => indexes.push(place.index),
        _ => places.push((place.slot, vec![place.index])),
    });
    let mut sought: BTreeMap<Partition, Vec<Sought>> = BTreeMap::new();
    for (slot, indexes) in places {
        let Some(batch) = state.table.batch(slot) else { continue };
        let mut indexes = indexes.into_iter().peekable();
        for (index, record) in batch.records().enumerate() {
            if indexes.next_if_eq(&index).is_some() {
                sought.entry(record.partition).or_default().push(Sought {
                    place: Place { slot, index },
                    key: record.key.to_vec(),
                    headers: Headers::decode(Bytes::copy_from_slice(record.header_block)).unwrap_or_default(),
                    body: record.body.to_vec(),
                });
            }
        }
    }
    sought
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn record(offset: u64, body: &str) -> Record {
        Record {
            partition: Partition(0),
            offset: Offset(offset),
            time: Timestamp::UNIX_EPOCH,
            key: Bytes::from_static(b"k"),
            headers: Headers::default(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn sought(index: usize, body: &str) -> Sought {
        let place = Place { slot: 0, index };
        Sought { place, key: b"k".to_vec(), headers: Headers::default(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn found_is_what_stands_there_in_the_same_order() {
        let log = [record(7, "foreign"), record(8, "a"), record(10, "b")];
        let mut wanted = [sought(0, "a"), sought(1, "b"), sought(2, "c")].into_iter().peekable();
        let found = matches(&mut wanted, &log);
        assert_eq!(found, [(Place { slot: 0, index: 0 }, Offset(8)), (Place { slot: 0, index: 1 }, Offset(10))]);
        assert_eq!(wanted.next().expect("not found").place.index, 2);
    }
}
