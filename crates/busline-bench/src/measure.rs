//! What a run costs the process: memory, processor time, allocations, and what it leaves behind.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Processor time that this process has used, all threads together.
pub(crate) fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "the standard library gives no processor time")]
    // SAFETY: the call writes to a timespec that lives here, and to nothing else.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } != 0;
    if failed { Duration::ZERO } else { Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32) }
}

/// The machine's monotonic clock, the same in all processes. Unit: nanoseconds.
#[cfg(feature = "sqlite")]
pub(crate) fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "an Instant of the standard library cannot leave its process")]
    // SAFETY: the call writes to a timespec that lives here, and to nothing else.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) } != 0;
    if failed { 0 } else { time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs() }
}

/// Gives free memory back to the system, so that what is resident is what is held.
pub(crate) fn trim_memory() {
    #[expect(unsafe_code, reason = "only the allocator itself can give its free pages back")]
    // SAFETY: malloc_trim takes the allocator's own locks and touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Resident memory of this process. Unit: bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    before: u64,
    held_before: u64,
}

impl Memory {
    /// Starts to watch the peak: what is resident at this moment is where it counts from.
    pub(crate) fn watch() -> Result<Self> {
        trim_memory();
        // Source: proc_pid_clear_refs(5): writing 5 sets the peak to what is resident.
        fs::write("/proc/self/clear_refs", "5").context("reset the peak of memory")?;
        Ok(Self { before: status_bytes("VmRSS:")?, held_before: held_bytes()? })
    }

    /// How far memory has risen at most since.
    pub(crate) fn peak_delta(&self) -> Result<i64> {
        Ok(status_bytes("VmHWM:")? as i64 - self.before as i64)
    }

    /// How much more is resident than then.
    pub(crate) fn above(&self) -> Result<i64> {
        Ok(status_bytes("VmRSS:")? as i64 - self.before as i64)
    }

    /// How much more is held than then.
    pub(crate) fn retained(&self) -> Result<i64> {
        Ok(held_bytes()? as i64 - self.held_before as i64)
    }
}

/// Memory that was allocated and not freed, by this program and by the C libraries in it.
///
/// Not what is resident: that has pages of code in it that ran for the first time, stacks of threads that have ended, and
/// what the allocator keeps between blocks, which makes it come and go by megabytes.
#[cfg(target_env = "gnu")]
fn held_bytes() -> Result<u64> {
    #[expect(unsafe_code, reason = "only the allocator knows what is allocated")]
    // SAFETY: mallinfo2 takes the allocator's own locks and reads its counters.
    let info = unsafe { libc::mallinfo2() };
    Ok((info.uordblks + info.hblkhd) as u64)
}

/// What is resident of it, where the allocator does not say more.
#[cfg(not(target_env = "gnu"))]
fn held_bytes() -> Result<u64> {
    trim_memory();
    status_bytes("RssAnon:")
}

fn status_bytes(field: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("read the process's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).with_context(|| format!("no {field}"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().with_context(|| format!("read {field}"))?;
    Ok(kib * 1_024)
}

/// Tasks, threads and descriptors that were there after a run and not before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaked {
    /// Tasks of the runtime.
    pub tasks: i64,
    /// Threads of the process.
    pub threads: i64,
    /// Open descriptors of the process.
    pub descriptors: i64,
}

impl Leaked {
    /// Whether nothing was left.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Open descriptors of this process. The one that lists them is not counted.
pub(crate) fn descriptors() -> Result<i64> {
    Ok(fs::read_dir("/proc/self/fd").context("list descriptors")?.count() as i64 - 1)
}

/// Threads of this process.
pub(crate) fn threads() -> Result<i64> {
    Ok(fs::read_dir("/proc/self/task").context("list threads")?.count() as i64)
}

/// Threads of this process, once no more than `expected` are left or a short time has passed: a thread that was joined
/// stays listed until the kernel has taken it away.
pub(crate) fn threads_settled(expected: i64) -> Result<i64> {
    let end = Instant::now() + THREAD_EXIT_MAX;
    loop {
        let count = threads()?;
        if count <= expected || Instant::now() >= end {
            return Ok(count);
        }
        std::thread::yield_now();
    }
}

const THREAD_EXIT_MAX: Duration = Duration::from_millis(200);

/// Processor time that was used while something ran, by this process and by all others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    machine: Ticks,
    own: Duration,
}

impl Load {
    pub(crate) fn now() -> Result<Self> {
        Ok(Self { machine: Ticks::now()?, own: cpu_time() })
    }

    /// The share of all processors that other processes used since. From 0 to 1.
    pub(crate) fn others_since(&self) -> Result<f64> {
        let now = Self::now()?;
        let ran = now.machine.since(self.machine);
        let total_s = seconds(ran.total);
        Ok(if total_s > 0.0 { (ran.others_s(now.own - self.own) / total_s).min(1.0) } else { 0.0 })
    }
}

/// What all processors of the machine have done since it started. Unit: ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticks {
    busy: u64,
    /// Nothing to do but to wait for a disk.
    disk_wait: u64,
    total: u64,
}

/// Source: proc_stat(5); Linux has used 100 on every platform for 20 years.
const TICKS_PER_SECOND: f64 = 100.0;

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS_PER_SECOND
}

impl Ticks {
    pub(crate) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("read the machine's load")?;
        Self::parse(&text).context("no line 'cpu' in /proc/stat")
    }

    /// Those that were counted since an earlier look.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            busy: self.busy - before.busy,
            disk_wait: self.disk_wait - before.disk_wait,
            total: self.total - before.total,
        }
    }

    /// Processor time of all processes but this one, which has used `own` of it. Unit: seconds.
    pub(crate) fn others_s(self, own: Duration) -> f64 {
        (seconds(self.busy) - own.as_secs_f64()).max(0.0)
    }

    /// Time of processors that waited for a disk. Unit: seconds.
    pub(crate) fn disk_wait_s(self) -> f64 {
        seconds(self.disk_wait)
    }

    /// Those of the first line: user, nice, system, idle, iowait, irq, softirq, steal.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let fields: Vec<u64> = line.split_ascii_whitespace().map_while(|field| field.parse().ok()).take(8).collect();
        let total: u64 = fields.iter().sum();
        let (idle, disk_wait) = (fields.get(3)?, *fields.get(4)?);
        Some(Self { busy: total - idle - disk_wait, disk_wait, total })
    }
}

/// What the figures were measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub processors: usize,
    /// Their model, as the system names it.
    pub processor: String,
    /// Memory of the machine. Unit: bytes.
    pub memory_bytes: u64,
    /// The system and its release.
    pub system: String,
    /// The file system of the measured files.
    pub file_system: String,
    /// Whether this program was built without optimization.
    pub debug_build: bool,
}

impl Machine {
    pub(crate) fn of(folder: &std::path::Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let value = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
            value.map_or_else(String::new, |(_, value)| value.trim().to_string())
        };
        let kib = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches("kB").trim().parse().unwrap_or(0);
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            memory_bytes: kib * 1_024_u64,
            system: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            file_system: file_system_of(&read("/proc/self/mounts"), folder).unwrap_or_default(),
            debug_build: cfg!(debug_assertions),
        }
    }

    /// Whether a sync costs nothing there, because nothing is written to a disk.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }
}

/// The type of the mount whose path is the longest above this folder; of two at the same path the later one.
fn file_system_of(mounts: &str, folder: &std::path::Path) -> Option<String> {
    let lines = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let above = lines.filter(|(path, _)| folder.starts_with(path));
    above.max_by_key(|(path, _)| path.len()).map(|(_, kind)| kind.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_above_a_folder_is_its_file_system() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmpdata xfs rw 0 0\n";
        for (folder, kind) in [("/tmp/x", "tmpfs"), ("/tmpdata", "xfs"), ("/srv", "ext4")] {
            assert_eq!(file_system_of(mounts, folder.as_ref()).as_deref(), Some(kind));
        }
    }

    #[test]
    fn busy_ticks_are_all_but_idle_and_waiting() {
        let ticks = Ticks { busy: 30, disk_wait: 10, total: 100 };
        assert_eq!(Ticks::parse("cpu  10 0 20 60 10 0 0 0 5 5\ncpu0 1 1\n"), Some(ticks));
        assert_eq!(Ticks::parse("intr 1"), None);
    }

    #[test]
    fn memory_that_is_held_is_seen_and_memory_that_is_given_back_is_not() {
        let watch = Memory::watch().expect("linux");
        let held = std::hint::black_box(vec![1_u8; 32 << 20]);
        assert!(watch.retained().expect("linux") >= 30 << 20);
        drop(held);
        assert!(watch.peak_delta().expect("linux") >= 30 << 20);
        assert!(watch.retained().expect("linux") < 8 << 20);
    }

    #[test]
    fn processor_time_rises_with_work() {
        let before = cpu_time();
        let sum: u64 = (0..20_000_000_u64).map(std::hint::black_box).sum();
        assert!(std::hint::black_box(sum) > 0);
        assert!(cpu_time() > before);
    }
}
