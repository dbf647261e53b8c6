//! One run of the bus on its stage: opened, burst, read, followed, closed, counted, judged.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
#[cfg(feature = "sqlite")]
use busline::{TopicName, TopicSpec};

use crate::allocations;
use crate::clearing::leaving_nothing;
use crate::connect::CLOSE_MAX;
use crate::consuming::{Consumed, Followed, GROUP, drain, follow};
use crate::contender::Contender;
use crate::dump::{Verdict, judge_driver};
use crate::measure::{Leaked, Memory, descriptors, threads, threads_settled};
use crate::memory_watch::{MemoryWatch, Watched};
use crate::place::Stage;
use crate::publishing::{Burst, Start};
use crate::runtime::{runtime, tasks_settled};
use crate::strategy::{Opened, Variant};
use crate::usage::{Meter, Usage};
use crate::workload::{Event, Workload};

/// Everything one run came to.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) backend: String,
    pub(crate) burst: Burst,
    /// What the burst used of the machine.
    pub(crate) usage: Usage,
    pub(crate) allocations_per_publish: Option<f64>,
    /// Envelopes whose outcome was another than acked.
    pub(crate) not_acked: u64,
    /// Envelopes of the first burst that the strategy refused.
    pub(crate) rejected: u64,
    pub(crate) peak_tasks: u64,
    pub(crate) memory_peak_delta: i64,
    pub(crate) memory_retained: i64,
    /// Memory over the time of the run, and how long it stood still.
    pub(crate) watched: Watched,
    pub(crate) leaked: Leaked,
    pub(crate) verdict: Verdict,
    /// Records of each transaction, where a dump shows it.
    pub(crate) transactions: Option<Vec<usize>>,
    pub(crate) reading: Reading,
}

/// What was read of a run, by whom.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) drained: Consumed,
    pub(crate) followed: Followed,
    /// The reading twin on the same records, where the backend has one.
    pub(crate) twin: Option<crate::twin::TwinRead>,
}

/// Who reads first; taking turns keeps what the first one brings into memory from favouring always the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadFirst {
    Bus,
    Twin,
}

impl Measured {
    /// Whether everything that was accepted was acked, stored and delivered, once and in order.
    pub(crate) fn is_sound(&self, workload: &Workload) -> bool {
        let Reading { drained, followed, .. } = &self.reading;
        let delivered =
            drained.is_perfect(workload, self.rejected) && followed.consumed.is_perfect(workload, followed.rejected);
        self.not_acked == 0 && self.verdict.is_perfect(self.rejected) && delivered
    }
}

/// What is known while the bus is open.
struct Open {
    backend: String,
    burst: Burst,
    usage: Usage,
    allocations: Option<u64>,
    not_acked: u64,
    rejected: u64,
    peak_tasks: u64,
    memory_peak_delta: i64,
    /// The verdict of a backend that no other program can read.
    verdict: Option<Verdict>,
    reading: Reading,
}

/// Publishes the workload on a stage of its own, and has it read.
pub(crate) fn measure(bus: &Contender, workload: &Workload, first: ReadFirst) -> Result<Measured> {
    let stage = bus.place.stage(workload.topics);
    leaving_nothing(&stage, || measure_on(&stage, bus.variant, workload, first))
}

fn measure_on(stage: &Stage, variant: Variant, workload: &Workload, first: ReadFirst) -> Result<Measured> {
    let workload = Arc::new(workload.clone());
    let watch = MemoryWatch::begin()?;
    let threads_before = threads()?;
    let memory = Memory::watch()?;
    let runtime = runtime()?;
    let descriptors_before = descriptors()?;
    let open = runtime.block_on(open_and_burst(stage, variant, &workload, &memory, first))?;
    let mut leaked =
        Leaked { tasks: tasks_settled(&runtime), threads: 0, descriptors: descriptors()? - descriptors_before };
    drop(runtime);
    leaked.threads = threads_settled(threads_before)? - threads_before;
    let memory_retained = memory.retained()?;
    let watched = watch.end()?;
    let (verdict, transactions) = judge(stage, &workload, open.verdict)?;
    Ok(Measured {
        backend: open.backend,
        usage: open.usage,
        allocations_per_publish: open.allocations.map(|count| allocations_each(count, &workload)),
        burst: open.burst,
        not_acked: open.not_acked,
        rejected: open.rejected,
        peak_tasks: open.peak_tasks,
        memory_peak_delta: open.memory_peak_delta,
        memory_retained,
        watched,
        leaked,
        verdict,
        transactions,
        reading: open.reading,
    })
}

async fn open_and_burst(
    stage: &Stage,
    variant: Variant,
    workload: &Arc<Workload>,
    memory: &Memory,
    first: ReadFirst,
) -> Result<Open> {
    let bus = stage.bus().await?;
    let publishers = Opened::open(&bus, stage, &stage.topics, variant, workload).await?;
    let start = Start::new(workload.senders);
    let (meter, counted) = (Meter::begin()?, allocations::count());
    let burst = publishers.burst(workload, &start).await?;
    let allocations = allocations::count().zip(counted).map(|(now, before)| now - before);
    let usage = meter.usage()?;
    let memory_peak_delta = memory.peak_delta()?;
    let verdict = match stage.file() {
        Some(_) if cfg!(feature = "sqlite") => None,
        _ => Some(judge_driver(&bus, &stage.topics, workload).await?),
    };
    let rejected = publishers.rejected();
    let reading = read(&bus, stage, variant, workload, (first, rejected)).await?;
    let backend = bus.driver().capabilities().backend.to_string();
    let ends = bus.close(CLOSE_MAX).await?;
    let left: Vec<&String> = ends.iter().flat_map(|end| &end.left).collect();
    ensure!(left.is_empty(), "not closed within {CLOSE_MAX:?}: {left:?}");
    let acked: u64 = ends.iter().map(|end| end.stats.acked).sum();
    let failures = publishers.failures() + reading.followed.not_acked;
    let missed = if publishers.is_bus() { (2 * workload.envelopes).saturating_sub(acked) } else { 0 };
    let not_acked = missed.max(failures);
    publishers.close().await?;
    let peak_tasks = start.peak_tasks();
    Ok(Open {
        backend,
        burst,
        usage,
        allocations,
        not_acked,
        rejected,
        peak_tasks,
        memory_peak_delta,
        verdict,
        reading,
    })
}

/// Reads what the burst stored, by a group and by the twin, and follows a second burst.
async fn read(
    bus: &busline::Bus,
    stage: &Stage,
    variant: Variant,
    workload: &Arc<Workload>,
    (first, rejected): (ReadFirst, u64),
) -> Result<Reading> {
    let backend = bus.driver().capabilities().backend.to_string();
    let read_twin = || crate::twin::read(&backend, stage, workload.envelopes - rejected);
    let early = if first == ReadFirst::Twin { read_twin().await? } else { None };
    let drained = drain(bus, &stage.topics, GROUP, workload, rejected).await?;
    let twin = if first == ReadFirst::Bus { read_twin().await? } else { early };
    let followed = follow(bus, stage, variant, workload).await?;
    Ok(Reading { drained, followed, twin })
}

/// Allocations of one publish without those of making its envelope, which are counted apart.
fn allocations_each(burst: u64, workload: &Workload) -> f64 {
    const MADE: u64 = 1_000;
    let before = allocations::count().unwrap_or(0);
    for version in 1..=MADE {
        std::hint::black_box(workload.envelope(Event { aggregate: 0, version }));
    }
    let made = allocations::count().unwrap_or(0) - before;
    burst as f64 / workload.envelopes as f64 - made as f64 / MADE as f64
}

#[cfg(feature = "sqlite")]
fn judge(stage: &Stage, workload: &Workload, known: Option<Verdict>) -> Result<(Verdict, Option<Vec<usize>>)> {
    match (known, stage.file()) {
        (None, Some(file)) => {
            let dump = crate::dump::judge_file(&file, &stage.topics, workload)?;
            Ok((dump.verdict, Some(dump.transactions)))
        }
        (known, _) => Ok((known.context("nothing was judged")?, None)),
    }
}

#[cfg(not(feature = "sqlite"))]
fn judge(_stage: &Stage, _workload: &Workload, known: Option<Verdict>) -> Result<(Verdict, Option<Vec<usize>>)> {
    Ok((known.context("nothing was judged")?, None))
}

/// Makes a bus with these topics and closes it again: the file that a twin finds.
#[cfg(feature = "sqlite")]
pub(crate) fn make_topics(url: &str, topics: &[String]) -> Result<()> {
    runtime()?.block_on(async {
        let bus = busline::connect(url).await?;
        for topic in topics {
            bus.driver().create_topic(&TopicName::new(topic)?, &TopicSpec::default()).await?;
        }
        bus.close(CLOSE_MAX).await?;
        Ok(())
    })
}
