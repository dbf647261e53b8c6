//! Runs a benchmark until the command line has `busline bench`. Exit code 1 if anything was lost, doubled or reordered.

use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use busline_bench::{Bar, BenchRequest, Level, Mode, run, write_table};

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: busline_bench::CountingAllocator = busline_bench::CountingAllocator;

fn main() -> Result<ExitCode> {
    let request = parse(std::env::args().skip(1))?;
    let report = run(&request, &mut Bar::new(std::sync::Arc::default()))?;
    write_table(&report, &mut io::stdout().lock())?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<BenchRequest> {
    let mut request = BenchRequest::default();
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--bus" => request.bus = Some(value),
            "--level" if value == "all" => request.levels = Level::ALL.into(),
            "--level" => request.levels = value.split(',').map(str::parse).collect::<Result<_>>()?,
            "--mode" if value == "all" => request.modes = Mode::ALL.into(),
            "--mode" => request.modes = value.split(',').map(str::parse).collect::<Result<_>>()?,
            "--runs" => request.runs = value.parse()?,
            "--payload" => request.payload_bytes = Some(value.parse()?),
            "--window" => request.window_envelopes = value.parse()?,
            "--senders" => request.senders = Some(value.parse()?),
            "--topics" => request.topics = value.parse()?,
            "--json" => request.json = Some(value.into()),
            _ => bail!("no option {name}"),
        }
    }
    Ok(request)
}
