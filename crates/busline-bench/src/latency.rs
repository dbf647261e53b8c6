//! Latencies of one run, and the percentiles that are reported.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::buckets::Buckets;

/// Latencies by their frequency, three significant digits each. Made when the first one comes, unless its room is
/// wanted from the start.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Option<Histogram<u64>>);

/// Largest latency that is told from larger ones.
const LATENCY_MAX: Duration = Duration::from_secs(600);

impl Latencies {
    /// With the room of all latencies from the start: where memory is watched, one that grows would look like a leak.
    pub(crate) fn with_all_room() -> Self {
        Self(Some(Histogram::new_with_max(LATENCY_MAX.as_nanos() as u64, 3).expect("a legal range and precision")))
    }

    pub(crate) fn record(&mut self, latency: Duration, times: u64) {
        // NOTE: it grows by itself, but not in `saturating_record`, which would cut everything to its first size.
        let histogram = self.0.get_or_insert_with(|| Histogram::new(3).expect("three digits are legal"));
        histogram.record_n(latency.min(LATENCY_MAX).as_nanos() as u64, times).expect("it grows by itself");
    }

    /// All of them, as files hold them.
    pub(crate) fn buckets(&self) -> Buckets {
        let pairs = |histogram: &Histogram<u64>| {
            let seen = histogram.iter_recorded();
            seen.map(|bucket| (bucket.value_iterated_to(), bucket.count_since_last_iteration())).collect()
        };
        Buckets(self.0.as_ref().map_or_else(Vec::new, pairs))
    }

    /// The reported percentiles; none of nothing.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let histogram = self.0.as_ref().filter(|histogram| !histogram.is_empty())?;
        let millis = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        Some(Percentiles {
            p50: millis(0.5),
            p99: millis(0.99),
            p999: millis(0.999),
            max: histogram.max() as f64 / 1e6,
            samples: histogram.len(),
        })
    }
}

/// Percentiles of a latency. Unit: milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half were faster.
    pub p50: f64,
    /// 99 in 100 were faster.
    pub p99: f64,
    /// 999 in 1,000 were faster.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
    /// Latencies these are of.
    pub samples: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_room_takes_every_latency_without_growing() {
        let mut latencies = Latencies::with_all_room();
        assert_eq!(latencies.percentiles(), None);
        let room = |latencies: &Latencies| latencies.0.as_ref().map(Histogram::distinct_values);
        let before = room(&latencies);
        for latency in [Duration::ZERO, Duration::from_millis(3), LATENCY_MAX * 2] {
            latencies.record(latency, 1);
        }
        assert_eq!(room(&latencies), before);
        assert_eq!(latencies.percentiles().expect("some").samples, 3);
    }

    #[test]
    fn percentiles_are_of_all_that_was_recorded() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentiles(), None);
        (1..=1_000).for_each(|n| latencies.record(Duration::from_micros(n), 2));
        let found = latencies.percentiles().expect("some");
        assert_eq!(found.samples, 2_000);
        for (is, wanted) in [(found.p50, 0.5), (found.p99, 0.99), (found.p999, 0.999), (found.max, 1.0)] {
            assert!((is / wanted - 1.0).abs() < 0.002, "{is} is not {wanted}");
        }
    }
}
