//! What another process publishes reaches an idle subscription: how soon, and what waiting costs.
//!
//! Parent and child speak in lines, as in `two_processes`. Both read the same monotonic clock of the machine: the child
//! says when it called `publish` and when it had the ack, the parent when its handler ran.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use busline::{Delivery, Envelope};
use serde::{Deserialize, Serialize};

use super::outcome::{Outcome, ScenarioRequest};
use super::stage::Filled;
use super::steps::Steps;
use crate::consuming::wait_for_partitions;
use crate::latency::{Latencies, Percentiles};
use crate::measure::{cpu_time, monotonic};
use crate::place::Place;
use crate::targets::{Bound, Target};

const EVENTS: u64 = 200;
const IDLE: Duration = Duration::from_secs(4);

/// What the child answers: when it called `publish` and when it had the ack, by event. Unit: nanoseconds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Published {
    times: Vec<(u64, u64)>,
}

struct Run {
    from_call: Percentiles,
    from_ack: Percentiles,
    idle_percent: f64,
}

pub(super) fn measure(place: &Place, request: &ScenarioRequest, steps: &mut Steps<'_>) -> Result<Outcome> {
    let filled = Filled::new(place, 0, 1, request.payload_bytes)?;
    let (mut runs, mut outcome) = (Vec::new(), Outcome::default());
    for run in 0..request.runs {
        if !steps.next() {
            break;
        }
        match measure_once(&filled, request, run)? {
            Ok(run) => runs.push(run),
            Err(wrong) => outcome.wrong.push(format!("run {run}: {wrong}")),
        }
    }
    filled.end()?;
    outcome.settings =
        format!("{EVENTS} events 15 to 25 ms apart, 1 topic of 4 partitions, concurrency 16, idle for {IDLE:?}");
    let mut bounded = |what: &str, of: fn(&Run) -> f64, bound: Option<f64>| {
        let figure = outcome.measure(what, runs.iter().map(of));
        if let (Some(it), Some(bound)) = (figure, bound) {
            outcome.targets.push(Target::new(what.into(), Bound::AtMost(bound), it.median, Some(it.spread_percent)));
        }
    };
    bounded("from the call of publish to the handler, p50, ms", |run| run.from_call.p50, Some(1.0));
    bounded("from the call of publish to the handler, p99, ms", |run| run.from_call.p99, Some(5.0));
    bounded("from the call of publish to the handler, max, ms", |run| run.from_call.max, None);
    bounded("from the ack to the handler, p50, ms", |run| run.from_ack.p50, None);
    bounded("from the ack to the handler, p99, ms", |run| run.from_ack.p99, None);
    bounded("processor time of the idle process, % of a core", |run| run.idle_percent, Some(0.1));
    Ok(outcome)
}

fn measure_once(filled: &Filled, request: &ScenarioRequest, run: u32) -> Result<std::result::Result<Run, String>> {
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let handler_arrived = Arc::clone(&arrived);
    let handler = move |delivery: Delivery| {
        let now = monotonic();
        let version = delivery.envelope.event_version;
        handler_arrived.lock().unwrap_or_else(PoisonError::into_inner).push((version, now));
        std::future::ready(Ok(()))
    };
    let builder = filled.bus.subscribe(filled.topic(), &format!("wake-{run}")).start(busline::Start::Latest);
    let subscription = filled.runtime.block_on(builder.handle(handler))?;
    let topics = [filled.topic().to_string()];
    let one = std::slice::from_ref(&subscription);
    filled.runtime.block_on(wait_for_partitions(&filled.bus, &topics, one))?;
    let idle = || std::thread::park_timeout(IDLE);
    let (published, idle_percent) = with_child(request, filled, idle)?;
    let end = Instant::now() + Duration::from_secs(5);
    let count = || arrived.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
    while count() < EVENTS && Instant::now() < end {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    filled.runtime.block_on(subscription.close(Duration::from_secs(5)))?;
    let arrived = std::mem::take(&mut *arrived.lock().unwrap_or_else(PoisonError::into_inner));
    let versions: Vec<u64> = arrived.iter().map(|(version, _)| *version).collect();
    if versions != (1..=EVENTS).collect::<Vec<u64>>() {
        return Ok(Err(format!("{} events came, or not in order, of {EVENTS}", versions.len())));
    }
    let (mut from_call, mut from_ack) = (Latencies::default(), Latencies::default());
    for ((_, now), (called, acked)) in arrived.iter().zip(&published.times) {
        from_call.record(Duration::from_nanos(now.saturating_sub(*called)), 1);
        from_ack.record(Duration::from_nanos(now.saturating_sub(*acked)), 1);
    }
    let from_call = from_call.percentiles().context("no latencies")?;
    Ok(Ok(Run { from_call, from_ack: from_ack.percentiles().context("no latencies")?, idle_percent }))
}

/// Starts the child, idles, and has it publish; gives what it said, and this process's processor time while idle, in 100
/// of a core.
fn with_child(request: &ScenarioRequest, filled: &Filled, idle: impl Fn()) -> Result<(Published, f64)> {
    let (program, arguments) = request.child.split_first().context("no command line of a child")?;
    let mut child = Command::new(program)
        .args(arguments)
        .args(["wake", &filled.stage.url, filled.topic(), &EVENTS.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start a publishing process")?;
    let mut to = child.stdin.take().context("no stdin of a child")?;
    let mut from = BufReader::new(child.stdout.take().context("no stdout of a child")?);
    let mut line = String::new();
    from.read_line(&mut line).context("wait for a publishing process")?;
    ensure!(line == "ready\n", "a publishing process says '{}' instead of 'ready'", line.trim());
    let (start, cpu) = (Instant::now(), cpu_time());
    idle();
    let idle_percent = (cpu_time() - cpu).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    to.write_all(b"go\n").context("start a publishing process")?;
    line.clear();
    from.read_line(&mut line).context("read from a publishing process")?;
    let status = child.wait().context("wait for a publishing process")?;
    ensure!(status.success(), "a publishing process failed: {status}");
    Ok((serde_json::from_str(&line).context("read the answer of a publishing process")?, idle_percent))
}

/// The child: `URL TOPIC EVENTS`. Publishes single events with pauses, once it is told to.
///
/// # Errors
/// Arguments of another form; an envelope that is not acked.
pub(crate) fn publish_events(arguments: &[String]) -> Result<()> {
    let [url, topic, events] = arguments else {
        anyhow::bail!("wanted URL TOPIC EVENTS, given {} arguments", arguments.len());
    };
    let events: u64 = events.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    let published = runtime.block_on(async {
        let bus = busline::connect(url).await?;
        let publisher = bus.publisher(topic).open().await?;
        println!("ready");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).context("wait for the start")?;
        let mut published = Published::default();
        for version in 1..=events {
            // Uneven, so that it falls into step with nothing.
            tokio::time::sleep(Duration::from_micros(15_000 + rand::random::<u64>() % 10_000)).await;
            let envelope = Envelope::new("aggregate-000000", "MeasureTaken", version).json(&version)?;
            let called = monotonic();
            publisher.publish_sync(envelope).await?;
            published.times.push((called, monotonic()));
        }
        bus.close(Duration::from_secs(30)).await?;
        anyhow::Ok(published)
    })?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&published)?)?;
    Ok(())
}
