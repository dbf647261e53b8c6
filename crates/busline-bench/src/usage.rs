//! What was used of the machine while something ran: by this process, by its busiest thread, by everybody else.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::measure::{Ticks, cpu_time};

/// What was used between two moments. Unit of all times: seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The time between them.
    pub elapsed_s: f64,
    /// Processor time of this process.
    pub client_cpu_s: f64,
    /// The thread that used most of it, of those that were alive at the end.
    pub busiest_thread: Option<ThreadUsage>,
    /// Processor time of all other processes, servers on this machine among them. Counted in hundredths of a second.
    pub others_cpu_s: f64,
    /// Time of processors that had nothing to do but to wait for a disk. Counted in hundredths of a second.
    pub disk_wait_s: f64,
}

impl Usage {
    /// Processor time of this process.
    pub(crate) fn client_cpu(&self) -> Duration {
        Duration::from_secs_f64(self.client_cpu_s)
    }
}

/// What one thread used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThreadUsage {
    /// As the system names it, at most 15 bytes.
    pub name: String,
    /// Its processor time. Unit: seconds.
    pub cpu_s: f64,
}

/// Counts from when it is made.
pub(crate) struct Meter {
    threads: HashMap<String, Duration>,
    machine: Ticks,
    begin: Instant,
    cpu: Duration,
}

impl Meter {
    /// Begins; the looking itself is left out.
    pub(crate) fn begin() -> Result<Self> {
        let threads = threads()?;
        Ok(Self { threads, machine: Ticks::now()?, begin: Instant::now(), cpu: cpu_time() })
    }

    /// What was used since.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let (cpu, elapsed) = (cpu_time() - self.cpu, self.begin.elapsed());
        let machine = Ticks::now()?.since(self.machine);
        Ok(Usage {
            elapsed_s: elapsed.as_secs_f64(),
            client_cpu_s: cpu.as_secs_f64(),
            busiest_thread: self.busiest(threads()?),
            others_cpu_s: machine.others_s(cpu),
            disk_wait_s: machine.disk_wait_s(),
        })
    }

    fn busiest(&self, now: HashMap<String, Duration>) -> Option<ThreadUsage> {
        let used = |(id, cpu): (String, Duration)| {
            let before = self.threads.get(&id).copied().unwrap_or_default();
            (id, cpu.saturating_sub(before))
        };
        let (id, cpu) = now.into_iter().map(used).max_by_key(|(_, cpu)| *cpu)?;
        let name = fs::read_to_string(format!("/proc/self/task/{id}/comm")).ok()?;
        Some(ThreadUsage { name: name.trim_end().into(), cpu_s: cpu.as_secs_f64() })
    }
}

/// Processor time of each thread of this process, by its number. Source: the kernel's sched-stats, first field in ns.
fn threads() -> Result<HashMap<String, Duration>> {
    let listed = fs::read_dir("/proc/self/task").context("list threads")?;
    let ids = listed.filter_map(|thread| thread.ok()?.file_name().into_string().ok());
    // One that ends between the two looks is not there any more.
    let used = |id: String| {
        let text = fs::read_to_string(format!("/proc/self/task/{id}/schedstat")).ok()?;
        let nanos = text.split(' ').next()?.parse().ok()?;
        Some((id, Duration::from_nanos(nanos)))
    };
    Ok(ids.filter_map(used).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processor time of the thread that asks.
    fn of_this_thread() -> Duration {
        let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
        Duration::from_nanos(text.split(' ').next().expect("a field").parse().expect("a number"))
    }

    #[test]
    fn a_thread_that_computes_is_the_busiest_one_and_counts_as_the_client() {
        const WORK: Duration = Duration::from_millis(100);
        let meter = Meter::begin().expect("Linux");
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let work = move || {
            while of_this_thread() < WORK {
                std::hint::spin_loop();
            }
            done.send(()).expect("it waits");
            std::thread::park();
        };
        let thread = std::thread::Builder::new().name("computes".into()).spawn(work).expect("a thread");
        wait.recv().expect("it has computed");
        let usage = meter.usage().expect("Linux");
        thread.thread().unpark();
        thread.join().expect("no panic");
        let work_s = WORK.as_secs_f64();
        assert!(usage.client_cpu_s >= work_s && usage.elapsed_s >= work_s, "{usage:?}");
        // Other tests of this process compute beside it, and one of their threads may have done more.
        assert!(usage.busiest_thread.as_ref().is_some_and(|busiest| busiest.cpu_s >= work_s), "{usage:?}");
    }
}
