//! Whether what is stored and delivered is what was published.

use std::collections::HashSet;
use std::fmt::Display;

use crate::entry::ContentHash;
use crate::run::{Run, State};
use crate::violation::{Anomaly, Violation};

/// One sighting of an envelope: in the dump, or in a delivery.
struct Sighting<'a> {
    id: &'a str,
    topic: &'a str,
    key: &'a str,
    hash: ContentHash,
    place: Place<'a>,
}

/// Where it was seen.
enum Place<'a> {
    Stored,
    Delivered(&'a str),
}

/// A3: seen and never published. Each id is told once.
pub(crate) fn phantoms(run: &Run<'_>) -> Vec<Violation> {
    first_of_each(sightings(run).filter(|seen| !run.publishes.is_attempted(seen.id)))
        .map(|seen| {
            let facts = format!("{} (key {}) {} and was never published", seen.id, seen.key, seen.place);
            Violation::fatal(Anomaly::Phantom, facts)
        })
        .collect()
}

/// A4: seen although each of its publishes certainly failed. Each id is told once.
pub(crate) fn aborted_reads(run: &Run<'_>) -> Vec<Violation> {
    first_of_each(sightings(run).filter(|seen| is_failed(run, seen.id)))
        .map(|seen| {
            let facts = format!("{} (key {}) {} although its publish failed", seen.id, seen.key, seen.place);
            Violation::fatal(Anomaly::AbortedRead, facts)
        })
        .collect()
}

/// A5: seen with other content, key or topic than any publish of its id had.
pub(crate) fn corruptions(run: &Run<'_>) -> Vec<Violation> {
    let changed = sightings(run).filter_map(|seen| {
        let mut calls = run.publishes.of(seen.id).peekable();
        let sent = calls.peek()?.publication;
        if calls.any(|call| seen.equals(&call.publication.topic, &call.publication.key, call.publication.hash)) {
            return None;
        }
        let facts = format!(
            "{} {}: topic {}, key {}, hash {}; published: topic {}, key {}, hash {}",
            seen.id, seen.place, seen.topic, seen.key, seen.hash, sent.topic, sent.key, sent.hash,
        );
        Some(Violation::fatal(Anomaly::Corrupt, facts))
    });
    changed.collect()
}

impl Sighting<'_> {
    fn equals(&self, topic: &str, key: &str, hash: ContentHash) -> bool {
        self.topic == topic && self.key == key && self.hash == hash
    }
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stored => f.write_str("is stored"),
            Self::Delivered(group) => write!(f, "was delivered to {group}"),
        }
    }
}

fn is_failed(run: &Run<'_>, id: &str) -> bool {
    run.publishes.is_attempted(id) && run.publishes.of(id).all(|call| call.state(&run.processes) == State::Failed)
}

fn sightings<'r, 'a>(run: &'r Run<'a>) -> impl Iterator<Item = Sighting<'a>> + use<'r, 'a> {
    stored(run).chain(delivered(run))
}

fn stored<'r, 'a>(run: &'r Run<'a>) -> impl Iterator<Item = Sighting<'a>> + use<'r, 'a> {
    let dump = run.dump;
    dump.rows().iter().filter_map(|row| {
        let (id, topic, key) = (row.id.as_deref()?, row.topic.as_str(), row.key.as_str());
        Some(Sighting { id, topic, key, hash: row.hash, place: Place::Stored })
    })
}

fn delivered<'r, 'a>(run: &'r Run<'a>) -> impl Iterator<Item = Sighting<'a>> + use<'r, 'a> {
    run.courses.all().iter().flat_map(|course| &course.handed).map(|handed| {
        let (delivery, hash) = (&handed.delivered.delivery, handed.delivered.hash);
        let place = Place::Delivered(&delivery.group);
        Sighting { id: &delivery.id, topic: &delivery.topic, key: &delivery.key, hash, place }
    })
}

fn first_of_each<'a>(seen: impl Iterator<Item = Sighting<'a>>) -> impl Iterator<Item = Sighting<'a>> {
    let mut told = HashSet::new();
    seen.filter(move |seen| told.insert(seen.id))
}
