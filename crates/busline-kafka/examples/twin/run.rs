//! What one run came to.

use std::fmt;
use std::time::{Duration, Instant};

/// Rate in events a second, CPU of the whole process in microseconds an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) rate: f64,
    pub(crate) cpu: f64,
}

/// A run under way.
pub(crate) struct Watch {
    start: Instant,
    cpu: Duration,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), cpu: cpu_time() }
    }

    pub(crate) fn stop(&self, events: usize) -> Run {
        let (elapsed, cpu) = (self.start.elapsed(), cpu_time().saturating_sub(self.cpu));
        Run { rate: events as f64 / elapsed.as_secs_f64(), cpu: cpu.as_secs_f64() * 1e6 / events as f64 }
    }
}

/// User and system time of this process so far, in steps of 10 ms.
fn cpu_time() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program stands in parentheses and may hold anything.
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let times = behind_name.split_whitespace().skip(11).take(2);
    TICK * times.filter_map(|ticks| ticks.parse::<u32>().ok()).sum::<u32>()
}

/// The medians of rate and of CPU, each by itself.
pub(crate) fn median(runs: &[Run]) -> Run {
    let middle = |of: fn(&Run) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Run { rate: middle(|run| run.rate), cpu: middle(|run| run.cpu) }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.0} events/s  {:>6.2} us CPU", self.rate, self.cpu)
    }
}
