//! What measuring costs, in sentences.

use super::numbers::hundredths;
use crate::open_load::OpenReport;
use crate::overhead::{Overhead, OverheadShare};
use crate::result::BenchReport;

/// A share of one load. Unit: percent.
type Share = fn(&OverheadShare) -> Option<f64>;

/// What it costs in a benchmark of bursts; nothing where it was not measured.
pub(super) fn sentences(report: &BenchReport) -> Vec<String> {
    let Some(overhead) = &report.overhead else { return Vec::new() };
    let kinds: [(&str, Share); 2] =
        [("publishing", |share| share.publish_percent), ("consuming", |share| share.consume_percent)];
    let most = kinds.into_iter().filter_map(|(what, of)| most(overhead, what, of));
    [costs(overhead)].into_iter().chain(most).collect()
}

/// What it costs in an open load.
pub(super) fn sentences_of_rates(report: &OpenReport) -> Vec<String> {
    let Some(overhead) = &report.overhead else { return Vec::new() };
    let beside = overhead.beside_paced_ns();
    let percents = report.results.iter().filter_map(|result| Some(beside / (result.cpu_us? * 1e3) * 100.0));
    let most = percents.fold(None, |most: Option<f64>, percent| Some(most.map_or(percent, |most| most.max(percent))));
    let told = most.map(|most| {
        format!(
            "Each envelope has both latencies taken, which is at most {} % of its processor time, at the rate where that \
             is lowest.",
            hundredths(most)
        )
    });
    [costs(overhead)].into_iter().chain(told).collect()
}

fn costs(overhead: &Overhead) -> String {
    let nanos = |figure: crate::compare::Figure| format!("{:.0} ns ± {:.0} %", figure.median, figure.spread_percent);
    format!(
        "The benchmark's own work: taking a latency down {}; beside a publish whose latency is taken {}; beside a \
         delivery {}; making an envelope {}, which the twins do too. Processor time, in every figure of it.",
        nanos(overhead.latency_record_ns),
        nanos(overhead.publish_ns),
        nanos(overhead.delivery_ns),
        nanos(overhead.envelope_ns)
    )
}

/// The load of which it is most.
fn most(overhead: &Overhead, what: &str, of: Share) -> Option<String> {
    let shares = overhead.shares.iter().filter_map(|share| Some((share, of(share)?)));
    let (share, percent) = shares.max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    let OverheadShare { bus, level, mode, .. } = share;
    Some(format!(
        "It is at most {} % of the processor time of {what} an envelope: at {bus} {level} {mode}.",
        hundredths(percent)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_costs_and_the_largest_share_are_told() {
        let told = sentences(&sample::report());
        assert!(told[0].contains("taking a latency down 120 ns ± 5 %; beside a publish"), "{told:?}");
        assert_eq!(
            told[1],
            "It is at most 10.00 % of the processor time of publishing an envelope: at sqlite low async."
        );
        assert!(told[2].contains("at most 4.00 % of the processor time of consuming"), "{told:?}");
        let unmeasured = BenchReport { overhead: None, ..sample::report() };
        assert!(sentences(&unmeasured).is_empty());
    }

    #[test]
    fn an_open_load_tells_the_rate_where_it_is_most() {
        let told = sentences_of_rates(&sample::open_load());
        // 480 ns of 21 µs.
        assert!(told[1].contains("at most 2.29 % of its processor time"), "{told:?}");
    }
}
