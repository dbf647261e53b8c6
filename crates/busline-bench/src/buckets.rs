//! Raw latencies as files hold them: how many fell into each bucket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::one_line;

/// Latencies by their frequency: pairs of a latency in nanoseconds and how often it was seen, rising. A pair stands for
/// its bucket, which is at most a thousandth wide.
///
/// Written on one line, `[[1023,4],[2047,1]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Buckets(#[serde(serialize_with = "one_line::serialize")] pub Vec<(u64, u64)>);

impl Buckets {
    /// The latency that this share of all was not above, in milliseconds; none of nothing.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let total: u64 = self.0.iter().map(|(_, count)| count).sum();
        let wanted = ((total as f64 * quantile).ceil() as u64).max(1);
        let mut passed = 0;
        let bucket = self.0.iter().find(|(_, count)| {
            passed += count;
            passed >= wanted
        });
        bucket.map(|(nanos, _)| *nanos as f64 / 1e6)
    }

    /// The mean latency in milliseconds; none of nothing.
    pub(crate) fn mean_ms(&self) -> Option<f64> {
        let count: u64 = self.0.iter().map(|(_, count)| count).sum();
        let sum: f64 = self.0.iter().map(|(nanos, count)| *nanos as f64 * *count as f64).sum();
        (count > 0).then(|| sum / count as f64 / 1e6)
    }

    /// All of these together.
    pub(crate) fn merged<'b>(all: impl IntoIterator<Item = &'b Self>) -> Self {
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        for (nanos, count) in all.into_iter().flat_map(|one| &one.0) {
            *counts.entry(*nanos).or_default() += count;
        }
        Self(counts.into_iter().collect())
    }

    /// Latencies in it.
    pub fn samples(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::latency::Latencies;
    use crate::statistics::noise::Noise;

    #[test]
    fn buckets_are_written_on_one_line_and_read_back() {
        let buckets = Buckets(vec![(1_023, 4), (2_047, 1)]);
        let text = serde_json::to_string_pretty(&buckets).expect("json");
        assert_eq!(text, "[[1023,4],[2047,1]]");
        assert_eq!(serde_json::from_str::<Buckets>(&text).expect("read"), buckets);
    }

    #[test]
    fn quantiles_are_those_of_the_distribution() {
        let (mut noise, mut latencies) = (Noise::new(4), Latencies::default());
        let mean_ms = 3.0;
        for _ in 0..200_000 {
            latencies.record(Duration::from_secs_f64(-noise.even().ln() * mean_ms / 1e3), 1);
        }
        let buckets = latencies.buckets();
        assert_eq!(buckets.samples(), 200_000);
        for quantile in [0.01, 0.5, 0.9, 0.99, 0.999] {
            let wanted = -(1.0_f64 - quantile).ln() * mean_ms;
            let found = buckets.quantile_ms(quantile).expect("some");
            assert!((found / wanted - 1.0).abs() < 0.06, "{quantile}: {found} is not {wanted}");
        }
        let percentiles = latencies.percentiles().expect("some");
        let alike = |one: f64, other: f64| (one / other - 1.0).abs() < 2e-3;
        assert!(alike(percentiles.p99, buckets.quantile_ms(0.99).expect("some")));
        assert!(alike(percentiles.max, buckets.quantile_ms(1.0).expect("some")));
        assert_eq!(Buckets::default().quantile_ms(0.5), None);
    }
}
