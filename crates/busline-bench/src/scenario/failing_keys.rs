//! The healthy keys while 1 % of the keys fail for ever: tried again and again, or parked with all that follows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use busline::{Delivery, HandlerError, Retry};

use super::outcome::{Outcome, ScenarioRequest};
use super::stage::Filled;
use super::steps::Steps;
use crate::consuming::{Follower, concurrency_of};
use crate::place::Place;
use crate::targets::{Bound, Target};
use crate::workload::aggregate_of;

const KEYS: usize = 1_000;
const FAILING: usize = KEYS / 100;

/// What becomes of the failing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// They do not fail.
    Handled,
    /// Each is tried again for longer than a run takes.
    Retried,
    /// Each is parked at its first failure, and what follows of it behind it.
    Parked,
}

const FATES: [Fate; 3] = [Fate::Handled, Fate::Retried, Fate::Parked];

/// What the handlers of healthy keys do.
struct Work {
    named: &'static str,
    sleep: Option<Duration>,
    /// A failing key holds its partition's progress, so that no more than `ahead_max` = 65,536 of a partition are
    /// delivered: each has fewer.
    envelopes: u64,
}

const WORKS: [Work; 2] = [
    Work { named: "handlers do nothing", sleep: None, envelopes: 200_000 },
    Work { named: "handlers of 1 ms", sleep: Some(Duration::from_millis(1)), envelopes: 20_000 },
];

/// Measured files, each of which is read by a group for each fate in each run.
pub(super) const FILES: u64 = WORKS.len() as u64;

pub(super) fn measure(place: &Place, request: &ScenarioRequest, steps: &mut Steps<'_>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for work in &WORKS {
        measure_work(work, place, request, steps, &mut outcome)?;
    }
    outcome.settings = format!(
        "{} or {} envelopes of {} B, {KEYS} keys of which {FAILING} fail, 1 topic of 4 partitions, concurrency {}, \
         pauses of 100 ms to 2 s where they are tried again",
        WORKS[0].envelopes,
        WORKS[1].envelopes,
        request.payload_bytes,
        concurrency_of(1)
    );
    Ok(outcome)
}

fn measure_work(
    work: &Work,
    place: &Place,
    request: &ScenarioRequest,
    steps: &mut Steps<'_>,
    outcome: &mut Outcome,
) -> Result<()> {
    let filled = Filled::new(place, work.envelopes, KEYS, request.payload_bytes)?;
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for run in 0..=request.runs {
        if !steps.next() {
            break;
        }
        // Taking turns, so that none is always the first.
        for turn in 0..FATES.len() {
            let which = (run as usize + turn) % FATES.len();
            let rate = healthy_rate(&filled, &format!("group-{run}-{which}"), FATES[which], work.sleep, outcome)?;
            // The first runs warm up.
            if run > 0 {
                rates[which].push(rate);
            }
        }
    }
    filled.end()?;
    let [handled, retried, parked] = rates;
    for (how, rates) in [("are tried again", &retried), ("are parked", &parked)] {
        let ratios: Vec<f64> = rates.iter().zip(&handled).map(|(failing, handled)| failing / handled).collect();
        let what = format!("{}: healthy keys' rate where failing ones {how} ÷ without", work.named);
        if let Some(it) = outcome.measure(&what, ratios) {
            outcome.targets.push(Target::new(what, Bound::AtLeast(0.95), it.median, Some(it.spread_percent)));
        }
    }
    for (what, rates) in [("nothing fails", handled), ("1 % are tried again", retried), ("1 % are parked", parked)] {
        outcome.measure(&format!("{}: healthy keys' handled/s, {what}", work.named), rates);
    }
    Ok(())
}

fn healthy_rate(
    filled: &Filled,
    group: &str,
    fate: Fate,
    sleep: Option<Duration>,
    outcome: &mut Outcome,
) -> Result<f64> {
    let follower = Arc::new(Follower::behind(&filled.workload, FAILING));
    let planned = follower.planned();
    let consumed = filled.runtime.block_on(async {
        let handler_follower = Arc::clone(&follower);
        let handler = move |delivery: Delivery| {
            let follower = Arc::clone(&handler_follower);
            async move {
                if aggregate_of(&delivery.envelope.aggregate_id).is_some_and(|key| key < FAILING) {
                    return if fate == Fate::Handled { Ok(()) } else { Err(HandlerError::from("this key fails")) };
                }
                follower.begin(&delivery);
                if let Some(time) = sleep {
                    tokio::time::sleep(time).await;
                }
                follower.take(&delivery);
                Ok(())
            }
        };
        let called = Instant::now();
        let builder = filled.bus.subscribe(filled.topic(), group).concurrency(concurrency_of(1));
        let retry = if fate == Fate::Parked { Retry::never() } else { Retry::exponential(1_000) };
        let subscription = builder.retry(retry).handle(handler).await?;
        follower.wait().await;
        follower.end(vec![subscription], called, Duration::ZERO).await
    })?;
    let whole = crate::arrivals::Arrived { delivered: planned, ..Default::default() };
    if consumed.arrived != whole {
        outcome.wrong.push(format!("{group}: {:?} of {planned}", consumed.arrived));
    }
    Ok(planned as f64 / consumed.consumed_in.as_secs_f64())
}
