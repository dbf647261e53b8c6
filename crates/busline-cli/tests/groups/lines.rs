//! What members print, judged: order per key and process, nothing missing, what comes twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

/// One delivery as it was printed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) partition: u64,
    pub(crate) offset: u64,
    pub(crate) attempt: u64,
    pub(crate) key: String,
    pub(crate) version: u64,
}

/// The whole lines of an output; SIGKILL may cut the last one.
pub(crate) fn lines_of(output: &str) -> Vec<Line> {
    let whole = &output[..output.rfind('\n').map_or(0, |at| at + 1)];
    whole.lines().map(|line| read(&serde_json::from_str(line).expect(line))).collect()
}

pub(crate) fn read(line: &Value) -> Line {
    let number = |field: &str| line[field].as_u64().expect(field);
    let envelope = &line["envelope"];
    Line {
        partition: number("partition"),
        offset: number("offset"),
        attempt: number("attempt"),
        key: envelope["subject"].as_str().expect("subject").into(),
        version: envelope["sequence"].as_str().expect("sequence").parse().expect("version"),
    }
}

/// Each key's events come in order: offsets and versions rise, except where a partition begins anew.
#[track_caller]
pub(crate) fn assert_key_order(process: &str, lines: &[Line]) {
    let mut last: HashMap<&str, &Line> = HashMap::new();
    for line in lines {
        if let Some(before) = last.insert(&line.key, line) {
            assert!(
                before.offset < line.offset && before.version < line.version,
                "{process}: {line:?} came after {before:?}"
            );
        }
    }
}

/// Every offset of every partition was printed by somebody, and each key's versions are 1, 2, 3 … by offset.
#[track_caller]
pub(crate) fn assert_complete<'a>(outputs: impl IntoIterator<Item = &'a Vec<Line>>, ends: &[u64]) {
    let all: BTreeSet<_> =
        outputs.into_iter().flatten().map(|line| (line.partition, line.offset, &line.key, line.version)).collect();
    let mut offsets: BTreeMap<u64, u64> = BTreeMap::new();
    let mut versions: HashMap<&str, u64> = HashMap::new();
    for (partition, offset, key, version) in all {
        let next = offsets.entry(partition).or_default();
        assert_eq!(*next, offset, "an offset of partition {partition} is missing, or has two events");
        *next += 1;
        let next = versions.entry(key).or_insert(1);
        assert_eq!(*next, version, "a version of {key} is missing");
        *next += 1;
    }
    let found: Vec<u64> = (0..).zip(ends).map(|(partition, _)| offsets.get(&partition).copied().unwrap_or(0)).collect();
    assert_eq!(found, ends);
}

/// What was printed more than once.
pub(crate) fn repeated<'a>(outputs: impl IntoIterator<Item = &'a Vec<Line>>) -> Vec<(u64, u64)> {
    let mut seen = BTreeSet::new();
    let places = outputs.into_iter().flatten().map(|line| (line.partition, line.offset));
    places.filter(|place| !seen.insert(*place)).collect()
}
