//! What was published, what its publisher was told of it, and the judge of what a file holds.
//!
//! The judge reads the file's tables by plain SQLite and knows nothing of the driver.

use std::collections::{HashMap, HashSet};

use busline_core::{Ack, Envelope};
use busline_core::{Error, Publisher, checksum};
use rusqlite::Connection;

/// What a publisher was told of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Acked { partition: u32, offset: u64 },
    Failed,
    Indeterminate,
}

impl Told {
    pub(crate) fn of(outcome: &Result<Ack, Error>) -> Self {
        match outcome {
            Ok(ack) => {
                Self::Acked { partition: ack.partition.0, offset: ack.offset.expect("the driver gives offsets").0 }
            }
            Err(error) if error.is_definite() => Self::Failed,
            Err(_) => Self::Indeterminate,
        }
    }
}

/// One accepted envelope.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) told: Told,
}

/// Everything accepted, in order of acceptance.
#[derive(Debug, Default)]
pub(crate) struct Ledger(pub(crate) Vec<Entry>);

/// One record as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) key: String,
    pub(crate) id: String,
}

impl Ledger {
    /// Publishes envelopes as fast as the window takes them and writes down what became of each.
    pub(crate) async fn publish(&mut self, publisher: &Publisher, envelopes: Vec<Envelope>) -> Vec<Result<Ack, Error>> {
        let mut receipts = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            let named = (envelope.id.clone(), envelope.aggregate_id.clone());
            receipts.push((named, publisher.publish(envelope).await.expect("nothing is refused")));
        }
        let mut outcomes = Vec::with_capacity(receipts.len());
        for ((id, key), receipt) in receipts {
            let outcome = receipt.await;
            self.0.push(Entry { id, key, told: Told::of(&outcome) });
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Number of envelopes that were told this way.
    pub(crate) fn count(&self, told: impl Fn(Told) -> bool) -> usize {
        self.0.iter().filter(|entry| told(entry.told)).count()
    }

    /// Judges what a file holds: nothing acked is missing or elsewhere, nothing failed is there, nothing is there twice,
    /// and the records of each key stand in the order of acceptance.
    pub(crate) fn judge(&self, rows: &[Row]) -> Result<(), String> {
        let found: HashMap<&str, &Row> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
        if found.len() != rows.len() {
            return Err("a record is there twice".into());
        }
        let known: HashSet<&str> = self.0.iter().map(|entry| entry.id.as_str()).collect();
        if let Some(row) = rows.iter().find(|row| !known.contains(row.id.as_str())) {
            return Err(format!("{row:?} was never accepted"));
        }
        let mut last_of_key: HashMap<&str, u64> = HashMap::new();
        for entry in &self.0 {
            let row = found.get(entry.id.as_str());
            match (entry.told, row) {
                (Told::Acked { partition, offset }, Some(row))
                    if (row.partition, row.offset) == (partition, offset) => {}
                (Told::Acked { .. }, row) => return Err(format!("{entry:?} was acked, the file holds {row:?}")),
                (Told::Failed, Some(row)) => return Err(format!("{entry:?} failed, the file holds {row:?}")),
                (Told::Failed | Told::Indeterminate, _) => {}
            }
            let Some(row) = row else { continue };
            if last_of_key.insert(&entry.key, row.offset).is_some_and(|before| before > row.offset) {
                return Err(format!("{row:?} stands before an earlier one of its key"));
            }
        }
        Ok(())
    }
}

/// An envelope whose id says where it belongs.
pub(crate) fn envelope(publisher: &str, key: &str, number: u64, payload_bytes: usize) -> Envelope {
    let payload = "x".repeat(payload_bytes);
    Envelope::new(key, "Tested", number + 1)
        .with_id(format!("{publisher}:{key}:{number}"))
        .json(&payload)
        .expect("text is JSON")
}

/// Reads a topic by plain SQLite, and judges all that holds for any file: it is sound, offsets are dense between the
/// bounds, checksums fit.
///
/// # Panics
/// If one of these does not hold.
pub(crate) fn dump(connection: &Connection, topic: &str) -> Vec<Row> {
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a readable file");
    assert_eq!(sound, "ok");
    let mut partitions = connection
        .prepare(
            "SELECT number, partition_id, start_offset, end_offset FROM partitions JOIN topics USING (topic_id)
             WHERE name = ?1 ORDER BY number",
        )
        .expect("a file of ours");
    let bounds: Vec<(u32, i64, u64, u64)> = partitions
        .query_map([topic], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .and_then(Iterator::collect)
        .expect("readable partitions");
    bounds.into_iter().flat_map(|(number, id, start, end)| dump_partition(connection, number, id, start, end)).collect()
}

fn dump_partition(connection: &Connection, partition: u32, id: i64, start: u64, end: u64) -> Vec<Row> {
    let mut select = connection
        .prepare("SELECT position & 0xffffffffff, key, headers, body, checksum FROM records WHERE position >> 40 = ?1 ORDER BY position")
        .expect("a file of ours");
    let mut rows = select.query([id]).expect("readable records");
    let mut dumped = Vec::new();
    while let Some(row) = rows.next().expect("readable records") {
        let offset: u64 = row.get(0).expect("an offset");
        let part = |column: usize| row.get::<_, Option<Vec<u8>>>(column).expect("bytes").unwrap_or_default();
        let (key, headers, body) = (part(1), part(2), part(3));
        assert_eq!(row.get::<_, u32>(4), Ok(checksum(&key, &headers, &body)), "{partition}/{offset}");
        let json: serde_json::Value = serde_json::from_slice(&body).expect("a CloudEvent");
        let id = json["id"].as_str().expect("an id").to_owned();
        dumped.push(Row { partition, offset, key: String::from_utf8(key).expect("text"), id });
    }
    let offsets: Vec<u64> = dumped.iter().map(|row| row.offset).collect();
    assert_eq!(offsets, (start..end).collect::<Vec<_>>(), "offsets of partition {partition} are dense");
    dumped
}

#[test]
fn judge_tells_broken_from_whole() {
    let entry = |number: u64, told| Entry { id: number.to_string(), key: "k".into(), told };
    let acked = |offset| Told::Acked { partition: 0, offset };
    let ledger =
        Ledger(vec![entry(0, acked(0)), entry(1, Told::Failed), entry(2, Told::Indeterminate), entry(3, acked(1))]);
    let row = |offset, id: u64| Row { partition: 0, offset, key: "k".into(), id: id.to_string() };
    assert_eq!(ledger.judge(&[row(0, 0), row(1, 3)]), Ok(()));
    for broken in [
        vec![row(0, 0)],
        vec![row(0, 0), row(2, 3)],
        vec![row(0, 0), row(1, 3), row(2, 1)],
        vec![row(0, 0), row(1, 3), row(2, 2)],
        vec![row(0, 0), row(1, 3), row(2, 3)],
        vec![row(0, 0), row(1, 3), row(2, 9)],
    ] {
        assert!(ledger.judge(&broken).is_err(), "{broken:?} passes");
    }
    let indeterminate = Ledger(vec![entry(2, Told::Indeterminate)]);
    assert_eq!(indeterminate.judge(&[row(0, 2)]), Ok(()));
}
