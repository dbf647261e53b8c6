//! Handlers that sleep: how many of them really run at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use busline::Delivery;
use tokio::task::JoinSet;

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
        let alone = filled.runtime.block_on(sleep_in(1));
        let at_once = filled.runtime.block_on(sleep_in(KEYS));
        let follower = Arc::new(Follower::new(&filled.workload, None));
        let consumed = filled.runtime.block_on(async {
            let handler_follower = Arc::clone(&follower);
            let handler = move |delivery: Delivery| {
                let follower = Arc::clone(&handler_follower);
                async move {
                    follower.begin(&delivery);
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
        if !consumed.is_perfect(&filled.workload, 0) {
            outcome.wrong.push(format!("run {run}: {:?}, {} handled", consumed.arrived, consumed.handled));
        }
        rates.push(ENVELOPES as f64 / consumed.consumed_in.as_secs_f64());
        sleeps.push((alone.as_secs_f64(), at_once.as_secs_f64()));
    }
    filled.end()?;
    outcome.settings = format!(
        "{ENVELOPES} envelopes of {} B, {KEYS} keys, 1 topic of 4 partitions, concurrency {KEYS}, handlers sleep 1 ms",
        request.payload_bytes
    );
    outcome.measure("handled/s", rates.iter().copied());
    outcome.measure("sleep(1 ms) alone, ms", sleeps.iter().map(|(alone, _)| alone * 1e3));
    outcome.measure("sleep(1 ms) in 64 tasks, ms", sleeps.iter().map(|(_, at_once)| at_once * 1e3));
    let share_of = |of: fn(&(f64, f64)) -> f64| {
        let pairs = rates.iter().zip(&sleeps);
        pairs.map(move |(rate, slept)| rate * of(slept) / KEYS as f64)
    };
    outcome.measure("handled/s ÷ (64 ÷ a sleep alone)", share_of(|slept| slept.0));
    let (what, shares) = ("handled/s ÷ 64 tasks that sleep", share_of(|slept| slept.1));
    if let Some(it) = outcome.measure(what, shares) {
        outcome.targets.push(Target::new(what.into(), Bound::AtLeast(0.95), it.median, Some(it.spread_percent)));
    }
    Ok(outcome)
}

/// Mean time that a sleep of [`SLEEP`] takes in so many tasks that do nothing else: 1 ms and what the timer adds.
///
/// The runtime's timers have a millisecond as their unit, and what they add grows with how many sleep at once.
async fn sleep_in(tasks: usize) -> Duration {
    const SLEEPS: u32 = 200;
    let start = Instant::now();
    let mut sleeping = JoinSet::new();
    for _ in 0..tasks {
        sleeping.spawn(async {
            for _ in 0..SLEEPS {
                tokio::time::sleep(SLEEP).await;
            }
        });
    }
    sleeping.join_all().await;
    start.elapsed() / SLEEPS
}
