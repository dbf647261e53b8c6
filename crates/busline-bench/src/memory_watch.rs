//! Resident memory over the time of one run, looked at from a thread of its own, which sees a standstill of the process too.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::measure::trim_memory;
use crate::one_line;

/// Resident memory over time: pairs of a time since the begin, in seconds, and of bytes above what was resident then.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemorySeries(#[serde(serialize_with = "one_line::serialize")] pub Vec<(f64, i64)>);

/// Looks at it until it is asked what it saw.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    end: Sender<()>,
    thread: JoinHandle<Result<Looks>>,
}

/// What a thread has seen.
#[derive(Debug)]
struct Looks {
    seen: Vec<(Duration, u64)>,
    latest: Duration,
}

/// What was seen of one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched {
    pub(crate) memory: MemorySeries,
    /// The longest time by which a look came late: so long the whole process stood still, or was starved.
    pub(crate) stalled: Duration,
}

/// Time between two looks at first. Every time there are too many, each second one is dropped and the time doubled.
const EVERY: Duration = Duration::from_millis(2);

/// Looks that are kept at most, and their room from the start: enough for a curve.
const LOOKS_MAX: usize = 256;

impl MemoryWatch {
    /// Begins. What is counted while it runs — threads, open files — must be counted with it from the start.
    pub(crate) fn begin() -> Result<Self> {
        // One open file for all looks: a run counts descriptors while this goes on.
        let resident = Resident::open()?;
        resident.bytes()?;
        // Else what the run before left free would count as resident, until it is given back.
        trim_memory();
        let (end, ended) = channel();
        let look = move || {
            let began = Instant::now();
            let (mut looks, mut latest) = (Vec::with_capacity(LOOKS_MAX), Duration::ZERO);
            let (mut every, mut is_last) = (EVERY, false);
            loop {
                looks.push((began.elapsed(), resident.bytes()?));
                if is_last {
                    return Ok(Looks { seen: looks, latest });
                }
                if looks.len() == LOOKS_MAX {
                    looks = looks.into_iter().step_by(2).collect();
                    every *= 2;
                }
                let asleep = Instant::now();
                is_last = ended.recv_timeout(every) != Err(RecvTimeoutError::Timeout);
                latest = latest.max(asleep.elapsed().saturating_sub(every));
            }
        };
        let thread = std::thread::Builder::new().name("bench-memory".into()).spawn(look);
        Ok(Self { end, thread: thread.context("start the thread that looks at memory")? })
    }

    /// Ends it and gives what it saw.
    pub(crate) fn end(self) -> Result<Watched> {
        drop(self.end);
        let Looks { seen, latest } =
            self.thread.join().map_err(|_| anyhow!("the thread that looks at memory panicked"))??;
        let first = seen.first().map_or(0, |(_, bytes)| *bytes);
        let above = seen.iter().map(|(at, bytes)| (rounded(*at), *bytes as i64 - first as i64));
        Ok(Watched { memory: MemorySeries(above.collect()), stalled: latest })
    }
}

/// To a tenth of a millisecond, so that files stay small.
fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 1e4
}

/// The file that says how much is resident.
#[derive(Debug)]
pub(crate) struct Resident {
    statm: File,
    page_bytes: u64,
}

impl Resident {
    pub(crate) fn open() -> Result<Self> {
        let statm = File::open("/proc/self/statm").context("look at this process's memory")?;
        #[expect(unsafe_code, reason = "the standard library does not know the size of a page")]
        // SAFETY: the call reads a setting of the system and touches no memory of this process.
        let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Ok(Self { statm, page_bytes: page_bytes.unsigned_abs() })
    }

    /// What is resident. Unit: bytes. Source: proc_pid_statm(5), the second field, in pages.
    pub(crate) fn bytes(&self) -> Result<u64> {
        let mut text = [0; 128];
        let length = self.statm.read_at(&mut text, 0).context("look at this process's memory")?;
        let text = str::from_utf8(&text[..length]).context("memory is told in no text")?;
        let pages: u64 = text.split(' ').nth(1).context("no resident pages")?.parse().context("resident pages")?;
        Ok(pages * self.page_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_resident_is_seen_over_time() {
        let watch = MemoryWatch::begin().expect("linux");
        let held = std::hint::black_box(vec![1_u8; 256 << 20]);
        let seen = watch.end().expect("it looked").memory.0;
        drop(held);
        assert_eq!(seen[0].1, 0, "it counts from the begin: {seen:?}");
        // Other tests of this process give memory back meanwhile.
        assert!(seen.last().expect("a last look").1 > 128 << 20, "{seen:?}");
        assert!(seen.is_sorted_by(|one, next| one.0 <= next.0) && seen.len() <= LOOKS_MAX);
    }

    #[test]
    fn a_series_is_written_on_one_line_and_read_back() {
        let series = MemorySeries(vec![(0.0, 0), (0.0021, 4_096)]);
        let text = serde_json::to_string_pretty(&series).expect("json");
        assert_eq!(text, "[[0.0,0],[0.0021,4096]]");
        assert_eq!(serde_json::from_str::<MemorySeries>(&text).expect("read"), series);
    }
}
