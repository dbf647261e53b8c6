//! An open load from request to report.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::command::command;
use super::outcome::{BestRate, OpenReport, RateResult};
use super::pace::Pace;
use super::paced::{Paced, measure};
use super::request::{OpenRequest, Rates};
use super::series::{Rises, SETTLED_LOOKS_MIN, SETTLED_S_MIN, every, rises, stalled_s};
use super::sweep::Sweep;
use crate::arrivals::Arrived;
use crate::connect::{ByUrl, Connect};
use crate::contender::{Contender, contenders};
use crate::extent::Extent;
use crate::header::Header;
use crate::measure::Load;
use crate::overhead::Overhead;
use crate::progress::Progress;
use crate::report::{json, open_markdown, open_page, replace};
use crate::speed::{micros_each, per_second};
use crate::targets::OTHERS_MAX_PERCENT;
use crate::warnings::{STANDSTILL, STANDSTILL_MAX};
use crate::workload::Workload;

/// Publishes at the asked rates and says which of them held.
///
/// Blocks, with runtimes of its own, as [`run`](crate::run) does.
///
/// # Errors
/// A request that contradicts itself; a bus that cannot be opened. What was lost is no error: see
/// [`OpenReport::is_sound`].
pub fn open_load(request: &OpenRequest, progress: &mut dyn Progress) -> Result<OpenReport> {
    open_load_on(request, &(Arc::new(ByUrl) as Arc<dyn Connect>), progress)
}

/// The same, on buses that `connect` opens.
///
/// # Errors
/// Those of [`open_load`].
pub fn open_load_on(
    request: &OpenRequest,
    connect: &Arc<dyn Connect>,
    progress: &mut dyn Progress,
) -> Result<OpenReport> {
    request.validate()?;
    let buses = contenders(&request.buses, connect)?;
    let load = Load::now()?;
    let mut report = OpenReport {
        header: Header::of(command(request), &request.buses, &buses)?,
        extent: match &request.rates {
            Rates::Each(rates) => Extent::of((rates.len() * buses.len()) as u64),
            Rates::Auto => Extent::default(),
        },
        topics: request.topics,
        window_envelopes: request.window_envelopes,
        overhead: Some(Overhead::measure()?),
        duration_s: request.duration.as_secs_f64(),
        slo_ms: request.slo.as_secs_f64() * 1e3,
        soak: request.soak,
        results: Vec::new(),
        best: Vec::new(),
        warnings: Vec::new(),
    };
    match &request.rates {
        Rates::Each(rates) => each(request, &buses, rates, &mut report, progress)?,
        Rates::Auto => sweep(request, &buses, &mut report, progress)?,
    }
    progress.end();
    let others = load.others_since()? * 100.0;
    if others > OTHERS_MAX_PERCENT {
        report.warnings.push(format!(
            "Other processes used {others:.0} % of the processors meanwhile: end them and measure again. A broker on \
             this machine is one of them."
        ));
    }
    report.warnings.extend(report.results.iter().filter_map(standstill).collect::<Vec<_>>());
    report.warnings.extend(too_short(&report));
    write(request, &report)?;
    Ok(report)
}

/// A warning if the whole process stood still for long.
fn standstill(result: &RateResult) -> Option<String> {
    let RateResult { bus, offered_per_s, stalled_s, .. } = result;
    (*stalled_s > STANDSTILL_MAX)
        .then(|| format!("{bus} at {offered_per_s}/s: this process stood still for {stalled_s:.1} s; {STANDSTILL}"))
}

/// A warning if it is asked whether something rises, and the time is too short to tell.
fn too_short(report: &OpenReport) -> Option<String> {
    let untold = report.results.iter().any(|result| result.is_sound() && result.rises == Rises::default());
    (report.soak && untold).then(|| {
        format!(
            "{} s are too short to tell whether memory, lag and throughput stay flat: that takes {SETTLED_LOOKS_MIN} looks \
             over {SETTLED_S_MIN} s behind the first quarter, in which all warms up. Soak for a minute or more.",
            report.duration_s
        )
    })
}

fn write(request: &OpenRequest, report: &OpenReport) -> Result<()> {
    request.json.as_ref().map_or(Ok(()), |file| json::write(file, report))?;
    request.markdown.as_ref().map_or(Ok(()), |file| replace(file, open_markdown::render(report).as_bytes()))?;
    request.html.as_ref().map_or(Ok(()), |file| replace(file, open_page::render(report).as_bytes()))
}

/// Every rate on every bus in turn.
fn each(
    request: &OpenRequest,
    buses: &[Contender],
    rates: &[f64],
    report: &mut OpenReport,
    progress: &mut dyn Progress,
) -> Result<()> {
    progress.begin((rates.len() * buses.len()) as u64);
    for rate in rates {
        for bus in buses {
            if progress.is_cancelled() {
                report.extent.interrupted = true;
                return Ok(());
            }
            progress.step(&format!("{} at {rate}/s for {:?}", bus.label, request.duration));
            report.results.push(at_rate(request, bus, *rate)?);
            write(request, report)?;
        }
    }
    for bus in buses {
        let held = report.results.iter().filter(|result| result.bus == bus.label && result.held);
        let per_s = held
            .map(|result| result.offered_per_s)
            .fold(None, |best: Option<f64>, rate| Some(best.map_or(rate, |best| best.max(rate))));
        report.best.push(BestRate { bus: bus.label.clone(), per_s });
    }
    Ok(())
}

/// Steps that are shown of a search whose length nobody knows.
const SWEEP_STEPS: u64 = 20;

/// The highest rate of each bus.
fn sweep(
    request: &OpenRequest,
    buses: &[Contender],
    report: &mut OpenReport,
    progress: &mut dyn Progress,
) -> Result<()> {
    progress.begin(SWEEP_STEPS * buses.len() as u64);
    for bus in buses {
        let mut sweep = Sweep::new();
        while let Some(rate) = sweep.next() {
            if progress.is_cancelled() {
                report.extent.interrupted = true;
                return Ok(());
            }
            progress.step(&format!("{} at {rate}/s for {:?}", bus.label, request.duration));
            let result = at_rate(request, bus, rate)?;
            sweep.note(rate, result.held);
            report.results.push(result);
            write(request, report)?;
        }
        report.best.push(BestRate { bus: bus.label.clone(), per_s: sweep.best() });
    }
    Ok(())
}

fn at_rate(request: &OpenRequest, bus: &Contender, rate: f64) -> Result<RateResult> {
    let envelopes = (rate * request.duration.as_secs_f64()).round().max(1.0) as u64;
    let workload = Arc::new(Workload::paced(envelopes, &request.shape())?);
    let pace = Arc::new(Pace::new(rate, workload.aggregates));
    let paced = measure(&bus.place, &workload, &pace, request.duration)?;
    Ok(result_of(request, bus, rate, &workload, paced))
}

/// Share of the offered rate that must be delivered for a rate to hold.
const KEPT_UP: f64 = 0.98;

fn result_of(request: &OpenRequest, bus: &Contender, rate: f64, workload: &Workload, paced: Paced) -> RateResult {
    let Arrived { missing, duplicates, order_violations, foreign, .. } = paced.consumed.arrived;
    let verdict = paced.verdict;
    let result = RateResult {
        bus: bus.label.clone(),
        durability: paced.durability.to_string(),
        offered_per_s: rate,
        envelopes: workload.envelopes,
        payload_bytes: workload.payload().bytes().len(),
        delivered_per_s: None,
        held: false,
        due_to_call_ms: None,
        due_to_ack_ms: None,
        due_to_handler_ms: None,
        due_to_handler_ns: crate::buckets::Buckets::default(),
        cpu_us: None,
        // What was not acked may be missing: that is no loss.
        stored_wrong: [
            verdict.missing.saturating_sub(paced.not_acked),
            verdict.duplicates,
            verdict.order_violations,
            verdict.damaged,
        ],
        delivered_wrong: [missing.saturating_sub(paced.not_acked), duplicates + foreign, order_violations],
        not_acked: paced.not_acked,
        rises: rises(&paced.series),
        stalled_s: stalled_s(&paced.series, every(request.duration)),
        series: paced.series,
        leaked: paced.leaked,
    };
    if !result.is_sound() {
        return result;
    }
    let to_handler = paced.to_handler.percentiles();
    let in_time = to_handler.is_some_and(|it| it.p99 <= request.slo.as_secs_f64() * 1e3);
    RateResult {
        delivered_per_s: Some(per_second(workload.envelopes, paced.took)),
        held: in_time && kept_up(workload.envelopes, rate, paced.took, request.slo),
        due_to_call_ms: paced.to_call.percentiles(),
        due_to_ack_ms: paced.to_ack.percentiles(),
        due_to_handler_ms: to_handler,
        due_to_handler_ns: paced.to_handler.buckets(),
        cpu_us: Some(micros_each(paced.cpu, workload.envelopes)),
        ..result
    }
}

/// Whether the last envelope came about when it was due: what came behind in the end is allowed the service level.
fn kept_up(envelopes: u64, rate: f64, took: Duration, slo: Duration) -> bool {
    let planned = envelopes as f64 / rate;
    took.saturating_sub(slo).as_secs_f64() * KEPT_UP <= planned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_standstill_is_told_and_a_short_one_is_not() {
        let result = crate::report::sample::open_load().results.remove(0);
        assert_eq!(standstill(&result), None);
        let told = standstill(&RateResult { stalled_s: 12.34, ..result }).expect("a warning");
        assert!(told.starts_with("sqlite at 1000/s: this process stood still for 12.3 s"), "{told}");
    }

    #[test]
    fn a_soak_that_is_too_short_says_so_and_another_load_need_not() {
        let mut report = crate::report::sample::open_load();
        assert_eq!(too_short(&report), None);
        report.results[0].rises = Rises::default();
        let told = too_short(&report).expect("a warning");
        assert!(told.starts_with("10 s are too short to tell") && told.contains("60 looks over 30 s"), "{told}");
        report.soak = false;
        assert_eq!(too_short(&report), None);
    }

    #[test]
    fn a_rate_is_kept_up_with_if_the_last_one_comes_in_time() {
        let (second, slo) = (Duration::from_secs(1), Duration::from_millis(50));
        assert!(kept_up(1_000, 1_000.0, second, slo));
        assert!(kept_up(1_000, 1_000.0, second + slo, slo));
        assert!(!kept_up(1_000, 1_000.0, second + slo * 3, slo));
    }
}
