//! What one run came to.

use std::fmt;
use std::time::{Duration, Instant};

/// The broker's process, if it runs on this machine and was named.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broker(pub(crate) Option<u32>);

/// Rate in events a second; CPU of the whole process, and of the broker's, in microseconds an event; the middle of the
/// times of single events in microseconds, if each was timed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) rate: f64,
    pub(crate) cpu: f64,
    pub(crate) broker_cpu: f64,
    pub(crate) p50: f64,
}

/// A run under way.
pub(crate) struct Watch {
    broker: Broker,
    start: Instant,
    cpu: Duration,
    broker_cpu: Duration,
    times: Vec<Duration>,
}

impl Watch {
    pub(crate) fn start(broker: Broker) -> Self {
        Self { broker, cpu: cpu_time("self"), broker_cpu: broker.cpu_time(), start: Instant::now(), times: Vec::new() }
    }

    /// One event took so long.
    pub(crate) fn took(&mut self, time: Duration) {
        self.times.push(time);
    }

    pub(crate) fn stop(mut self, events: usize) -> Run {
        let elapsed = self.start.elapsed();
        let cpu = cpu_time("self").saturating_sub(self.cpu);
        let broker_cpu = self.broker.cpu_time().saturating_sub(self.broker_cpu);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / events as f64;
        self.times.sort_unstable();
        let p50 = self.times.get(self.times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6);
        Run { rate: events as f64 / elapsed.as_secs_f64(), cpu: each(cpu), broker_cpu: each(broker_cpu), p50 }
    }
}

impl Broker {
    fn cpu_time(self) -> Duration {
        self.0.map_or(Duration::ZERO, |process| cpu_time(&process.to_string()))
    }
}

/// User and system time of a process so far, in steps of 10 ms.
fn cpu_time(process: &str) -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name of the program stands in parentheses and may hold anything.
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let times = behind_name.split_whitespace().skip(11).take(2);
    TICK * times.filter_map(|ticks| ticks.parse::<u32>().ok()).sum::<u32>()
}

/// The middle of these values, and half their spread as a part of it.
pub(crate) fn middle(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (values.first(), values.last()) else { return (f64::NAN, f64::NAN) };
    let middle = values[values.len() / 2];
    (middle, (most - least) / 2.0 / middle)
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.0} events/s  {:>6.2} us CPU  {:>6.2} us broker CPU", self.rate, self.cpu, self.broker_cpu)?;
        if self.p50 > 0.0 { write!(f, "  p50 {:>6.0} us", self.p50) } else { Ok(()) }
    }
}
