//! An open load as text for people, at most 100 columns wide.

use std::io::{self, Write};

use super::folded::folded;
use super::numbers::grouped;
use super::open_words::{Shown, best, changes, soaked, wrong};
use super::overhead;
use crate::open_load::{OpenReport, RateResult};

/// Writes the report. What was lost, doubled or reordered comes before any speed.
///
/// # Errors
/// Those of `out`.
pub fn write_open_load(report: &OpenReport, out: &mut dyn Write) -> io::Result<()> {
    report.missing().map_or(Ok(()), |missing| folded(out, "", &missing))?;
    wrong(report).iter().try_for_each(|line| writeln!(out, "WRONG: {line}"))?;
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
    let told = best(report).into_iter().chain(soaked(report).map(changes_of));
    told.chain(overhead::sentences_of_rates(report)).try_for_each(|text| folded(out, "", &text))?;
    report.warnings.iter().try_for_each(|warning| folded(out, "warning: ", warning))
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

/// How a rate changed over time, in one sentence.
fn changes_of(result: &RateResult) -> String {
    let told = changes(result).map(|(what, told)| format!("{what}: {told}"));
    format!("{} at {}/s: {}.", result.bus, grouped(result.offered_per_s), told.join("; "))
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
