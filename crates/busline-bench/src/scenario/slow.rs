//! A full store and slow handlers: what waits must wait in the store, not in memory.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use busline::Delivery;

use super::outcome::{Outcome, ScenarioRequest};
use super::stage::Filled;
use super::steps::Steps;
use crate::consuming::concurrency_of;
use crate::measure::{Memory, descriptors, threads, threads_settled};
use crate::place::Place;
use crate::targets::{Bound, Target};

const ENVELOPES: u64 = 1_000_000;
const KEYS: usize = 1_000;
const SLEEP: Duration = Duration::from_millis(5);
/// Time in which buffers reach their size.
const SETTLE: Duration = Duration::from_secs(4);
/// A leak of seven bytes for each event at the rate that these handlers reach. Unit: KiB in a second.
const SLOPE_MAX_KIB: f64 = 64.0;
const LOOKS: u32 = 100;
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn measure(place: &Place, request: &ScenarioRequest, steps: &mut Steps<'_>) -> Result<Outcome> {
    let (threads_before, descriptors_before) = (threads()?, descriptors()?);
    steps.next();
    let filled = Filled::new(place, ENVELOPES, KEYS, request.payload_bytes)?;
    let memory = Memory::watch()?;
    let (looks, handled) = filled.runtime.block_on(consume_slowly(&filled, &memory))?;
    let retained = memory.retained()?;
    let peak = memory.peak_delta()?;
    let tasks = filled.end()?;
    let threads = threads_settled(threads_before)? - threads_before;
    let left = tasks + threads.abs() + (descriptors()? - descriptors_before).abs();
    let mut outcome = Outcome {
        settings: format!(
            "{ENVELOPES} stored envelopes of {} B and {KEYS} keys, 1 topic, concurrency {}, handlers sleep 5 ms, for {} s",
            request.payload_bytes,
            concurrency_of(1),
            (SETTLE + LOOK_EVERY * LOOKS).as_secs()
        ),
        ..Outcome::default()
    };
    if handled == 0 {
        outcome.wrong.push("nothing was handled".into());
    }
    let seconds = SETTLE.as_secs_f64() + LOOK_EVERY.as_secs_f64() * f64::from(LOOKS);
    outcome.measure("handled/s", [handled as f64 / seconds]);
    outcome.measure("memory above that before subscribing, highest, MiB", [mebi(peak)]);
    outcome.measure("memory held after close, MiB", [mebi(retained)]);
    for (what, bound, is) in [
        ("memory's slope, KiB in a second", SLOPE_MAX_KIB, slope(&looks) / 1_024.0),
        ("tasks, threads and descriptors left", 0.0, left as f64),
    ] {
        outcome.measure(what, [is]);
        outcome.certain.push(Target::new(what.into(), Bound::AtMost(bound), is, None));
    }
    Ok(outcome)
}

fn mebi(bytes: i64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Memory at each look, as seconds and bytes, and the number of events handled.
async fn consume_slowly(filled: &Filled, memory: &Memory) -> Result<(Vec<(f64, f64)>, u64)> {
    let handler = |_: Delivery| async {
        tokio::time::sleep(SLEEP).await;
        Ok(())
    };
    let builder = filled.bus.subscribe(filled.topic(), "slow").concurrency(concurrency_of(1));
    let subscription = builder.handle(handler).await?;
    tokio::time::sleep(SETTLE).await;
    let (start, mut looks) = (Instant::now(), Vec::new());
    for _ in 0..LOOKS {
        tokio::time::sleep(LOOK_EVERY).await;
        looks.push((start.elapsed().as_secs_f64(), memory.above()? as f64));
    }
    let left = subscription.close(Duration::from_secs(10)).await?;
    ensure!(left.left.is_empty(), "not closed: {:?}", left.left);
    Ok((looks, left.stats.handled))
}

/// The slope of the straight line that fits these points best, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let along: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let across: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if across == 0.0 { 0.0 } else { along / across }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_that_of_the_line_and_noise_cancels() {
        let line: Vec<(f64, f64)> = (0..10).map(|x| (f64::from(x), 7.0 + 3.0 * f64::from(x))).collect();
        assert!((slope(&line) - 3.0).abs() < 1e-9);
        assert!(slope(&[(0.0, 5.0), (1.0, 6.0), (2.0, 5.0)]).abs() < 1e-9);
        assert!(slope(&[(1.0, 5.0)]).abs() < 1e-9);
    }
}
