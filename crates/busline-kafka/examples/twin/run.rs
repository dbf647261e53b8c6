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
    /// How far resident memory rose at most, and how much of that stayed until the last ack. Unit: KiB.
    pub(crate) peak: f64,
    pub(crate) retained: f64,
}

/// A run under way.
pub(crate) struct Watch {
    broker: Broker,
    start: Instant,
    cpu: Duration,
    broker_cpu: Duration,
    times: Vec<Duration>,
    resident: f64,
}

impl Watch {
    pub(crate) fn start(broker: Broker) -> Self {
        // Source: proc_pid_clear_refs(5): writing 5 sets the peak to what is resident.
        drop(std::fs::write("/proc/self/clear_refs", "5"));
        Self {
            resident: status("VmRSS:"),
            broker,
            cpu: cpu_time("self"),
            broker_cpu: broker.cpu_time(),
            start: Instant::now(),
            times: Vec::new(),
        }
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
        Run {
            rate: events as f64 / elapsed.as_secs_f64(),
            cpu: each(cpu),
            broker_cpu: each(broker_cpu),
            p50,
            peak: status("VmHWM:") - self.resident,
            retained: status("VmRSS:") - self.resident,
        }
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

/// A line of this process's status. Unit: KiB.
fn status(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse().unwrap_or(f64::NAN)
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
        write!(f, "  memory {:>+7.0} {:>+7.0} KiB", self.peak, self.retained)?;
        if self.p50 > 0.0 { write!(f, "  p50 {:>6.0} us", self.p50) } else { Ok(()) }
    }
}
