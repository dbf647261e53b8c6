//! Results that were recorded before, reported as one.
//!
//! What one command measures is bounded by patience, not by what there is to know: modes, strategies, headers and streams
//! make more combinations than anybody waits for. So several commands may measure a part each, on one machine and one
//! after the other, and their results make one report. The runs of each file go on counting behind those of the files
//! before it: ratios between buses are of runs with the same number, and so of one command.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::header::Header;
use crate::request::BenchRequest;
use crate::result::{BenchReport, RunResult};
use crate::result_file;
use crate::run::{conclude, write};

/// Reads the results of these files, in their order, makes one report of them, and writes it to the files that the request
/// names. Nothing of the request is used but those.
///
/// # Errors
/// A file that is no result of levels and modes of this schema; files that were measured by another version, on another
/// machine or on other servers; a load that was measured in different ways; two files that each have a baseline; a report
/// that cannot be written.
pub fn report_recorded(files: &[PathBuf], request: &BenchRequest) -> Result<BenchReport> {
    let (first, further) = files.split_first().context("no results are named")?;
    let mut report = read(first)?;
    for file in further {
        let refused = || format!("{} and {} make no one report", first.display(), file.display());
        join(&mut report, read(file)?).with_context(refused)?;
    }
    let others = report.results.iter().map(|run| run.others_cpu_percent / 100.0).sum::<f64>();
    let runs = report.results.len() as f64;
    conclude(&mut report, others / runs);
    write(request, &report)?;
    Ok(report)
}

fn read(file: &Path) -> Result<BenchReport> {
    let text = result_file::text(file, "the results")?;
    let report: BenchReport =
        serde_json::from_str(&text).with_context(|| format!("read the results {}", file.display()))?;
    ensure!(!report.results.is_empty(), "the results {} hold no run", file.display());
    Ok(report)
}

/// Puts the runs of one more file behind those that are there.
fn join(report: &mut BenchReport, next: BenchReport) -> Result<()> {
    join_headers(&mut report.header, next.header)?;
    let made = report.results.iter().map(|run| run.run).max().unwrap_or(0);
    for run in &next.results {
        let same = report.results.iter().find(|it| (&it.bus, it.level, it.mode) == (&run.bus, run.level, run.mode));
        same.map_or(Ok(()), |same| measured_alike(same, run))?;
    }
    report.results.extend(next.results.into_iter().map(|run| RunResult { run: made + run.run, ..run }));
    report.extent.runs_asked = report.extent.runs_asked.zip(next.extent.runs_asked).map(|(all, more)| all + more);
    report.extent.interrupted |= next.extent.interrupted;
    match (&report.baseline, next.baseline) {
        (Some(_), Some(_)) => bail!("both are compared with a baseline: leave one of them out"),
        (None, baseline @ Some(_)) => report.baseline = baseline,
        _ => {}
    }
    Ok(())
}

fn join_headers(header: &mut Header, next: Header) -> Result<()> {
    let (version, other) = (&header.version, &next.version);
    ensure!(*version == next.version, "version {version} measured one, and version {other} the other");
    ensure!(header.machine == next.machine, "they were measured on different machines");
    for server in next.servers {
        let known = header.servers.iter().filter(|known| name(known) == name(&server)).collect::<Vec<_>>();
        if known.is_empty() {
            header.servers.push(server);
        } else {
            ensure!(known.contains(&&server), "one was measured on {}, the other on {server}", known[0]);
        }
    }
    header.command = format!("{}\n{}", header.command, next.command);
    Ok(())
}

/// The bus and the fact of a line such as `nats: server: nats-server 2.15.1`.
fn name(server: &str) -> Option<(&str, &str)> {
    let (bus, rest) = server.split_once(": ")?;
    Some((bus, rest.split_once(": ")?.0))
}

/// Medians of runs that were not measured alike would be of nothing.
fn measured_alike(one: &RunResult, other: &RunResult) -> Result<()> {
    let shape = |run: &RunResult| {
        let RunResult { envelopes, payload_bytes, topics, aggregates, senders, window_envelopes, .. } = run;
        (*envelopes, *payload_bytes, *topics, *aggregates, *senders, *window_envelopes)
    };
    let RunResult { bus, level, mode, .. } = one;
    ensure!(
        shape(one) == shape(other),
        "{bus} {level} {mode} was measured with other payloads, topics, senders or windows: measure it alike"
    );
    ensure!(
        one.durability == other.durability,
        "{bus} {level} {mode} attested {} in one and {} in the other",
        one.durability,
        other.durability
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{json, sample};
    use crate::side_by_side::{Speed, ratio};
    use crate::workload::{Level, Mode};

    /// What these reports make together.
    fn together(reports: &[BenchReport]) -> Result<BenchReport> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |(number, report): (usize, &BenchReport)| {
            let file = folder.path().join(format!("{number}.json"));
            json::write(&file, report).expect("written");
            file
        };
        let files: Vec<PathBuf> = reports.iter().enumerate().map(file).collect();
        let html = folder.path().join("all.html");
        let request = BenchRequest { html: Some(html.clone()), ..BenchRequest::default() };
        let report = report_recorded(&files, &request)?;
        assert!(html.is_file(), "the page is written");
        Ok(report)
    }

    #[test]
    fn one_file_is_reported_as_it_was() {
        let report = sample::report_of(sample::duel(&[2.0, 2.2, 1.8]));
        let again = together(std::slice::from_ref(&report)).expect("one report");
        assert_eq!((again.results, again.summaries), (report.results, report.summaries));
        assert_eq!(again.header, report.header);
    }

    #[test]
    fn runs_go_on_counting_and_ratios_are_of_one_file() {
        let (early, late) = (sample::report_of(sample::duel(&[2.0, 4.0])), sample::report_of(sample::duel(&[8.0])));
        let report = together(&[early.clone(), late]).expect("one report");
        let load = (Level::Low, Mode::Async);
        let found = ratio(&report.results, load, Speed::Acked, ("nats", "sqlite")).expect("pairs");
        assert_eq!((found.smallest, found.median, found.largest, found.runs), (2.0, 4.0, 8.0, 3));
        let runs: Vec<u32> = report.results.iter().filter(|run| run.bus == "nats").map(|run| run.run).collect();
        assert_eq!(runs, [1, 2, 3]);
        assert_eq!(report.header.command, format!("{0}\n{0}", early.header.command));
        assert_eq!(report.header.servers, early.header.servers);
    }

    #[test]
    fn what_was_interrupted_stays_so() {
        let whole = sample::report_of(sample::duel(&[2.0]));
        let mut cut = whole.clone();
        cut.extent.interrupted = true;
        assert!(together(&[whole.clone(), whole.clone()]).expect("one report").is_whole());
        assert!(!together(&[whole, cut]).expect("one report").is_whole());
    }

    #[track_caller]
    fn refused(change: impl Fn(&mut BenchReport), wanted: &str) {
        let report = sample::report_with_baseline();
        let mut other = BenchReport { baseline: None, ..report.clone() };
        change(&mut other);
        let error = format!("{:#}", together(&[report, other]).expect_err("refused"));
        assert!(error.contains(wanted), "{wanted} in {error}");
    }

    #[test]
    fn what_makes_no_one_report_is_refused_by_name() {
        refused(|it| it.header.version = "9.9.9".into(), "and version 9.9.9 the other");
        refused(|it| it.header.machine.processors = 64, "on different machines");
        refused(|it| it.results[0].senders += 1, "with other payloads, topics, senders or windows");
        refused(|it| it.results[0].durability = "written × 1".into(), "written × 1 in the other");
        refused(|it| it.results.clear(), "hold no run");
        refused(|it| it.header.schema = 99, "has schema 99");
        refused(|it| it.baseline = sample::report_with_baseline().baseline, "leave one of them out");
        let on_other = |it: &mut BenchReport| {
            for server in &mut it.header.servers {
                *server = server.replace("server: ", "server: another ");
            }
        };
        let (one, mut other) = (sample::report_of(sample::duel(&[2.0])), sample::report_of(sample::duel(&[2.0])));
        on_other(&mut other);
        let told = format!("{:#}", together(&[one, other]).expect_err("refused"));
        assert!(told.contains("one was measured on nats: server: "), "{told}");
    }
}
