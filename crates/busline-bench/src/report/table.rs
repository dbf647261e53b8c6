//! Results as text for people, at most 100 columns wide.

use std::io::{self, Write};

use super::columns::Column::{self, Left, Right};
use super::columns::{heads, row};
use super::folded::folded;
use super::numbers::{self, grouped, hundredths, mebibytes, median, percent};
use super::soundness::{all_is_well, wrong};
use super::tables::twin_note;
use super::target_lines::targets;
use super::way_lines::strategies;
use super::{against, overhead};
use crate::compare::{Figure, Summary, buses};
use crate::contender::backend_of_label;
use crate::result::BenchReport;
use crate::verdict;

/// Writes the report. What was lost, doubled or reordered comes before any speed.
///
/// # Errors
/// Those of `out`.
pub fn write_table(report: &BenchReport, out: &mut dyn Write) -> io::Result<()> {
    report.missing().map_or(Ok(()), |missing| folded(out, "", &missing))?;
    soundness(report, out)?;
    against_baseline(report, out)?;
    for (place, bus) in buses(&report.summaries).into_iter().enumerate() {
        if place > 0 {
            writeln!(out)?;
        }
        let own: Vec<&Summary> = report.summaries.iter().filter(|it| it.bus == bus).collect();
        settings(report, bus, out)?;
        speeds(&own, is_first_of_backend(report, bus), out)?;
        latencies(&own, out)?;
        consuming(&own, out)?;
        resources(&own, out)?;
    }
    strategies(&report.summaries, out)?;
    verdicts(report, out)?;
    overheads(report, out)?;
    targets(&report.targets, out)?;
    if !report.warnings.is_empty() {
        writeln!(out)?;
    }
    report.warnings.iter().try_for_each(|warning| folded(out, "warning: ", warning))
}

fn soundness(report: &BenchReport, out: &mut dyn Write) -> io::Result<()> {
    wrong(report).iter().try_for_each(|line| writeln!(out, "WRONG: {line}"))?;
    if report.is_sound() { all_is_well(report).map_or(Ok(()), |told| folded(out, "", &told)) } else { Ok(()) }
}

/// What got worse, in front of all figures.
fn against_baseline(report: &BenchReport, out: &mut dyn Write) -> io::Result<()> {
    let sentences = report.baseline.as_ref().map_or_else(Vec::new, against::sentences);
    sentences.iter().try_for_each(|sentence| folded(out, "baseline: ", sentence))
}

fn settings(report: &BenchReport, bus: &str, out: &mut dyn Write) -> io::Result<()> {
    let Some(first) = report.results.iter().find(|run| run.bus == bus) else { return Ok(()) };
    let machine = &report.header.machine;
    let text = format!(
        "{}, {}, window {} envelopes, linger 0, {} topics of 4 partitions, runs: {}, medians",
        first.bus,
        first.durability,
        grouped(first.window_envelopes as f64),
        first.topics,
        report.summaries.iter().filter(|it| it.bus == bus).map(|it| it.runs).max().unwrap_or(0)
    );
    folded(out, "", &text)?;
    writeln!(out, "{} × {}, {}, {}", machine.processors, machine.processor, machine.system, machine.file_system)
}

/// Whether no bus of the same backend stands before this one, so that what all of them share is said once.
fn is_first_of_backend(report: &BenchReport, bus: &str) -> bool {
    let backend = backend_of_label(bus);
    buses(&report.summaries).into_iter().find(|other| backend_of_label(other) == backend) == Some(bus)
}

const SPEEDS: [Column; 11] = [
    Left("level", 8),
    Left("mode", 8),
    Right("envelopes", 9),
    Right("payload", 9),
    Right("accepted/s", 13),
    Right("acked/s", 12),
    Right("±", 7),
    Right("× twin", 9),
    Right("× premade", 10),
    Right("CPU µs", 8),
    Right("× twin", 7),
];

fn speeds(summaries: &[&Summary], with_note: bool, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    heads(&SPEEDS, out)?;
    let cells = |it: &Summary| {
        [
            it.level.to_string(),
            it.mode.to_string(),
            grouped(it.envelopes as f64),
            format!("{} B", it.payload_bytes),
            median(it.accepted_per_s, grouped),
            median(it.acked_per_s, grouped),
            spread(it.acked_per_s),
            median(it.ratio_acked, hundredths),
            median(it.ratio_premade, hundredths),
            median(it.client_cpu_us, hundredths),
            median(it.ratio_cpu, hundredths),
        ]
    };
    summaries.iter().try_for_each(|it| row(&SPEEDS, cells(it), out))?;
    if !with_note {
        return Ok(());
    }
    let twin = summaries.first().and_then(|it| twin_note(&it.bus)).map_or_else(String::new, |note| format!("{note} "));
    folded(out, "", &format!("{twin}accepted/s has no meaning where a call waits for its ack."))
}

fn latencies(summaries: &[&Summary], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    writeln!(
        out,
        "{:15}{:>38}{:>38}",
        "to the ack, ms", "from the intended time: burst start", "from the call of publish"
    )?;
    let heads = ["p50", "p99", "p99.9", "max"].map(|head| format!("{head:>9}")).concat();
    writeln!(out, "{:8}{:8} {heads}  {heads}{:>9}", "level", "mode", "× twin")?;
    for summary in summaries {
        writeln!(
            out,
            "{:8}{:8} {}  {}{:>9}",
            summary.level,
            summary.mode,
            millis(summary.publish_to_ack_ms),
            millis(summary.call_to_ack_ms),
            median(summary.ratio_p50, hundredths),
        )?;
    }
    folded(out, "", "× twin: p50 from the call ÷ that of the native client alone, in mode sync.")
}

const CONSUMING: [Column; 9] = [
    Left("level", 8),
    Left("mode", 8),
    Right("consumed/s", 10),
    Right("±", 7),
    Right("× twin", 7),
    Right("CPU µs", 8),
    Right("× twin", 7),
    Right("both/s", 9),
    Right("start, ms: p50, p99, p99.9, max", 36),
];

fn consuming(summaries: &[&Summary], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{:64}{:>36}", "consuming", "to the handler from the burst's")?;
    heads(&CONSUMING, out)?;
    let cells = |it: &Summary| {
        [
            it.level.to_string(),
            it.mode.to_string(),
            median(it.consumed_per_s, grouped),
            spread(it.consumed_per_s),
            median(it.ratio_consumed, hundredths),
            median(it.consume_cpu_us, hundredths),
            median(it.ratio_consume_cpu, hundredths),
            median(it.followed_per_s, grouped),
            millis(it.publish_to_handler_ms),
        ]
    };
    summaries.iter().try_for_each(|it| row(&CONSUMING, cells(it), out))?;
    let (handlers, topics) = summaries.first().map_or((0, 0), |it| (it.handler_concurrency, it.topics));
    let note = format!(
        "A group for each of {topics} topics, {handlers} handlers at once on each, which do nothing but check the order. \
         consumed/s: all stored beforehand, from the first at a handler to the last, without the time between two topics; \
         × twin: one loop that selects, checks and decodes the same rows. both/s: published and consumed at once, in a second burst, whose way to the \
         handler is the one given."
    );
    folded(out, "", &note)?;
    let joined = summaries.iter().map(|it| it.joined_in_ms).fold(0.0, f64::max);
    writeln!(out, "Joining a group took at most {joined:.0} ms, which is in no figure.")
}

const RESOURCES: [Column; 10] = [
    Left("level", 8),
    Left("mode", 8),
    Right("success", 8),
    Right("peak MiB", 11),
    Right("held MiB", 11),
    Right("peak tasks", 12),
    Right("tasks", 7),
    Right("threads", 9),
    Right("descriptors", 13),
    Right("rec./commit", 13),
];

const RESOURCES_NOTE: &str = "Peak: the worst run, the benchmark's senders among the tasks; held after close: the median; \
                              tasks, threads, descriptors: left after close.";

fn resources(summaries: &[&Summary], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    heads(&RESOURCES, out)?;
    let cells = |it: &Summary| {
        [
            it.level.to_string(),
            it.mode.to_string(),
            percent(it.success_percent),
            mebibytes(it.memory_peak_delta_bytes),
            mebibytes(it.memory_retained_bytes),
            grouped(it.peak_tasks as f64),
            it.leaked.tasks.to_string(),
            it.leaked.threads.to_string(),
            it.leaked.descriptors.to_string(),
            it.transaction_records.map_or("-".into(), |records| format!("{records:.1}")),
        ]
    };
    summaries.iter().try_for_each(|it| row(&RESOURCES, cells(it), out))?;
    folded(out, "", RESOURCES_NOTE)
}

fn verdicts(report: &BenchReport, out: &mut dyn Write) -> io::Result<()> {
    let sentences = verdict::sentences(report);
    if !sentences.is_empty() {
        writeln!(out)?;
    }
    sentences.iter().try_for_each(|sentence| folded(out, "", sentence))
}

fn overheads(report: &BenchReport, out: &mut dyn Write) -> io::Result<()> {
    let told = overhead::sentences(report);
    if !told.is_empty() {
        writeln!(out)?;
        folded(out, "", &told.join(" "))?;
    }
    Ok(())
}

fn spread(figure: Option<Figure>) -> String {
    figure.map_or("-".into(), |figure| format!("{:.0} %", figure.spread_percent))
}

fn millis(four: Option<[f64; 4]>) -> String {
    let form = |value| format!("{:>9}", numbers::millis(value));
    four.map_or_else(|| format!("{:>9}", "-").repeat(4), |four| four.map(form).concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::summarize;
    use crate::report::folded::COLUMNS;
    use crate::report::sample;
    use crate::workload::Level;

    fn text(report: &BenchReport) -> String {
        let mut out = Vec::new();
        write_table(report, &mut out).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_table_fits_100_columns() {
        let mut report = sample::report();
        let largest = &mut report.results[0];
        largest.level = Level::Flood;
        (largest.envelopes, largest.delivered) = (1_000_000, 1_000_000);
        largest.payload_bytes = 900_000;
        report.summaries = summarize(&report.results);
        report.targets = crate::targets::judge(&report.summaries);
        let text = text(&report);
        insta::assert_snapshot!(text);
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
    }

    #[test]
    fn what_is_wrong_comes_first_and_has_no_speed() {
        let mut report = sample::report();
        let run = &mut report.results[0];
        (run.lost, run.order_violations, run.success_percent) = (2, 1, 99.6);
        (run.acked_per_s, run.accepted_per_s) = (None, None);
        report.summaries = summarize(&report.results);
        let text = text(&report);
        assert!(text.starts_with("WRONG: sqlite low async run 1: 2 lost, 1 out of order of 500"), "{text}");
        assert!(!text.contains("200,000"), "{text}");
        assert!(!report.is_sound());
    }

    #[test]
    fn what_handlers_did_not_get_is_wrong_too() {
        let mut report = sample::report();
        let run = &mut report.results[0];
        (run.delivered, run.redelivered, run.handler_order_violations) = (499, 3, 2);
        let text = text(&report);
        let wanted = "run 1: 1 not delivered, 3 delivered again, 2 delivered out of order of 500";
        assert!(text.starts_with("WRONG: ") && text.contains(wanted), "{text}");
        assert!(!report.is_sound());
    }

    #[test]
    fn ways_to_publish_stand_below_each_other_and_a_refusal_is_no_fault() {
        let text = text(&sample::report_of(sample::strategies()));
        assert!(text.starts_with("All 1,150 envelopes that were accepted (runs: 3)"), "{text}");
        assert!(text.contains("low     async  nats/capped-256                  30 %"), "{text}");
        assert!(text.contains("nats/capped-256 stored 30.0 % of low async at worst and refused the rest"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert!(sample::report_of(sample::strategies()).is_sound());
    }

    #[test]
    fn several_buses_have_a_part_each_and_one_verdict() {
        let text = text(&sample::report_of(sample::duel(&[2.0, 2.2, 1.8, 2.1, 1.9])));
        for part in [
            "\nsqlite, synced × 1, ",
            "\nnats, written × 1, ",
            "\nasync, acked/s: nats is the fastest at low: 2.00 × sqlite",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
    }
}
