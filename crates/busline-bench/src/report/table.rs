//! Results as text for people, at most 100 columns wide.

use std::io::{self, Write};

use super::folded::folded;
use super::numbers::{self, grouped, hundredths, mebibytes, median, percent};
use super::tables::{STRATEGIES_NOTE, in_several_ways, twin_note};
use super::wrong::{all_is_well, what_is_wrong};
use super::{against, overhead};
use crate::compare::{Summary, buses};
use crate::contender::backend_of_label;
use crate::result::BenchReport;
use crate::targets::{Bound, Target, Verdict};
use crate::verdict;

/// Writes the report. What was lost, doubled or reordered comes before any speed.
///
/// # Errors
/// Those of `out`.
pub fn write_table(report: &BenchReport, out: &mut dyn Write) -> io::Result<()> {
    soundness(report, out)?;
    against_baseline(report, out)?;
    if report.results.is_empty() {
        writeln!(out, "nothing was measured")?;
    }
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

/// Writes how two processes share a file.
///
/// # Errors
/// Those of `out`.
#[cfg(feature = "sqlite")]
pub fn write_sharing(report: &crate::two_processes::TwoProcessesReport, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{:>7}{:>14}{:>14}{:>8}{:>8}{:>15}{:>17}{:>14}",
        "window", "alone/s", "together/s", "ratio", "share", "longest wait", "alone, ms", "-wal MiB"
    )?;
    for sharing in &report.sharing {
        writeln!(
            out,
            "{:>7}{:>14}{:>14}{:>8.2}{:>8.2}{:>15.1}{:>17.1}{:>14}",
            grouped(sharing.window_envelopes as f64),
            grouped(sharing.alone_per_s.median),
            grouped(sharing.together_per_s.median),
            sharing.ratio.median,
            sharing.smaller_share.median,
            sharing.longest_wait_ms,
            sharing.longest_wait_alone_ms,
            mebibytes(sharing.wal_bytes_max as i64),
        )?;
    }
    folded(
        out,
        "",
        "Two processes publish to one file; every acked envelope was found. Share: of the one that got fewer. Wait: \
         longest time without an ack, in milliseconds, of two and of one alone.",
    )?;
    targets(&report.targets, out)
}

/// Writes what the scenarios came to. What is wrong comes before any figure.
///
/// # Errors
/// Those of `out`.
#[cfg(feature = "sqlite")]
pub fn write_scenarios(report: &crate::scenario::ScenarioReport, out: &mut dyn Write) -> io::Result<()> {
    for result in &report.scenarios {
        result.wrong.iter().try_for_each(|wrong| writeln!(out, "WRONG: {}: {wrong}", result.scenario))?;
    }
    for result in &report.scenarios {
        folded(out, "", &format!("{}: {}", result.scenario, result.settings))?;
        for measure in &result.measures {
            let figure = measure.figure;
            let value = if figure.median >= 1_000.0 { grouped(figure.median) } else { format!("{:.3}", figure.median) };
            writeln!(out, "  {:<60}{value:>12}  ± {:.0} %", measure.what, figure.spread_percent)?;
        }
        targets(&result.targets, out)?;
        writeln!(out, "  others used {:.0} % of the processors meanwhile", result.others_cpu_percent)?;
    }
    Ok(())
}

fn soundness(report: &BenchReport, out: &mut dyn Write) -> io::Result<()> {
    let unsound = report.results.iter().filter(|run| !run.is_sound());
    for run in unsound {
        writeln!(out, "WRONG: {} {} {} run {}: {}", run.bus, run.level, run.mode, run.run, what_is_wrong(run))?;
    }
    if report.is_sound() {
        folded(out, "", &all_is_well(report))?;
    }
    Ok(())
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

fn speeds(summaries: &[&Summary], with_note: bool, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    writeln!(
        out,
        "{:8}{:8}{:>9}{:>9}{:>13}{:>12}{:>7}{:>9}{:>10}{:>8}{:>7}",
        "level",
        "mode",
        "envelopes",
        "payload",
        "accepted/s",
        "acked/s",
        "±",
        "× twin",
        "× premade",
        "CPU µs",
        "× twin"
    )?;
    for summary in summaries {
        writeln!(
            out,
            "{:8}{:8}{:>9}{:>9}{:>13}{:>12}{:>7}{:>9}{:>10}{:>8}{:>7}",
            summary.level,
            summary.mode,
            grouped(summary.envelopes as f64),
            format!("{} B", summary.payload_bytes),
            median(summary.accepted_per_s, grouped),
            median(summary.acked_per_s, grouped),
            summary.acked_per_s.map_or("-".into(), |figure| format!("{:.0} %", figure.spread_percent)),
            median(summary.ratio_acked, hundredths),
            median(summary.ratio_premade, hundredths),
            median(summary.client_cpu_us, hundredths),
            median(summary.ratio_cpu, hundredths),
        )?;
    }
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

fn consuming(summaries: &[&Summary], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    writeln!(out, "{:64}{:>36}", "consuming", "to the handler from the burst's")?;
    writeln!(
        out,
        "{:8}{:8}{:>10}{:>7}{:>7}{:>8}{:>7}{:>9}{:>36}",
        "level", "mode", "consumed/s", "±", "× twin", "CPU µs", "× twin", "both/s", "start, ms: p50, p99, p99.9, max"
    )?;
    for summary in summaries {
        writeln!(
            out,
            "{:8}{:8}{:>10}{:>7}{:>7}{:>8}{:>7}{:>9}{}",
            summary.level,
            summary.mode,
            median(summary.consumed_per_s, grouped),
            summary.consumed_per_s.map_or("-".into(), |figure| format!("{:.0} %", figure.spread_percent)),
            median(summary.ratio_consumed, hundredths),
            median(summary.consume_cpu_us, hundredths),
            median(summary.ratio_consume_cpu, hundredths),
            median(summary.followed_per_s, grouped),
            millis(summary.publish_to_handler_ms),
        )?;
    }
    let (handlers, topics) = summaries.first().map_or((0, 0), |it| (it.handler_concurrency, it.topics));
    folded(
        out,
        "",
        &format!(
            "A group for each of {topics} topics, {handlers} handlers at once on each, which do nothing but check the \
             order. consumed/s: all stored beforehand, from the first at a handler to the last; × twin: one loop that \
             selects, checks and decodes the same rows. both/s: published and consumed at once, in a second burst, \
             whose way to the handler is the one given."
        ),
    )?;
    let joined = summaries.iter().map(|it| it.joined_in_ms).fold(0.0, f64::max);
    writeln!(out, "Joining a group took at most {joined:.0} ms, which is in no figure.")
}

fn resources(summaries: &[&Summary], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    writeln!(
        out,
        "{:8}{:8}{:>8}{:>11}{:>11}{:>12}{:>7}{:>9}{:>13}{:>13}",
        "level",
        "mode",
        "success",
        "peak MiB",
        "held MiB",
        "peak tasks",
        "tasks",
        "threads",
        "descriptors",
        "rec./commit"
    )?;
    for summary in summaries {
        writeln!(
            out,
            "{:8}{:8}{:>8}{:>11}{:>11}{:>12}{:>7}{:>9}{:>13}{:>13}",
            summary.level,
            summary.mode,
            percent(summary.success_percent),
            mebibytes(summary.memory_peak_delta_bytes),
            mebibytes(summary.memory_retained_bytes),
            grouped(summary.peak_tasks as f64),
            summary.leaked.tasks,
            summary.leaked.threads,
            summary.leaked.descriptors,
            summary.transaction_records.map_or("-".into(), |records| format!("{records:.1}")),
        )?;
    }
    let note = "Peak: the worst run, the benchmark's senders among the tasks; held after close: the median; tasks, threads, \
                descriptors: left after close.";
    folded(out, "", note)
}

/// What each way to publish costs and stores, one below the other; nothing where all were published to in one way.
fn strategies(summaries: &[Summary], out: &mut dyn Write) -> io::Result<()> {
    let several = in_several_ways(summaries);
    if several.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{:15}{:28}{:>9}{:>10}{:>8}{:>8}{:>7}{:>7}{:>8}",
        "before, after", "", "success", "acked/s", "p50 ms", "p99 ms", "tasks", "MiB", "CPU µs"
    )?;
    for it in several {
        // A name that is too long has a line of its own.
        let bus = if it.bus.len() > 28 { format!("{}\n{:43}", it.bus, "") } else { it.bus.clone() };
        let [p50, p99] = it.call_to_ack_ms.map_or(["-".into(), "-".into()], |four| [0, 1].map(|at| short(four[at])));
        writeln!(
            out,
            "{:8}{:7}{bus:28}{:>9}{:>10}{:>8}{:>8}{:>7}{:>7}{:>8}",
            it.level,
            it.mode,
            percent(it.success_percent),
            median(it.acked_per_s, grouped),
            p50,
            p99,
            grouped(it.peak_tasks as f64),
            mebibytes(it.memory_peak_delta_bytes),
            median(it.client_cpu_us, |value| format!("{value:.1}")),
        )?;
    }
    folded(out, "", STRATEGIES_NOTE)
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

fn targets(targets: &[Target], out: &mut dyn Write) -> io::Result<()> {
    if !targets.is_empty() {
        writeln!(out)?;
    }
    for target in targets {
        let (sign, bound) = match target.bound {
            Bound::AtLeast(bound) => ("≥", bound),
            Bound::AtMost(bound) => ("≤", bound),
        };
        let spread = target.spread_percent.map_or_else(String::new, |spread| format!(" (± {spread:.0} %)"));
        let verdict = match target.verdict {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::Undecided => "unsure",
        };
        writeln!(out, "{verdict:7}{}: {:.2}{spread}, wanted {sign} {bound}", target.what, target.measured)?;
    }
    Ok(())
}

fn short(millis: f64) -> String {
    if millis < 100.0 { format!("{millis:.2}") } else { format!("{millis:.0}") }
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
        assert!(text.starts_with("all 1,150 envelopes that were accepted (runs: 3)"), "{text}");
        assert!(text.contains("low     async  nats/capped-256                  30 %"), "{text}");
        assert!(text.contains("nats/capped-256 stored 30.0 % of low async at worst and refused the rest"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert!(sample::report_of(sample::strategies()).is_sound());
    }

    #[test]
    fn several_buses_have_a_part_each_and_one_verdict() {
        let text = text(&sample::report_of(sample::duel(&[2.0, 2.2, 1.8, 2.1, 1.9])));
        for part in
            ["\nsqlite, synced × 1, ", "\nnats, written × 1, ", "\nasync, acked/s: at low nats is 2.00 × sqlite"]
        {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
    }
}
