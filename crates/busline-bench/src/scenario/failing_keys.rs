//! The healthy keys while 1 % of the keys fail and are tried again and again.

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

/// A failing key holds its partition's progress, so that no more than `ahead_max` = 65,536 of a partition are delivered:
/// each has fewer.
const ENVELOPES: u64 = 200_000;
const KEYS: usize = 1_000;
const FAILING: usize = KEYS / 100;

pub(super) fn measure(place: &Place, request: &ScenarioRequest, steps: &mut Steps<'_>) -> Result<Outcome> {
    let filled = Filled::new(place, ENVELOPES, KEYS, request.payload_bytes)?;
    let (mut well, mut failing, mut outcome) = (Vec::new(), Vec::new(), Outcome::default());
    for run in 0..=request.runs {
        if !steps.next() {
            break;
        }
        // Taking turns, so that neither is always the first.
        let order = if run % 2 == 0 { [false, true] } else { [true, false] };
        for fails in order {
            let rate = healthy_rate(&filled, &format!("group-{run}-{fails}"), fails, &mut outcome)?;
            // The first pair warms up.
            if run > 0 {
                if fails { &mut failing } else { &mut well }.push(rate);
            }
        }
    }
    filled.end()?;
    outcome.settings = format!(
        "{ENVELOPES} envelopes of {} B, {KEYS} keys of which {FAILING} fail, 1 topic of 4 partitions, concurrency {}, \
         pauses of 100 ms to 2 s",
        request.payload_bytes,
        concurrency_of(1)
    );
    let ratios: Vec<f64> = failing.iter().zip(&well).map(|(failing, well)| failing / well).collect();
    outcome.measure("healthy keys' handled/s, nothing fails", well);
    outcome.measure("healthy keys' handled/s, 1 % of the keys fail", failing);
    let what = "healthy keys' rate with failing ones ÷ without";
    if let Some(it) = outcome.measure(what, ratios) {
        outcome.targets.push(Target::new(what.into(), Bound::AtLeast(0.95), it.median, Some(it.spread_percent)));
    }
    Ok(outcome)
}

fn healthy_rate(filled: &Filled, group: &str, fails: bool, outcome: &mut Outcome) -> Result<f64> {
    let follower = Arc::new(Follower::behind(&filled.workload, FAILING));
    let planned = follower.planned();
    let consumed = filled.runtime.block_on(async {
        let handler_follower = Arc::clone(&follower);
        let handler = move |delivery: Delivery| {
            let healthy = aggregate_of(&delivery.envelope.aggregate_id).is_none_or(|key| key >= FAILING);
            if healthy {
                handler_follower.take(&delivery);
            }
            std::future::ready(if healthy || !fails { Ok(()) } else { Err(HandlerError::from("this key fails")) })
        };
        let called = Instant::now();
        let builder = filled.bus.subscribe(filled.topic(), group).concurrency(concurrency_of(1));
        let subscription = builder.retry(Retry::exponential(1_000)).handle(handler).await?;
        follower.wait().await;
        follower.end(vec![subscription], called, Duration::ZERO).await
    })?;
    let whole = crate::arrivals::Arrived { delivered: planned, ..Default::default() };
    if consumed.arrived != whole {
        outcome.wrong.push(format!("{group}: {:?} of {planned}", consumed.arrived));
    }
    Ok(planned as f64 / consumed.consumed_in.as_secs_f64())
}
