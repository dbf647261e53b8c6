//! Two processes that publish to one file: how they share it.
//!
//! The program starts itself as a publishing process: it passes the command line that leads to [`publish_process`].
//! Parent and child speak in lines: the child says `ready`, is told `go`, and answers with one line of JSON.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use busline::{Bus, Publisher};
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use crate::compare::Figure;
use crate::connect::ByUrl;
use crate::measure::{Load, cpu_time};
use crate::place::{Place, remove_file};
use crate::targets::{Bound, Target};
use crate::workload::{Event, Level, Mode, Shape, Workload};

/// What two processes are asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoProcessesRequest {
    /// Program and arguments that lead to [`publish_process`]; its own arguments are put behind them.
    pub child: Vec<OsString>,
    /// How long they publish. Default 2 s.
    pub time: Duration,
    /// Windows of the publishers, one measurement each: the batches are about as large. Default 1, 64, 1,024.
    pub windows: Vec<usize>,
    /// Measurements of each window. Default 5.
    pub runs: u32,
    /// Size of a payload. Unit: bytes. Default 256.
    pub payload_bytes: usize,
}

impl TwoProcessesRequest {
    /// The defaults, with this child.
    pub fn new(child: Vec<OsString>) -> Self {
        Self { child, time: Duration::from_secs(2), windows: vec![1, 64, 1_024], runs: 5, payload_bytes: 256 }
    }
}

/// What publishing processes came to on one file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sharing {
    /// Window of each publisher. Unit: envelopes.
    pub window_envelopes: usize,
    /// Envelopes that one process alone got acked in a second.
    pub alone_per_s: Figure,
    /// Envelopes that both together got acked in a second.
    pub together_per_s: Figure,
    /// `together_per_s` ÷ `alone_per_s`, within each measurement.
    pub ratio: Figure,
    /// Acked envelopes of the one that got fewer ÷ those of both; 0.5 is equal.
    pub smaller_share: Figure,
    /// Longest time in which one of two processes, having envelopes on their way, got no ack. Unit: milliseconds.
    pub longest_wait_ms: f64,
    /// The same of one process alone.
    pub longest_wait_alone_ms: f64,
    /// Largest `-wal`. Unit: bytes.
    pub wal_bytes_max: u64,
    /// Measurements it is of.
    pub runs: usize,
    /// Share of all processors that programs other than these used, the median of the measurements, in 100.
    pub others_cpu_percent: f64,
}

/// The written form of [`two_processes`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TwoProcessesReport {
    /// One for each window.
    pub sharing: Vec<Sharing>,
    /// Promised figures.
    pub targets: Vec<Target>,
}

/// What a publishing process answers.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    acked: u64,
    longest_wait_us: u64,
    cpu_us: u64,
}

/// Starts one and then two publishing processes on a fresh file, for each window.
///
/// # Errors
/// A child that cannot be started or fails; an acked envelope that the file does not hold.
pub fn two_processes(request: &TwoProcessesRequest) -> Result<TwoProcessesReport> {
    let place = Place::new(None, Arc::new(ByUrl))?;
    let mut sharing = Vec::new();
    for window in &request.windows {
        let mut runs = Vec::new();
        for _ in 0..request.runs {
            runs.push((publish_in(&place, request, *window, 1)?, publish_in(&place, request, *window, 2)?));
        }
        sharing.push(sharing_of(*window, &runs).context("no runs")?);
    }
    let targets = sharing.iter().flat_map(targets_of).collect();
    Ok(TwoProcessesReport { sharing, targets })
}

/// What the processes of one measurement came to.
struct Together {
    per_second: Vec<f64>,
    longest_wait: Duration,
    wal_bytes: u64,
    others_cpu_percent: f64,
}

impl Together {
    fn sum(&self) -> f64 {
        self.per_second.iter().sum()
    }

    fn smaller_share(&self) -> f64 {
        self.per_second.iter().copied().fold(f64::INFINITY, f64::min) / self.sum()
    }
}

fn sharing_of(window_envelopes: usize, runs: &[(Together, Together)]) -> Option<Sharing> {
    let longest = |of: fn(&(Together, Together)) -> &Together| {
        runs.iter().map(|run| of(run).longest_wait).max().unwrap_or_default().as_secs_f64() * 1e3
    };
    Some(Sharing {
        window_envelopes,
        alone_per_s: Figure::of(runs.iter().map(|(alone, _)| alone.sum()))?,
        together_per_s: Figure::of(runs.iter().map(|(_, both)| both.sum()))?,
        ratio: Figure::of(runs.iter().map(|(alone, both)| both.sum() / alone.sum()))?,
        smaller_share: Figure::of(runs.iter().map(|(_, both)| both.smaller_share()))?,
        longest_wait_ms: longest(|(_, both)| both),
        longest_wait_alone_ms: longest(|(alone, _)| alone),
        runs: runs.len(),
        others_cpu_percent: Figure::of(
            runs.iter().map(|(alone, both)| alone.others_cpu_percent.max(both.others_cpu_percent)),
        )?
        .median,
        wal_bytes_max: runs.iter().map(|(alone, both)| alone.wal_bytes.max(both.wal_bytes)).max()?,
    })
}

/// Size that the `-wal` may reach: twice the pages at which the committer checkpoints, and one transaction of either.
const WAL_BYTES_BOUND: u64 = 2 * 2_000 * 8_192 + 2 * (8 << 20);

fn targets_of(sharing: &Sharing) -> Vec<Target> {
    let name = format!("two processes, window {}", sharing.window_envelopes);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let ratio = Some(sharing.ratio.spread_percent);
    let share = Some(sharing.smaller_share.spread_percent);
    let decided = |target: Target| target.of_runs(sharing.runs, sharing.others_cpu_percent);
    vec![
        decided(Target::new(format!("{name}: together ÷ alone"), Bound::AtLeast(0.6), sharing.ratio.median, ratio)),
        decided(Target::new(
            format!("{name}: smaller share"),
            Bound::AtLeast(0.45),
            sharing.smaller_share.median,
            share,
        )),
        decided(Target::new(format!("{name}: longest wait, ms"), Bound::AtMost(50.0), sharing.longest_wait_ms, None)),
        Target::new(
            format!("{name}: largest -wal, MiB"),
            Bound::AtMost(mib(WAL_BYTES_BOUND)),
            mib(sharing.wal_bytes_max),
            None,
        ),
    ]
}

/// A started child.
struct Running {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

fn publish_in(place: &Place, request: &TwoProcessesRequest, window: usize, processes: usize) -> Result<Together> {
    let file = place.file("shared.db");
    crate::burst_run::make_topics(&format!("sqlite:{}", file.display()), &[TOPIC.to_string()])?;
    let mut running = Vec::new();
    for _ in 0..processes {
        running.push(start(request, &file, window)?);
    }
    for one in &mut running {
        one.to.write_all(b"go\n").context("start a publishing process")?;
    }
    let load = Load::now()?;
    let wal_bytes = largest_wal(&file, request.time);
    let others = load.others_since()?;
    let mut answers = Vec::new();
    for one in running {
        answers.push(finish(one)?);
    }
    let acked: u64 = answers.iter().map(|answer| answer.acked).sum();
    let stored = crate::dump::count_records(&file)?;
    ensure!(stored == acked, "{acked} envelopes were acked and {stored} are stored");
    remove_file(&file);
    let longest = answers.iter().map(|answer| answer.longest_wait_us).max().unwrap_or(0);
    Ok(Together {
        per_second: answers.iter().map(|answer| answer.acked as f64 / request.time.as_secs_f64()).collect(),
        longest_wait: Duration::from_micros(longest),
        wal_bytes,
        // What the children used is theirs, but only they know it.
        others_cpu_percent: (others - children_share(&answers, request.time)).max(0.0) * 100.0,
    })
}

/// The share of all processors that these processes used.
fn children_share(answers: &[Answer], time: Duration) -> f64 {
    let used: u64 = answers.iter().map(|answer| answer.cpu_us).sum();
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    used as f64 / 1e6 / time.as_secs_f64() / processors
}

const TOPIC: &str = "shared";

fn start(request: &TwoProcessesRequest, file: &Path, window: usize) -> Result<Running> {
    let (program, arguments) = request.child.split_first().context("no command line of a child")?;
    let mut child = Command::new(program)
        .args(arguments)
        .arg(format!("sqlite:{}", file.display()))
        .args([window.to_string(), request.payload_bytes.to_string(), request.time.as_millis().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start a publishing process")?;
    let to = child.stdin.take().context("no stdin of a child")?;
    let mut from = BufReader::new(child.stdout.take().context("no stdout of a child")?);
    let mut line = String::new();
    from.read_line(&mut line).context("wait for a publishing process")?;
    ensure!(line == "ready\n", "a publishing process says '{}' instead of 'ready'", line.trim());
    Ok(Running { child, to, from })
}

fn finish(mut running: Running) -> Result<Answer> {
    let mut line = String::new();
    running.from.read_line(&mut line).context("read from a publishing process")?;
    let status = running.child.wait().context("wait for a publishing process")?;
    ensure!(status.success(), "a publishing process failed: {status}");
    serde_json::from_str(&line).context("read the answer of a publishing process")
}

/// The largest size of the `-wal`, looked at every few milliseconds for this time.
fn largest_wal(file: &Path, time: Duration) -> u64 {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    let end = Instant::now() + time;
    let mut largest = 0;
    while Instant::now() < end {
        largest = std::fs::metadata(&name).map_or(0, |found| found.len()).max(largest);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    largest
}

/// A publishing process: `URL WINDOW PAYLOAD_BYTES MILLISECONDS`, or `wake URL TOPIC EVENTS` for single events.
///
/// Waits for a line on stdin, publishes for that time as fast as the window lets it, and prints what it came to.
///
/// # Errors
/// Arguments of another form; a bus that cannot be opened; an envelope that is not acked.
pub fn publish_process(arguments: &[String]) -> Result<()> {
    if let [first, rest @ ..] = arguments
        && first == "wake"
    {
        return crate::scenario::publish_events(rest);
    }
    let [url, window, payload, millis] = arguments else {
        anyhow::bail!("wanted URL WINDOW PAYLOAD_BYTES MILLISECONDS, given {} arguments", arguments.len());
    };
    let shape =
        Shape { payload_bytes: Some(payload.parse()?), window_envelopes: window.parse()?, senders: None, topics: 1 };
    let workload = Workload::new(Level::Surge, Mode::Async, &shape)?;
    let time = Duration::from_millis(millis.parse()?);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    let answer = runtime.block_on(async {
        let bus = busline::connect(url).await?;
        let answer = publish_for(&bus, &workload, time).await?;
        bus.close(Duration::from_secs(30)).await?;
        anyhow::Ok(answer)
    })?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&answer)?)?;
    Ok(())
}

async fn publish_for(bus: &Bus, workload: &Workload, time: Duration) -> Result<Answer> {
    let builder = bus.publisher(TOPIC).window(workload.window_envelopes, 64 << 20);
    let publisher = builder.open().await?;
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("wait for the start")?;
    let (mut waits, cpu) = (Waits::new(), cpu_time());
    let end = Instant::now() + time;
    // Keys of this process only, so that two of them share none.
    let process = std::process::id() as usize;
    let mut published: u64 = 0;
    while Instant::now() < end {
        let event = Event { aggregate: process + (published % 1_000) as usize, version: published / 1_000 + 1 };
        drop(publisher.publish(workload.envelope(event)).await?);
        published += 1;
        waits.look(&publisher);
    }
    publisher.flush().await;
    waits.look(&publisher);
    let stats = publisher.stats();
    ensure!(stats.acked == published, "{} of {published} envelopes were acked", stats.acked);
    let cpu_us = (cpu_time() - cpu).as_micros() as u64;
    Ok(Answer { acked: published, longest_wait_us: waits.longest.as_micros() as u64, cpu_us })
}

/// Sees acks come. The publisher has always envelopes on their way, so the time between two acks is one of waiting.
struct Waits {
    acked: u64,
    since: Instant,
    longest: Duration,
}

impl Waits {
    fn new() -> Self {
        Self { acked: 0, since: Instant::now(), longest: Duration::ZERO }
    }

    fn look(&mut self, publisher: &Publisher) {
        let acked = publisher.stats().acked;
        if acked > self.acked {
            let now = Instant::now();
            self.longest = self.longest.max(now - self.since);
            (self.acked, self.since) = (acked, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::Verdict;

    fn together(per_second: &[f64], millis: u64) -> Together {
        let longest_wait = Duration::from_millis(millis);
        Together { per_second: per_second.to_vec(), longest_wait, wal_bytes: 1 << 20, others_cpu_percent: 0.0 }
    }

    #[test]
    fn shares_and_waits_are_judged() {
        let runs: Vec<_> = (0..5).map(|_| (together(&[100.0], 3), together(&[40.0, 30.0], 60))).collect();
        let sharing = sharing_of(64, &runs).expect("a run");
        assert!((sharing.ratio.median - 0.7).abs() < 1e-9);
        let verdicts: Vec<Verdict> = targets_of(&sharing).iter().map(|target| target.verdict).collect();
        assert_eq!(verdicts, [Verdict::Met, Verdict::Missed, Verdict::Missed, Verdict::Met]);
    }
}
