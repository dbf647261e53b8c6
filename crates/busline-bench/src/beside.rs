//! The native twins of one run, directly behind it.

use anyhow::Result;

use crate::burst_run::Measured;
use crate::latency::Percentiles;
use crate::place::Place;
#[cfg(any(feature = "nats", feature = "kafka"))]
use crate::place::Stage;
#[cfg(any(feature = "nats", feature = "kafka"))]
use crate::runtime::runtime;
#[cfg(any(feature = "sqlite", feature = "nats", feature = "kafka"))]
use crate::speed::{micros_each, per_second};
#[cfg(any(feature = "sqlite", feature = "nats", feature = "kafka"))]
use crate::twin::{Bodies, TwinRun};
use crate::workload::Workload;

/// The twins of one run.
pub(crate) struct Twins {
    /// It makes and encodes each envelope.
    pub(crate) encoding: TwinFigures,
    /// Its bodies were made beforehand; it has no part where each envelope is waited for.
    pub(crate) premade: Option<TwinFigures>,
}

/// What one of them came to.
pub(crate) struct TwinFigures {
    pub(crate) envelopes: u64,
    pub(crate) per_second: f64,
    pub(crate) cpu_us: f64,
    pub(crate) transaction_ms: Option<Percentiles>,
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

/// Runs the twins that this backend has; a run that is not sound gets no figures, and so nothing to compare them with, and
/// one that refused a part had less to do.
#[cfg_attr(
    not(any(feature = "sqlite", feature = "nats", feature = "kafka")),
    expect(unused_variables, reason = "no twin in this build")
)]
pub(crate) fn run_twins(place: &Place, workload: &Workload, measured: &Measured) -> Result<Option<Twins>> {
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
    anyhow::ensure!(dump.verdict.is_perfect(0), "the twin is wrong: {:?}", dump.verdict);
    anyhow::ensure!(dump.transactions.len() == transactions.len(), "the twin's transactions are not those of the run");
    crate::place::remove_file(&path);
    Ok(TwinFigures::of(&run))
}
