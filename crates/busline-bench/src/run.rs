//! The benchmark from request to report: each run of the bus with its twins directly behind it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::baseline::{self, BaselineReport, Earlier};
use crate::burst_run::{Measured, ReadFirst, Reading, measure, runtime};
use crate::compare::summarize;
use crate::connect::{ByUrl, Connect};
use crate::consuming::concurrency_of;
use crate::contender::{Contender, in_all_ways, turn};
use crate::durability;
use crate::header::Header;
use crate::measure::Load;
use crate::overhead::Overhead;
use crate::place::Place;
#[cfg(any(feature = "nats", feature = "kafka"))]
use crate::place::Stage;
use crate::report::{html, json, markdown, replace};
use crate::request::BenchRequest;
use crate::request_line::command;
use crate::result::{BenchReport, Histograms, PremadeResult, RunResult, TwinResult, percent_of};
use crate::targets;
#[cfg(any(feature = "sqlite", feature = "nats", feature = "kafka"))]
use crate::twin::{Bodies, TwinRun};
use crate::warnings;
use crate::workload::{Level, Mode, Workload};

/// Who is told how far a benchmark is.
pub trait Progress {
    /// It begins, and has so many steps.
    fn begin(&mut self, steps: u64);

    /// A step begins.
    fn step(&mut self, what: &str);

    /// All steps are done, or no more follow.
    fn end(&mut self);

    /// Whether to end early: the report then holds what was measured until then.
    fn is_cancelled(&self) -> bool;
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&mut self, _steps: u64) {}

    fn step(&mut self, _what: &str) {}

    fn end(&mut self) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

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
    let mut report = BenchReport {
        header: Header::of(command(request), &request.buses, &buses)?,
        results: Vec::new(),
        summaries: Vec::new(),
        targets: Vec::new(),
        warnings: Vec::new(),
        overhead: Some(Overhead::measure()?),
        baseline: None,
    };
    let pairs: Vec<(Level, Mode)> =
        request.levels.iter().flat_map(|level| request.modes.iter().map(move |mode| (*level, *mode))).collect();
    progress.begin((pairs.len() * buses.len()) as u64 * (1 + u64::from(request.runs)));
    'all: for (level, mode) in pairs {
        for bus in &buses {
            progress.step(&format!("{level} {mode} {}: warm-up", bus.label));
            measure(bus, &warm_up(level, mode, request)?.with_headers(bus.variant.headers), ReadFirst::Bus)?;
        }
        let workload = Workload::new(level, mode, &request.shape())?;
        for run in 1..=request.runs {
            for bus in turn(&buses, run) {
                if progress.is_cancelled() {
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

fn write(request: &BenchRequest, report: &BenchReport) -> Result<()> {
    request.json.as_ref().map_or(Ok(()), |file| json::write(file, report))?;
    request.markdown.as_ref().map_or(Ok(()), |file| replace(file, markdown::render(report).as_bytes()))?;
    request.html.as_ref().map_or(Ok(()), |file| replace(file, html::render(report).as_bytes()))
}

/// As many envelopes as bring everything into use; a flood's own number would only take longer.
fn warm_up(level: Level, mode: Mode, request: &BenchRequest) -> Result<Workload> {
    let envelopes = level.envelopes().min(Level::Surge.envelopes());
    Workload::of_size(level, mode, envelopes, &request.shape())
}

fn conclude(report: &mut BenchReport, others: f64) {
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

/// The twins of one run.
struct Twins {
    encoding: TwinFigures,
    premade: Option<TwinFigures>,
}

struct TwinFigures {
    envelopes: u64,
    per_second: f64,
    cpu_us: f64,
    transaction_ms: Option<crate::latency::Percentiles>,
}

#[cfg(any(feature = "sqlite", feature = "nats", feature = "kafka"))]
impl TwinFigures {
    fn of(run: &TwinRun) -> Self {
        Self {
            envelopes: run.envelopes,
            per_second: per_second(run.envelopes, run.stored_in),
            cpu_us: micros_each(run.cpu, run.envelopes),
            transaction_ms: run.latencies.percentiles(),
        }
    }
}

/// What the reading twin came to.
#[derive(Clone, Copy)]
struct ReadingTwin {
    per_second: f64,
    cpu_us: f64,
}

fn reading_twin_of(measured: &Measured) -> Option<ReadingTwin> {
    let twin = measured.reading.twin?;
    Some(ReadingTwin {
        per_second: per_second(twin.records, twin.read_in),
        cpu_us: micros_each(twin.cpu, twin.records),
    })
}

/// Runs the twins that this backend has; a run that is not sound gets no figures, and so nothing to compare them with, and
/// one that refused a part had less to do.
#[cfg_attr(
    not(any(feature = "sqlite", feature = "nats", feature = "kafka")),
    expect(unused_variables, reason = "no twin in this build")
)]
fn run_twins(place: &Place, workload: &Workload, measured: &Measured) -> Result<Option<Twins>> {
    if !measured.is_sound(workload) || measured.rejected > 0 {
        return Ok(None);
    }
    if let Some(twin) = &measured.reading.twin {
        anyhow::ensure!(twin.records == workload.envelopes, "the reading twin found {} records", twin.records);
    }
    match measured.backend.as_str() {
        #[cfg(feature = "sqlite")]
        "sqlite" => sqlite_twins(place, workload, measured),
        #[cfg(feature = "nats")]
        "nats" => server_twins(place, workload, |stage, workload, bodies| {
            runtime()?.block_on(crate::twin::nats::run(stage, workload, bodies))
        })
        .map(Some),
        #[cfg(feature = "kafka")]
        "kafka" => server_twins(place, workload, |stage, workload, bodies| {
            runtime()?.block_on(crate::twin::kafka::run(stage, workload, bodies))
        })
        .map(Some),
        _ => Ok(None),
    }
}

/// Envelopes that the twin of mode `sync` stores at most: each costs a sync or a way to a server and back, and a median
/// needs no more.
#[cfg(any(feature = "sqlite", feature = "nats", feature = "kafka"))]
const SYNC_TWIN_ENVELOPES_MAX: u64 = 2_000;

/// The twins of a server, each on a stage of its own.
#[cfg(any(feature = "nats", feature = "kafka"))]
fn server_twins(
    place: &Place,
    workload: &Workload,
    run: impl Fn(&Stage, &Workload, Bodies) -> Result<TwinRun>,
) -> Result<Twins> {
    let run = |workload: &Workload, bodies| -> Result<TwinFigures> {
        Ok(TwinFigures::of(&run(&place.stage(workload.topics), workload, bodies)?))
    };
    if workload.mode.waits_for_each() {
        let first = workload.cut_to(workload.envelopes.min(SYNC_TWIN_ENVELOPES_MAX));
        return Ok(Twins { encoding: run(&first, Bodies::Encoded)?, premade: None });
    }
    Ok(Twins { encoding: run(workload, Bodies::Encoded)?, premade: Some(run(workload, Bodies::Premade)?) })
}

#[cfg(feature = "sqlite")]
fn sqlite_twins(place: &Place, workload: &Workload, measured: &Measured) -> Result<Option<Twins>> {
    let Some(transactions) = &measured.transactions else { return Ok(None) };
    if workload.mode.waits_for_each() {
        let envelopes = workload.envelopes.min(SYNC_TWIN_ENVELOPES_MAX);
        let first = workload.cut_to(envelopes);
        let encoding = run_twin(place, &first, &vec![1; envelopes as usize], Bodies::Encoded)?;
        return Ok(Some(Twins { encoding, premade: None }));
    }
    Ok(Some(Twins {
        encoding: run_twin(place, workload, transactions, Bodies::Encoded)?,
        premade: Some(run_twin(place, workload, transactions, Bodies::Premade)?),
    }))
}

/// Runs one twin in a file of its own, and judges the file as that of the bus is judged.
#[cfg(feature = "sqlite")]
fn run_twin(place: &Place, workload: &Workload, transactions: &[usize], bodies: Bodies) -> Result<TwinFigures> {
    let path = place.file("twin.db");
    let topics = place.stage(workload.topics).topics;
    crate::burst_run::make_topics(&format!("sqlite:{}", path.display()), &topics)?;
    let run = crate::twin::run(&path, &topics, workload, transactions, bodies)?;
    let dump = crate::dump::judge_file(&path, &topics, workload)?;
    anyhow::ensure!(dump.verdict.is_perfect(), "the twin is wrong: {:?}", dump.verdict);
    anyhow::ensure!(dump.transactions.len() == transactions.len(), "the twin's transactions are not those of the run");
    crate::place::remove_file(&path);
    Ok(TwinFigures::of(&run))
}

fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn micros_each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

fn histograms_of(measured: &Measured) -> Histograms {
    Histograms {
        publish_to_ack_ns: measured.burst.from_start.buckets(),
        call_to_ack_ns: measured.burst.from_call.buckets(),
        publish_to_handler_ns: measured.reading.followed.to_handler.buckets(),
    }
}

fn result_of(bus: &Contender, workload: &Workload, run: u32, measured: &Measured, twins: Option<Twins>) -> RunResult {
    let (burst, verdict) = (&measured.burst, &measured.verdict);
    let sound = measured.is_sound(workload);
    let Reading { drained, followed, .. } = &measured.reading;
    let passes = [drained.arrived, followed.consumed.arrived];
    let accepted = workload.envelopes - measured.rejected;
    let speed = |time: Option<Duration>| time.filter(|_| sound).map(|time| per_second(accepted, time));
    let followed_accepted = workload.envelopes - followed.rejected;
    let acked_per_s = speed(Some(burst.acked_in));
    let client_cpu_us = sound.then(|| micros_each(measured.cpu, accepted));
    let call_to_ack_ms = burst.from_call.percentiles().filter(|_| sound);
    let consumed_per_s = speed(Some(drained.consumed_in));
    let consume_cpu_us = sound.then(|| micros_each(drained.cpu, accepted));
    let reading = reading_twin_of(measured);
    let sync = workload.mode.waits_for_each();
    RunResult {
        bus: bus.label.clone(),
        level: workload.level,
        mode: workload.mode,
        strategy: bus.variant.strategy,
        headers: bus.variant.headers,
        streams: bus.variant.streams,
        run,
        envelopes: workload.envelopes,
        payload_bytes: workload.payload().bytes().len(),
        topics: workload.topics,
        aggregates: workload.aggregates,
        senders: workload.senders,
        window_envelopes: workload.window_envelopes,
        durability: burst.durability.to_string(),
        accepted_per_s: speed(burst.accepted_in),
        acked_per_s,
        publish_to_ack_ms: burst.from_start.percentiles().filter(|_| sound),
        call_to_ack_ms,
        handler_concurrency: concurrency_of(workload.topics),
        consumed_per_s,
        joined_in_ms: drained.joined_in.as_secs_f64() * 1e3,
        consume_cpu_us,
        followed_per_s: sound.then(|| per_second(followed_accepted, followed.delivered_in)),
        publish_to_handler_ms: followed.to_handler.percentiles().filter(|_| sound),
        delivered: passes.iter().map(|pass| pass.delivered).min().unwrap_or(0),
        redelivered: passes.iter().map(|pass| pass.duplicates + pass.foreign).sum(),
        handler_order_violations: passes.iter().map(|pass| pass.order_violations).sum(),
        success_percent: percent_of(verdict.stored, workload.envelopes),
        lost: verdict.missing.saturating_sub(measured.not_acked + measured.rejected),
        duplicates: verdict.duplicates,
        order_violations: verdict.order_violations,
        damaged: verdict.damaged,
        not_acked: measured.not_acked,
        rejected: measured.rejected,
        followed_rejected: followed.rejected,
        undelivered: drained
            .arrived
            .missing
            .saturating_sub(measured.rejected)
            .max(followed.consumed.arrived.missing.saturating_sub(followed.rejected)),
        peak_tasks: measured.peak_tasks,
        memory_peak_delta_bytes: measured.memory_peak_delta,
        memory_retained_bytes: measured.memory_retained,
        leaked: measured.leaked,
        client_cpu_us,
        allocations_per_publish: measured.allocations_per_publish.filter(|_| sound),
        others_cpu_percent: 0.0,
        transactions: measured.transactions.as_ref().map(|sizes| sizes.len() as u64),
        memory_series: measured.watched.memory.clone(),
        stalled_s: measured.watched.stalled.as_secs_f64(),
        histograms: if sound { histograms_of(measured) } else { Histograms::default() },
        twin: twins.map(|Twins { encoding, premade }| TwinResult {
            envelopes: encoding.envelopes,
            acked_per_s: encoding.per_second,
            ratio_acked: acked_per_s.map(|own| own / encoding.per_second),
            client_cpu_us: encoding.cpu_us,
            ratio_cpu: client_cpu_us.map(|own| own / encoding.cpu_us),
            transaction_ms: encoding.transaction_ms,
            ratio_p50: call_to_ack_ms.zip(encoding.transaction_ms).filter(|_| sync).map(|(own, raw)| own.p50 / raw.p50),
            premade: premade.map(|premade| PremadeResult {
                acked_per_s: premade.per_second,
                ratio_acked: acked_per_s.map(|own| own / premade.per_second),
                client_cpu_us: premade.cpu_us,
            }),
            consumed_per_s: reading.map(|twin| twin.per_second),
            ratio_consumed: consumed_per_s.zip(reading).map(|(own, twin)| own / twin.per_second),
            consume_cpu_us: reading.map(|twin| twin.cpu_us),
            ratio_consume_cpu: consume_cpu_us.zip(reading).map(|(own, twin)| own / twin.cpu_us),
        }),
    }
}
