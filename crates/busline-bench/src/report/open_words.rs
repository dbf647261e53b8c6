//! What an open load came to, in words and figures as every form has them.

use super::numbers::{grouped, hundredths, mebibytes, millis};
use crate::latency::Percentiles;
use crate::open_load::{BestRate, OpenReport, RateResult, Rise};

/// What is wrong with each rate that is not sound, in words; nothing of a sound load.
pub(super) fn wrong(report: &OpenReport) -> Vec<String> {
    report.results.iter().filter(|result| !result.is_sound()).map(what_is_wrong).collect()
}

fn what_is_wrong(result: &RateResult) -> String {
    let RateResult { bus, offered_per_s, envelopes, stored_wrong, delivered_wrong, not_acked, .. } = result;
    let stored = ["lost", "doubled", "out of order", "changed or foreign"].into_iter().zip(stored_wrong);
    let delivered = ["not delivered", "delivered again", "delivered out of order"].into_iter().zip(delivered_wrong);
    let counts = stored.chain(delivered).chain([("not acked", not_acked)]);
    let named: Vec<String> =
        counts.filter(|(_, count)| **count > 0).map(|(what, count)| format!("{count} {what}")).collect();
    format!("{bus} at {offered_per_s}/s: {} of {envelopes} envelopes; its speed is left out", named.join(", "))
}

/// That nothing is wrong; for a load of which that is true. `None` without any rate.
pub(super) fn all_is_well(report: &OpenReport) -> Option<String> {
    if report.results.is_empty() {
        return None;
    }
    let envelopes: u64 = report.results.iter().map(|result| result.envelopes).sum();
    let (rates, envelopes) = (report.results.len(), grouped(envelopes as f64));
    Some(format!("All {envelopes} envelopes (rates: {rates}) were stored and delivered once and in order."))
}

/// The highest rate of each bus that held.
pub(super) fn best(report: &OpenReport) -> Vec<String> {
    let level = format!("p99 to the handler ≤ {} ms for {} s", report.slo_ms, report.duration_s);
    let of = |BestRate { bus, per_s }: &BestRate| {
        let highest = |per_s| format!("{}/s is the highest rate that held", grouped(per_s));
        let found = per_s.map_or_else(|| "no rate held".into(), highest);
        format!("{bus}: {found} ({level}, all delivered about when due).")
    };
    report.best.iter().map(of).collect()
}

/// The rates whose changes over time are judged: the sound ones of a soak.
pub(super) fn soaked(report: &OpenReport) -> impl Iterator<Item = &RateResult> {
    report.results.iter().filter(|result| report.soak && result.is_sound())
}

/// How memory, lag and throughput of a rate changed over time, each by its name.
pub(super) fn changes(result: &RateResult) -> [(&'static str, String); 4] {
    let rises = &result.rises;
    let mib = |bytes: f64| format!("{:.2} MiB", bytes / f64::from(1 << 20));
    [
        ("memory held", change(rises.held_bytes, mib)),
        ("resident memory", change(rises.memory_bytes, mib)),
        ("lag", change(rises.lag, |value| format!("{value:.1}"))),
        ("throughput", change(rises.delivered_per_s, |value| format!("{value:.1}/s"))),
    ]
}

fn change(rise: Option<Rise>, form: fn(f64) -> String) -> String {
    let Some(Rise { per_hour, margin, flat }) = rise else { return "too short to tell".into() };
    format!("{}, {} ± {} in an hour", if flat { "flat" } else { "NOT FLAT" }, form(per_hour), form(margin))
}

/// The figures of a rate.
pub(super) struct Shown {
    pub(super) offered: String,
    pub(super) delivered: String,
    pub(super) call_p99: String,
    /// p50 and p99.
    pub(super) ack: [String; 2],
    /// p50, p99 and p99.9.
    pub(super) handler: [String; 3],
    pub(super) cpu: String,
    pub(super) peak: String,
    pub(super) held: &'static str,
}

impl Shown {
    pub(super) fn of(result: &RateResult) -> Self {
        let part =
            |of: Option<Percentiles>, part: fn(&Percentiles) -> f64| of.map_or("-".into(), |it| millis(part(&it)));
        let (ack, handler) = (result.due_to_ack_ms, result.due_to_handler_ms);
        let peak = result.series.iter().map(|point| point.memory_bytes).max().unwrap_or(0);
        Self {
            offered: grouped(result.offered_per_s),
            delivered: result.delivered_per_s.map_or("-".into(), grouped),
            call_p99: part(result.due_to_call_ms, |it| it.p99),
            ack: [part(ack, |it| it.p50), part(ack, |it| it.p99)],
            handler: [part(handler, |it| it.p50), part(handler, |it| it.p99), part(handler, |it| it.p999)],
            cpu: result.cpu_us.map_or("-".into(), hundredths),
            peak: mebibytes(peak),
            held: if result.held { "yes" } else { "no" },
        }
    }
}
