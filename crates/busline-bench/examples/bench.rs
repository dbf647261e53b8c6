//! Runs a benchmark until the command line has `busline bench`. Exit code 1 if anything was lost, doubled or reordered.

use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use busline_bench::{Bar, BenchRequest, Level, Mode, run, write_table};
#[cfg(feature = "sqlite")]
use busline_bench::{
    ScenarioRequest, TwoProcessesRequest, publish_process, scenarios, two_processes, write_scenarios, write_sharing,
};

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: busline_bench::CountingAllocator = busline_bench::CountingAllocator;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    #[cfg(feature = "sqlite")]
    match arguments.first().map(String::as_str) {
        Some("two-processes") => return share(),
        Some("workload") => return special(&arguments[1..]),
        Some("publish-process") => return publish_process(&arguments[1..]).map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    let request = parse(arguments.into_iter())?;
    let report = run(&request, &mut Bar::new(std::sync::Arc::default()))?;
    write_table(&report, &mut io::stdout().lock())?;
    Ok(if report.is_sound() && report.is_as_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Two publishing processes, each of them this program again.
#[cfg(feature = "sqlite")]
fn share() -> Result<ExitCode> {
    let child = vec![std::env::current_exe()?.into_os_string(), "publish-process".into()];
    let report = two_processes(&TwoProcessesRequest::new(child))?;
    write_sharing(&report, &mut io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

/// `workload NAME[,NAME] [RUNS]`: conditions to consume under.
#[cfg(feature = "sqlite")]
fn special(arguments: &[String]) -> Result<ExitCode> {
    let names = arguments.first().context("wanted NAME[,NAME] [RUNS]")?;
    let request = ScenarioRequest {
        scenarios: names.split(',').map(str::parse).collect::<Result<_>>()?,
        runs: arguments.get(1).map_or(Ok(5), |runs| runs.parse())?,
        payload_bytes: 256,
        child: vec![std::env::current_exe()?.into_os_string(), "publish-process".into()],
    };
    let report = scenarios(&request, &mut Bar::new(std::sync::Arc::default()))?;
    write_scenarios(&report, &mut io::stdout().lock())?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<BenchRequest> {
    let mut request = BenchRequest::default();
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--bus" => request.buses.push(value),
            "--level" if value == "all" => request.levels = Level::ALL.into(),
            "--level" => request.levels = value.split(',').map(str::parse).collect::<Result<_>>()?,
            "--mode" if value == "all" => request.modes = Mode::BURSTS.into(),
            "--mode" => request.modes = value.split(',').map(str::parse).collect::<Result<_>>()?,
            "--runs" => request.runs = value.parse()?,
            "--payload" => request.payload_bytes = Some(value.parse()?),
            "--window" => request.window_envelopes = value.parse()?,
            "--senders" => request.senders = Some(value.parse()?),
            "--topics" => request.topics = value.parse()?,
            "--baseline" => request.baseline = Some(value.into()),
            "--tolerance" => request.tolerance_percent = value.parse()?,
            "--json" => request.json = Some(value.into()),
            _ => bail!("no option {name}"),
        }
    }
    Ok(request)
}
