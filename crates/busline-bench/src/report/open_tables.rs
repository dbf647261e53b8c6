//! The tables of an open load, whatever form it is written in.

use super::numbers::grouped;
use super::open_words::{Shown, changes, soaked};
use super::tables::Table;
use crate::open_load::{OpenReport, RateResult};

/// What the buses were run with.
pub(super) fn settings(report: &OpenReport) -> Table {
    let OpenReport { results, topics, window_envelopes, duration_s, slo_ms, .. } = report;
    let first_of_its_bus =
        |(at, result): &(usize, &RateResult)| results[..*at].iter().all(|earlier| earlier.bus != result.bus);
    let row = |(_, result): (usize, &RateResult)| {
        vec![
            result.bus.clone(),
            result.durability.clone(),
            format!("{} B", result.payload_bytes),
            topics.to_string(),
            grouped(*window_envelopes as f64),
            format!("{duration_s} s"),
            format!("{slo_ms} ms"),
        ]
    };
    Table {
        title: "Settings",
        heads: vec!["bus", "acks attest", "payload", "topics", "window", "each rate for", "p99 to the handler within"],
        rows: results.iter().enumerate().filter(first_of_its_bus).map(row).collect(),
    }
}

/// The rates in rising order, with what came of each.
pub(super) fn rates(report: &OpenReport) -> Table {
    let row = |result: &RateResult| {
        let Shown { offered, delivered, call_p99, ack, handler, cpu, peak, held } = Shown::of(result);
        let first = [format!("{offered}/s"), result.bus.clone(), delivered, call_p99];
        first.into_iter().chain(ack).chain(handler).chain([cpu, peak, held.into()]).collect()
    };
    Table {
        title: "Rates",
        heads: vec![
            "offered",
            "bus",
            "delivered/s",
            "call p99 ms",
            "ack p50 ms",
            "ack p99 ms",
            "handler p50 ms",
            "handler p99 ms",
            "handler p99.9 ms",
            "CPU µs",
            "peak MiB",
            "held",
        ],
        rows: rising(report.results.iter()).into_iter().map(row).collect(),
    }
}

/// How memory, lag and throughput changed over time; none unless that is judged.
pub(super) fn flatness(report: &OpenReport) -> Option<Table> {
    let rising = rising(soaked(report));
    let names = changes(rising.first()?).map(|(name, _)| name);
    let row = |result: &RateResult| {
        let first = [format!("{}/s", grouped(result.offered_per_s)), result.bus.clone()];
        first.into_iter().chain(changes(result).map(|(_, told)| told)).collect()
    };
    Some(Table {
        title: "Whether it stays flat",
        heads: ["offered", "bus"].into_iter().chain(names).collect(),
        rows: rising.into_iter().map(row).collect(),
    })
}

/// In the order of their rates, those of one rate as they were run.
fn rising<'r>(results: impl Iterator<Item = &'r RateResult>) -> Vec<&'r RateResult> {
    let mut results: Vec<&RateResult> = results.collect();
    results.sort_by(|one, other| one.offered_per_s.total_cmp(&other.offered_per_s));
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn rates_rise_however_they_were_tried_and_each_bus_has_its_settings_once() {
        let mut report = sample::open_load();
        report.results.reverse();
        let firsts = |table: Table| table.rows.into_iter().map(|row| row[0].clone()).collect::<Vec<_>>();
        assert_eq!(firsts(rates(&report)), ["1,000/s", "2,000/s"]);
        assert_eq!(firsts(settings(&report)), ["sqlite"]);
    }

    #[test]
    fn only_a_soak_says_what_stays_flat() {
        let table = flatness(&sample::open_load()).expect("a soak");
        assert_eq!(table.rows.len(), 1, "what lost something is left out");
        assert_eq!(table.rows[0][2], "flat, 0.48 MiB ± 1.91 MiB in an hour");
        assert_eq!(table.heads.len(), table.rows[0].len());
        assert!(flatness(&OpenReport { soak: false, ..sample::open_load() }).is_none());
    }
}
