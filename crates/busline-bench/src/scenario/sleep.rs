//! Handlers that sleep: how many of them really run at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use busline::Delivery;
use tokio::runtime::Handle;

use super::outcome::{Outcome, ScenarioRequest};
use super::stage::Filled;
use super::steps::Steps;
use crate::consuming::Follower;
use crate::place::Place;
use crate::targets::{Bound, Target};

const KEYS: usize = 64;
const ENVELOPES: u64 = KEYS as u64 * 300;
const SLEEP: Duration = Duration::from_millis(1);

pub(super) fn measure(place: &Place, request: &ScenarioRequest, steps: &mut Steps<'_>) -> Result<Outcome> {
    let filled = Filled::new(place, ENVELOPES, KEYS, request.payload_bytes)?;
    let (mut rates, mut sleeps, mut outcome) = (Vec::new(), Vec::new(), Outcome::default());
    for run in 0..request.runs {
        if !steps.next() {
            break;
        }
        let slept = filled.runtime.block_on(sleep_alone());
        let follower = Arc::new(Follower::new(&filled.workload, None));
        let consumed = filled.runtime.block_on(async {
            let handler_follower = Arc::clone(&follower);
            let handler = move |delivery: Delivery| {
                let follower = Arc::clone(&handler_follower);
                async move {
                    follower.begin();
                    tokio::time::sleep(SLEEP).await;
                    follower.take(&delivery);
                    Ok(())
                }
            };
            let called = Instant::now();
            let builder = filled.bus.subscribe(filled.topic(), &format!("sleep-{run}")).concurrency(KEYS);
            let subscription = builder.handle(handler).await?;
            follower.wait().await;
            follower.end(vec![subscription], called, Duration::ZERO).await
        })?;
        if !consumed.is_perfect(&filled.workload) {
            outcome.wrong.push(format!("run {run}: {:?}, {} handled", consumed.arrived, consumed.handled));
        }
        rates.push(ENVELOPES as f64 / consumed.consumed_in.as_secs_f64());
        sleeps.push(slept.as_secs_f64());
    }
    filled.end()?;
    outcome.settings = format!(
        "{ENVELOPES} envelopes of {} B, {KEYS} keys, 1 topic of 4 partitions, concurrency {KEYS}, handlers sleep 1 ms",
        request.payload_bytes
    );
    outcome.measure("handled/s", rates.iter().copied());
    outcome.measure("sleep(1 ms) alone, ms", sleeps.iter().map(|slept| slept * 1e3));
    let shares = rates.iter().zip(&sleeps).map(|(rate, slept)| rate / (KEYS as f64 / slept));
    let what = "handled/s ÷ (64 ÷ a sleep alone)";
    if let Some(it) = outcome.measure(what, shares) {
        outcome.targets.push(Target::new(what.into(), Bound::AtLeast(0.95), it.median, Some(it.spread_percent)));
    }
    Ok(outcome)
}

/// Mean time that a sleep of [`SLEEP`] takes when nothing else runs: 1 ms and what the timer adds.
async fn sleep_alone() -> Duration {
    const SLEEPS: u32 = 200;
    // On a worker, as the handlers' sleeps: the thread that blocks on the runtime is woken otherwise.
    let sleeping = Handle::current().spawn(async {
        let start = Instant::now();
        for _ in 0..SLEEPS {
            tokio::time::sleep(SLEEP).await;
        }
        start.elapsed() / SLEEPS
    });
    sleeping.await.unwrap_or_default()
}
