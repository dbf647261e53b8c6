//! An open load as text for people, at most 100 columns wide.

use std::io::{self, Write};

use super::folded::folded;
use super::numbers::{grouped, hundredths, mebibytes, millis};
use super::overhead;
use crate::latency::Percentiles;
use crate::open_load::{BestRate, OpenReport, RateResult, Rise};

/// Writes the report. What was lost, doubled or reordered comes before any speed.
///
/// # Errors
/// Those of `out`.
pub fn write_open_load(report: &OpenReport, out: &mut dyn Write) -> io::Result<()> {
    let wrong = report.results.iter().filter(|result| !result.is_sound());
    wrong.map(what_is_wrong).try_for_each(|line| writeln!(out, "{line}"))?;
    let machine = &report.header.machine;
    writeln!(out, "{} × {}, {}, {}", machine.processors, machine.processor, machine.system, machine.file_system)?;
    writeln!(
        out,
        "{:8}{:>11}{:>13}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>9}  held",
        "bus", "offered/s", "delivered/s", "late p99", "ack p50", "ack p99", "hdl p50", "hdl p99", "CPU µs", "peak MiB"
    )?;
    report.results.iter().try_for_each(|result| line(result, out))?;
    folded(
        out,
        "",
        "Milliseconds from the time an envelope was due: late: to the call of publish, the 1 ms of the timer included; \
         ack: to the ack; hdl: to the handler. Peak: of resident memory, while it ran.",
    )?;
    report.best.iter().try_for_each(|best| folded(out, "", &best_of(report, best)))?;
    if report.soak {
        let sound = report.results.iter().filter(|result| result.is_sound());
        sound.map(changes_of).try_for_each(|text| folded(out, "", &text))?;
    }
    overhead::sentences_of_rates(report).iter().try_for_each(|text| folded(out, "", text))?;
    report.warnings.iter().try_for_each(|warning| folded(out, "warning: ", warning))
}

/// The highest rate of a bus that held, in words.
pub(super) fn best_of(report: &OpenReport, BestRate { bus, per_s }: &BestRate) -> String {
    let level = format!("p99 to the handler ≤ {} ms for {} s", report.slo_ms, report.duration_s);
    let found = per_s
        .map_or_else(|| "no rate held".into(), |per_s| format!("{}/s is the highest rate that held", grouped(per_s)));
    format!("{bus}: {found} ({level}, all delivered about when due).")
}

/// What is wrong with a rate, in words.
pub(super) fn what_is_wrong(result: &RateResult) -> String {
    let RateResult { bus, offered_per_s, envelopes, stored_wrong, delivered_wrong, not_acked, .. } = result;
    let stored = ["lost", "doubled", "out of order", "changed or foreign"].into_iter().zip(stored_wrong);
    let delivered = ["not delivered", "delivered again", "delivered out of order"].into_iter().zip(delivered_wrong);
    let counts = stored.chain(delivered).chain([("not acked", not_acked)]);
    let named: Vec<String> =
        counts.filter(|(_, count)| **count > 0).map(|(what, count)| format!("{count} {what}")).collect();
    format!("WRONG: {bus} at {offered_per_s}/s: {} of {envelopes} envelopes; its speed is left out", named.join(", "))
}

/// The figures of a rate as they are written in every form.
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

fn line(result: &RateResult, out: &mut dyn Write) -> io::Result<()> {
    let Shown { offered, delivered, call_p99, ack, handler, cpu, peak, held } = Shown::of(result);
    let ([ack_p50, ack_p99], [handler_p50, handler_p99, _]) = (ack, handler);
    writeln!(
        out,
        "{:8}{offered:>11}{delivered:>13}{call_p99:>9}{ack_p50:>9}{ack_p99:>9}{handler_p50:>9}{handler_p99:>9}{cpu:>8}\
         {peak:>9}  {held}",
        result.bus
    )
}

/// How memory, lag and throughput of a rate changed over time, in words.
pub(super) fn changes_of(result: &RateResult) -> String {
    let told = |what: &str, rise: Option<Rise>, form: fn(f64) -> String| {
        let Some(Rise { per_hour, margin, flat }) = rise else { return format!("{what}: too short to say") };
        let verdict = if flat { "flat" } else { "NOT FLAT" };
        format!("{what}: {verdict}, {} ± {} in an hour", form(per_hour), form(margin))
    };
    let mib = |bytes: f64| format!("{:.2} MiB", bytes / f64::from(1 << 20));
    let text = [
        told("memory held", result.rises.held_bytes, mib),
        told("resident memory", result.rises.memory_bytes, mib),
        told("lag", result.rises.lag, |value| format!("{value:.1}")),
        told("throughput", result.rises.delivered_per_s, |value| format!("{value:.1}/s")),
    ];
    format!("{} at {}/s: {}.", result.bus, grouped(result.offered_per_s), text.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::folded::COLUMNS;
    use crate::report::sample;

    #[test]
    fn what_is_wrong_comes_first_and_slopes_are_judged() {
        let mut out = Vec::new();
        write_open_load(&sample::open_load(), &mut out).expect("memory takes all");
        let text = String::from_utf8(out).expect("text");
        let first = text.lines().next().expect("a line");
        assert_eq!(first, "WRONG: sqlite at 2000/s: 3 lost, 1 out of order of 10000 envelopes; its speed is left out");
        for part in [
            "sqlite: 1,000/s is the highest rate that held (p99 to the handler ≤ 50 ms for 10 s",
            "memory held: flat, 0.48 MiB ± 1.91 MiB in an hour; resident memory: flat, 0.95 MiB ± 1.91 MiB in an hour",
            "lag: NOT FLAT, 3000000.0 ± 2000000.0 in an hour",
        ] {
            assert!(text.replace('\n', " ").contains(part), "{part} in {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
    }
}
