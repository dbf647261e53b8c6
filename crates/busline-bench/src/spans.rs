//! When the records of each topic came, and how long any topic's were coming.
//!
//! Each topic has a group of its own, and the groups do not join at the same moment. Between the last record of one and the
//! first of the next nothing is there to be consumed, so that time counts as joining and is in no speed.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The first and the last record of each topic.
#[derive(Debug)]
pub(crate) struct Spans(Vec<Span>);

#[derive(Debug, Default)]
struct Span {
    first: OnceLock<Instant>,
    last: OnceLock<Instant>,
}

impl Spans {
    pub(crate) fn new(topics: usize) -> Self {
        Self((0..topics).map(|_| Span::default()).collect())
    }

    /// A record of this topic is about to be handled.
    pub(crate) fn begin(&self, topic: usize) {
        self.0[topic].first.get_or_init(Instant::now);
    }

    /// The last record of this topic has been handled.
    pub(crate) fn end(&self, topic: usize) {
        self.0[topic].last.get_or_init(Instant::now);
    }

    /// When the first record of all came.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.0.iter().filter_map(|span| span.first.get()).min().copied()
    }

    /// When the last one of all came, once every topic that began has ended.
    pub(crate) fn last(&self) -> Option<Instant> {
        let begun = self.0.iter().filter(|span| span.first.get().is_some());
        begun.map(|span| span.last.get().copied()).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Time in which records of at least one topic were coming; those of a topic that has not ended come until `end`.
    pub(crate) fn busy(&self, end: Instant) -> Duration {
        let span = |span: &Span| Some((*span.first.get()?, span.last.get().copied().unwrap_or(end)));
        let mut spans: Vec<(Instant, Instant)> = self.0.iter().filter_map(span).collect();
        spans.sort();
        let (mut busy, mut until) = (Duration::ZERO, None);
        for (first, last) in spans {
            let from = until.map_or(first, |until: Instant| until.max(first));
            busy += last.saturating_duration_since(from);
            until = Some(from.max(last));
        }
        busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spans of these milliseconds.
    fn spans(of: &[(u64, Option<u64>)]) -> (Spans, Instant) {
        let start = Instant::now();
        let at = |millis: u64| OnceLock::from(start + Duration::from_millis(millis));
        let span =
            |(first, last): &(u64, Option<u64>)| Span { first: at(*first), last: last.map(at).unwrap_or_default() };
        (Spans(of.iter().map(span).collect()), start)
    }

    #[track_caller]
    fn check(of: &[(u64, Option<u64>)], busy: u64) {
        let (spans, start) = spans(of);
        assert_eq!(spans.busy(start + Duration::from_millis(100)), Duration::from_millis(busy), "{of:?}");
    }

    #[test]
    fn time_counts_once_and_only_while_some_topic_is_read() {
        check(&[], 0);
        check(&[(5, Some(9))], 4);
        check(&[(5, Some(9)), (7, Some(12))], 7);
        check(&[(5, Some(20)), (7, Some(12)), (8, Some(21))], 16);
        check(&[(30, Some(34)), (5, Some(9)), (60, Some(61))], 9);
        check(&[(5, Some(9)), (90, None)], 14);
    }

    #[test]
    fn the_last_one_is_known_once_all_that_began_have_ended() {
        let (ended, start) = spans(&[(5, Some(9)), (1, Some(30))]);
        assert_eq!(ended.last(), Some(start + Duration::from_millis(30)));
        assert_eq!(ended.first(), Some(start + Duration::from_millis(1)));
        assert_eq!(spans(&[(5, Some(9)), (1, None)]).0.last(), None);
        let none = Spans::new(3);
        assert_eq!((none.first(), none.last(), none.busy(Instant::now())), (None, None, Duration::ZERO));
    }
}
