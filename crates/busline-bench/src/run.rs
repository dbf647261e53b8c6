//! The benchmark from request to report: each run of the bus with its twins directly behind it.

use std::sync::Arc;

use anyhow::Result;

use crate::baseline::{self, BaselineReport, Earlier};
use crate::beside::run_twins;
use crate::burst_run::{ReadFirst, measure};
use crate::compare::summarize;
use crate::connect::{ByUrl, Connect};
use crate::contender::{Contender, in_all_ways, turn};
use crate::durability;
use crate::extent::Extent;
use crate::header::Header;
use crate::measure::Load;
use crate::overhead::Overhead;
use crate::progress::Progress;
use crate::report::{html, json, markdown, replace};
use crate::request::BenchRequest;
use crate::request_line::command;
use crate::result::{BenchReport, RunResult};
use crate::run_result::result_of;
use crate::targets;
use crate::warnings;
use crate::workload::{Level, Mode, Workload};

/// Runs the benchmark.
///
/// Blocks, and builds a runtime of its own for each run, so that what a run leaves behind can be counted: call it from
/// outside every runtime. While it runs nothing else in the process should start threads or open files.
///
/// # Errors
/// A request that contradicts itself; a bus that cannot be opened; results that cannot be written. A run that lost
/// something is no error: see [`BenchReport::is_sound`].
pub fn run(request: &BenchRequest, progress: &mut dyn Progress) -> Result<BenchReport> {
    run_on(request, &(Arc::new(ByUrl) as Arc<dyn Connect>), progress)
}

/// The same, on buses that `connect` opens: to measure what stands in front of a driver, and to see a broken one refused.
///
/// # Errors
/// Those of [`run`].
pub fn run_on(request: &BenchRequest, connect: &Arc<dyn Connect>, progress: &mut dyn Progress) -> Result<BenchReport> {
    request.validate()?;
    let earlier = request.baseline.as_deref().map(Earlier::read).transpose()?;
    let buses = in_all_ways(request, connect)?;
    request.wanted().map_or(Ok(()), |wanted| durability::check(&buses, wanted))?;
    let load = Load::now()?;
    let pairs: Vec<(Level, Mode)> =
        request.levels.iter().flat_map(|level| request.modes.iter().map(move |mode| (*level, *mode))).collect();
    let loads = (pairs.len() * buses.len()) as u64;
    let mut report = BenchReport {
        header: Header::of(command(request), &request.buses, &buses)?,
        extent: Extent::of(loads * u64::from(request.runs)),
        results: Vec::new(),
        summaries: Vec::new(),
        targets: Vec::new(),
        warnings: Vec::new(),
        overhead: Some(Overhead::measure()?),
        baseline: None,
    };
    progress.begin(loads * (1 + u64::from(request.runs)));
    'all: for (level, mode) in pairs {
        for bus in &buses {
            if progress.is_cancelled() {
                report.extent.interrupted = true;
                break 'all;
            }
            progress.step(&format!("{level} {mode} {}: warm-up", bus.label));
            measure(bus, &warm_up(level, mode, request)?.with_headers(bus.variant.headers), ReadFirst::Bus)?;
        }
        let workload = Workload::new(level, mode, &request.shape())?;
        for run in 1..=request.runs {
            for bus in turn(&buses, run) {
                if progress.is_cancelled() {
                    report.extent.interrupted = true;
                    break 'all;
                }
                progress.step(&format!("{level} {mode} {}: run {run} of {}", bus.label, request.runs));
                report.results.push(run_once(bus, &workload, run)?);
                conclude(&mut report, load.others_since()?);
                report.baseline = earlier.as_ref().map(|earlier| beside(earlier, &report, request));
                write(request, &report)?;
            }
        }
    }
    progress.end();
    if report.extent.interrupted {
        write(request, &report)?;
    }
    Ok(report)
}

/// One run of one bus, and its twins directly behind it.
fn run_once(bus: &Contender, workload: &Workload, run: u32) -> Result<RunResult> {
    let workload = &workload.clone().with_headers(bus.variant.headers);
    let load = Load::now()?;
    let first = if run % 2 == 1 { ReadFirst::Bus } else { ReadFirst::Twin };
    let measured = measure(bus, workload, first)?;
    let twins = run_twins(&bus.place, workload, &measured)?;
    let others_cpu_percent = load.others_since()? * 100.0;
    Ok(RunResult { others_cpu_percent, ..result_of(bus, workload, run, &measured, twins) })
}

/// Writes the report to each file that the request names.
pub(crate) fn write(request: &BenchRequest, report: &BenchReport) -> Result<()> {
    request.json.as_ref().map_or(Ok(()), |file| json::write(file, report))?;
    request.markdown.as_ref().map_or(Ok(()), |file| replace(file, markdown::render(report).as_bytes()))?;
    request.html.as_ref().map_or(Ok(()), |file| replace(file, html::render(report).as_bytes()))
}

/// As many envelopes as bring everything into use; a flood's own number would only take longer.
fn warm_up(level: Level, mode: Mode, request: &BenchRequest) -> Result<Workload> {
    let envelopes = level.envelopes().min(Level::Surge.envelopes());
    Workload::of_size(level, mode, envelopes, &request.shape())
}

/// What follows from the results; `others` is the share of all processors that other processes used meanwhile.
pub(crate) fn conclude(report: &mut BenchReport, others: f64) {
    report.summaries = summarize(&report.results);
    report.targets = targets::judge(&report.summaries);
    report.warnings = warnings::of(&report.header.machine, &report.summaries, others);
    report.overhead = report.overhead.take().map(|overhead| overhead.of(&report.summaries));
    report.warnings.extend(warnings::of_standstills(&report.results));
    report.warnings.extend(warnings::of_durability(&report.results));
}

fn beside(earlier: &Earlier, report: &BenchReport, request: &BenchRequest) -> BaselineReport {
    baseline::compare(earlier, &report.header.machine, &report.results, request.tolerance_percent)
}
