//! When the streams that several partitions share are asked what they have deleted, and when reading waits for that.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::topics::StreamState;

/// How often a stream is asked what it has deleted; while not all of it was read, the shorter one.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_LAGGING: Duration = Duration::from_millis(100);

/// Most single deletions of a stream that are looked through one by one.
const LISTED_MAX: u64 = 20_000;

/// Longest time that reading waits for the list of what is missing.
const LIST_WAIT_MAX: Duration = Duration::from_secs(1);

/// What one reader has asked of its streams, by their names.
#[derive(Debug, Default)]
pub(crate) struct Deletions(BTreeMap<String, Looked>);

/// A stream as it was looked at.
#[derive(Debug, Default)]
struct Looked {
    asked: Option<Instant>,
    /// How many of its positions are gone between others, of which every cursor of the reader was told that may miss them.
    deleted: u64,
    /// Since when the reader wants to know which ones.
    lists: Option<Instant>,
    /// Not everything in it was read.
    lags: bool,
}

impl Deletions {
    /// A cursor of this stream has just begun, and was told of nothing.
    pub(crate) fn begin_anew(&mut self, stream: &str) {
        self.0.remove(stream);
    }

    /// The body of the question for this stream, if it is time to ask.
    pub(crate) fn ask(&mut self, stream: &str, now: Instant) -> Option<Value> {
        if self.0.get(stream).is_some_and(|looked| !looked.is_due(now)) {
            return None;
        }
        let looked = self.0.entry(stream.to_owned()).or_default();
        looked.asked = Some(now);
        Some(if looked.lists.is_some() { json!({ "deleted_details": true }) } else { Value::Null })
    }

    /// Whether nothing more of this stream is to be read before it is known what is missing; what does not come is not
    /// waited for.
    pub(crate) fn holds(&self, stream: &str, now: Instant) -> bool {
        let since = self.0.get(stream).and_then(|looked| looked.lists);
        since.is_some_and(|since| now.saturating_duration_since(since) < LIST_WAIT_MAX)
    }

    /// Takes what a stream says of itself: `lags` if not all of it was read, `lists` if single deletions are looked
    /// through. Gives how many there are of which nobody will be told, because they are too many.
    pub(crate) fn learn(&mut self, stream: String, state: &StreamState, lags: bool, lists: bool) -> Option<u64> {
        let looked = self.0.entry(stream).or_default();
        looked.lags = lags;
        let is_new = lags && looked.deleted != state.num_deleted && state.deleted.is_none();
        if is_new && lists && state.num_deleted <= LISTED_MAX {
            looked.lists.get_or_insert_with(Instant::now);
            looked.asked = None;
            return None;
        }
        looked.lists = None;
        looked.deleted = state.num_deleted;
        (is_new && lists).then_some(state.num_deleted)
    }
}

impl Looked {
    fn is_due(&self, now: Instant) -> bool {
        let pause = if self.lags { PAUSE_LAGGING } else { PAUSE };
        self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(num_deleted: u64, deleted: Option<Vec<u64>>) -> StreamState {
        StreamState { first_seq: 1, last_seq: 9 + num_deleted, num_deleted, deleted }
    }

    #[test]
    fn reading_waits_for_the_list_of_what_is_missing_and_not_for_ever() {
        let (mut deletions, now) = (Deletions::default(), Instant::now());
        assert_eq!(deletions.ask("s", now), Some(Value::Null));
        assert_eq!(deletions.ask("s", now), None, "it was asked");
        assert_eq!(deletions.learn("s".into(), &state(2, None), true, true), None);
        assert!(deletions.holds("s", now) && !deletions.holds("t", now));
        assert!(!deletions.holds("s", Instant::now() + LIST_WAIT_MAX), "what does not come is not waited for");
        assert_eq!(deletions.ask("s", now), Some(json!({ "deleted_details": true })));
        assert_eq!(deletions.learn("s".into(), &state(2, Some(vec![3, 5])), true, true), None);
        assert!(!deletions.holds("s", now));
        assert_eq!(deletions.ask("s", now + PAUSE_LAGGING), Some(Value::Null));
    }

    #[test]
    fn more_than_can_be_listed_are_counted_once() {
        let mut deletions = Deletions::default();
        let many = state(LISTED_MAX + 1, None);
        assert_eq!(deletions.learn("s".into(), &many, true, true), Some(LISTED_MAX + 1));
        assert_eq!(deletions.learn("s".into(), &many, true, true), None, "told once");
        assert_eq!(deletions.learn("t".into(), &many, true, false), None, "each cursor tells by itself");
        assert_eq!(deletions.learn("u".into(), &many, false, true), None, "everything was read");
    }
}
