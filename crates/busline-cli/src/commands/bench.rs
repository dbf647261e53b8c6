//! `busline bench`: measures a bus beside the native client.

use std::error::Error as StdError;
use std::io;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use busline::{Error, ErrorKind, Medium, Result};
use busline_bench::{Bar, BenchReport, BenchRequest, Level, Mode, Strategy, write_table};

use super::report_files::ReportFiles;
use super::{Ended, open_load, workloads};
use crate::args::Bench;
use crate::interrupt::Stop;
use crate::output::{Form, Output, say_error};
use crate::target::Target;

pub(crate) enum Request {
    /// Levels, each run beside its twins.
    Levels(BenchRequest),
    /// Results of earlier ones, and where their report goes.
    Recorded(Vec<PathBuf>, BenchRequest),
    /// Rates that are held for a time.
    OpenLoad(open_load::Request),
    /// Conditions to consume under.
    Workloads(workloads::Request),
    /// The other process of such a condition.
    PublishProcess(Vec<String>),
}

impl Request {
    /// # Errors
    /// `Invalid/Range` with every value out of its range; those of [`ReportFiles::of`]; `NotFound/File` or `Denied/File`
    /// for a baseline that cannot be read, and `Invalid/Baseline` for a file that is none.
    pub(crate) fn new(args: Bench, bus: Target, further: Vec<Target>) -> Result<Self> {
        if !args.publish_process.is_empty() {
            return Ok(Self::PublishProcess(args.publish_process));
        }
        if !args.workload.is_empty() {
            return Ok(Self::Workloads(workloads::Request::new(&args)?));
        }
        let buses: Vec<String> = [bus].into_iter().chain(further).filter_map(Target::named).collect();
        if args.rate.is_some() {
            return Ok(Self::OpenLoad(open_load::Request::new(args, buses)?));
        }
        let files = ReportFiles::of(&args, &buses)?;
        if !args.results.is_empty() {
            let ReportFiles { json, markdown, html } = files;
            return Ok(Self::Recorded(args.results, BenchRequest { json, markdown, html, ..BenchRequest::default() }));
        }
        let defaults = BenchRequest::default();
        let request = BenchRequest {
            buses,
            levels: chosen(&args.level, &Level::ALL, defaults.levels)?,
            modes: chosen(&args.mode, &Mode::BURSTS, defaults.modes)?,
            strategies: chosen(&args.strategy, &Strategy::ALL, defaults.strategies)?,
            headers: args.headers.iter().map(|word| word == "on").collect(),
            streams: args.streams,
            durability: args.durability.map(|word| if word == "synced" { Medium::Synced } else { Medium::Written }),
            copies: args.copies,
            runs: args.runs,
            payload_bytes: args.payload,
            window_envelopes: args.window,
            topics: args.topics,
            json: files.json,
            baseline: args.baseline.map(baseline).transpose()?,
            tolerance_percent: args.tolerance,
            markdown: files.markdown,
            html: files.html,
            senders: args.senders,
        };
        request.validate().map_err(|error| wrong_value(&error))?;
        Ok(Self::Levels(request))
    }

    fn has_file(&self) -> bool {
        match self {
            Self::Levels(request) | Self::Recorded(_, request) => request.json.is_some(),
            Self::OpenLoad(request) => request.has_file(),
            Self::Workloads(_) | Self::PublishProcess(_) => false,
        }
    }
}

/// The named ones; `all` of them, or the default where none is named.
pub(super) fn chosen<T: Copy + std::str::FromStr<Err = E>, E: std::fmt::Display>(
    names: &[String],
    all: &[T],
    default: Vec<T>,
) -> Result<Vec<T>> {
    if names.is_empty() {
        return Ok(default);
    }
    if names.iter().any(|name| name == "all") {
        return Ok(all.to_vec());
    }
    names.iter().map(|name| name.parse().map_err(|error| wrong_value(&error))).collect()
}

pub(super) fn wrong_value(error: &impl std::fmt::Display) -> Error {
    Error::invalid("Range").cause(error.to_string()).next("see 'busline bench --help'").at("bench", "")
}

/// An earlier benchmark that this one can be compared with: so no run is measured in vain.
fn baseline(file: PathBuf) -> Result<PathBuf> {
    match busline_bench::check_baseline(&file) {
        Ok(()) => Ok(file),
        Err(error) => Err(unread("--baseline", "Baseline", &error).at("bench", file.display())),
    }
}

/// Results of an earlier benchmark that cannot be read, or are none.
fn unread(flag: &str, reason: &'static str, error: &impl Cause) -> Error {
    let unread = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    match unread.map(io::Error::kind) {
        Some(io::ErrorKind::NotFound) => Error::new(ErrorKind::NotFound, "File")
            .cause(format!("{error}: no such file"))
            .next(format!("correct the path of {flag}")),
        Some(io::ErrorKind::IsADirectory) => {
            Error::new(ErrorKind::Denied, "File").cause(format!("{error}: it is a folder")).next("name a file")
        }
        Some(io::ErrorKind::PermissionDenied) => Error::new(ErrorKind::Denied, "File")
            .cause(format!("{error}: it may not be read"))
            .next("grant access to the file"),
        _ => Error::invalid(reason)
            .cause(format!("{error:#}"))
            .next(format!("give {flag} what 'busline bench --json' of this version has written")),
    }
}

/// Runs what was asked for on a thread of its own, because it has runtimes of its own.
///
/// # Errors
/// `Invalid/MissingArgument` for a file of results without `--json`, which may stand in front of `bench`, where only the
/// output knows of it.
pub(crate) async fn run(request: Request, output: &mut Output, stop: Stop) -> Result<Ended> {
    if request.has_file() && output.form() != Form::Json {
        return Err(Error::invalid("MissingArgument")
            .cause("--json is missing in front of the file of the results")
            .next("write --json FILE, or leave the file out")
            .at("bench", ""));
    }
    let ended = match request {
        Request::Levels(request) => run_levels(request, output, stop).await,
        Request::Recorded(files, request) => report_recorded(&files, &request, output),
        Request::OpenLoad(request) => open_load::run(request, output, stop).await,
        Request::Workloads(request) => workloads::run(request, output, stop).await,
        Request::PublishProcess(arguments) => workloads::publish(arguments).await,
    };
    if ended.is_err() {
        say_what_is_left();
    }
    ended
}

/// Names what a benchmark that is not brought to its end leaves, and how to delete it; of other commands nothing.
pub(crate) fn say_what_is_left() {
    for left in busline_bench::left_behind() {
        let error = Error::new(ErrorKind::Closed, "LeftBehind").cause(left.to_string()).next(left.next_step());
        say_error(&error.at("bench", ""));
    }
}

/// An error of the benchmark, which may hold one of the bus.
pub(super) trait Cause: std::fmt::Display + Deref<Target = dyn StdError + Send + Sync> {}

impl<E: std::fmt::Display + Deref<Target = dyn StdError + Send + Sync>> Cause for E {}

pub(super) fn joined<T, E: Cause>(
    done: std::result::Result<std::result::Result<T, E>, tokio::task::JoinError>,
) -> Result<T> {
    done.map_err(|error| Error::new(ErrorKind::Internal, "Panic").because(error).next("report this"))?
        // What the bus says of itself is said as it is.
        .map_err(|error| error.downcast_ref::<Error>().cloned().unwrap_or_else(|| failed(&error)))
}

async fn run_levels(request: BenchRequest, output: &mut Output, stop: Stop) -> Result<Ended> {
    let into_file = request.json.is_some();
    let report = cancellable(move |bar| busline_bench::run(&request, bar), stop).await?;
    print(&report, into_file, output)?;
    whole(report.missing())?;
    Ok(ended(&report))
}

fn report_recorded(files: &[PathBuf], request: &BenchRequest, output: &mut Output) -> Result<Ended> {
    let report = busline_bench::report_recorded(files, request).map_err(|error| {
        let named: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        unread("--results", "Results", &error).at("bench", named.join(","))
    })?;
    print(&report, request.json.is_some(), output)?;
    whole(report.missing())?;
    Ok(ended(&report))
}

/// A benchmark that misses runs fails the program, whatever those came to that were made.
pub(super) fn whole(missing: Option<String>) -> Result<()> {
    missing.map_or(Ok(()), |missing| {
        Err(Error::new(ErrorKind::Closed, "Interrupted")
            .cause(missing)
            .next("run it again, and give it time to end")
            .at("bench", ""))
    })
}

/// A bus that lost, doubled or reordered anything fails the program, and so does one that got worse.
fn ended(report: &BenchReport) -> Ended {
    if report.is_sound() && report.is_as_good() { Ended::Done } else { Ended::SomeFailed }
}

/// Runs it with a bar on the terminal; Ctrl-C ends it after its present run.
pub(super) async fn cancellable<T: Send + 'static, E: Cause + Send + 'static>(
    work: impl FnOnce(&mut Bar) -> std::result::Result<T, E> + Send + 'static,
    mut stop: Stop,
) -> Result<T> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let mut bar = Bar::new(Arc::clone(&cancelled));
    let mut work = tokio::task::spawn_blocking(move || work(&mut bar));
    let done = tokio::select! {
        done = &mut work => done,
        () = stop.requested() => {
            cancelled.store(true, Ordering::Relaxed);
            work.await
        }
    };
    joined(done)
}

pub(super) fn failed(error: &impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unavailable, "Bench")
        .cause(format!("{error:#}"))
        .next("see the cause; a bus given by --bus must be reachable and writable")
        .at("bench", "")
}

pub(super) fn print_json(report: &impl serde::Serialize, output: &mut Output) -> Result<()> {
    let json = serde_json::to_vec(report)
        .map_err(|error| Error::new(ErrorKind::Internal, "Encoding").because(error).next("report this"))?;
    output.raw(&json)?;
    output.raw(b"\n")
}

fn print(report: &BenchReport, into_file: bool, output: &mut Output) -> Result<()> {
    if output.form() == Form::Json && !into_file {
        return print_json(report, output);
    }
    let mut table = Vec::new();
    write_table(report, &mut table).map_err(|error| failed(&error))?;
    output.raw(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_lost_something_fails_the_program() {
        let request = BenchRequest {
            buses: vec!["memory:".into()],
            levels: vec![Level::Low],
            modes: vec![Mode::Async],
            runs: 1,
            ..BenchRequest::default()
        };
        let mut report = busline_bench::run(&request, &mut busline_bench::Quiet).expect("it runs");
        assert!(matches!(ended(&report), Ended::Done));
        report.results[0].lost = 1;
        assert!(matches!(ended(&report), Ended::SomeFailed));
    }
}
