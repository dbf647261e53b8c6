use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

use crate::entry::{
    Accept, Accepted, Acked, Assign, Assignment, Batch, Commit, Deliver, Delivered, DumpRead, Dumped, Entry, Fault,
    Handler, Life, NotAcked, Op, Process, Publication, Publish, Revoke, Sample, Sampled, Seek, Settle, Sought,
};

/// Writes the history of this process: each entry is in the file when its call returns.
///
/// Nothing is buffered and each line is one `write`, so SIGKILL takes at most the line being written and no sync is
/// needed. Usable from any number of threads; clones write to the same file. A power loss may take lines.
///
/// Write an *invoke* before the call that it announces, an end after it. If a method gives an error the history is no
/// longer complete: end the run, for a judge would see a fault of the bus where there was one of the recorder.
#[derive(Debug, Clone)]
pub struct Recorder {
    file: Arc<HistoryFile>,
    actor: Arc<str>,
}

#[derive(Debug)]
struct HistoryFile {
    file: File,
    process: Process,
    next_idx: AtomicU64,
}

impl Recorder {
    /// Starts the history file of this process; `epoch` is its restart number, from 0. The actor is `main`.
    ///
    /// # Errors
    /// The file exists already (a history belongs to one process), or it cannot be made.
    pub fn create(path: impl AsRef<Path>, epoch: u32) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        let process = Process { pid: std::process::id(), epoch };
        let file = HistoryFile { file, process, next_idx: AtomicU64::new(0) };
        Ok(Self { file: Arc::new(file), actor: "main".into() })
    }

    /// The same history, written in the name of another actor.
    pub fn actor(&self, name: impl Into<Arc<str>>) -> Self {
        Self { file: Arc::clone(&self.file), actor: name.into() }
    }

    /// The process whose history this is.
    pub fn process(&self) -> Process {
        self.file.process
    }

    /// Writes any operation.
    ///
    /// # Errors
    /// The line could not be written whole; this is so for all methods here.
    pub fn record(&self, op: impl Into<Op>) -> io::Result<()> {
        self.file.append(&self.actor, op.into())
    }

    /// A publish is about to be called.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn publish_invoke(&self, publication: Publication) -> io::Result<()> {
        self.record(Publish::Invoke(publication))
    }

    /// An envelope was acked.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn publish_ok(&self, acked: Acked) -> io::Result<()> {
        self.record(Publish::Ok(acked))
    }

    /// An envelope certainly was not stored and never will be.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn publish_fail(&self, id: impl Into<String>, error: impl Into<String>) -> io::Result<()> {
        self.record(Publish::Fail(NotAcked { id: id.into(), error: error.into() }))
    }

    /// It is not known whether an envelope was stored.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn publish_info(&self, id: impl Into<String>, error: impl Into<String>) -> io::Result<()> {
        self.record(Publish::Info(NotAcked { id: id.into(), error: error.into() }))
    }

    /// An envelope entered the window. Write it before the next publish of the same publisher and key is called.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn accept(&self, id: impl Into<String>) -> io::Result<()> {
        self.record(Accept::Ok(Accepted { id: id.into() }))
    }

    /// A batch is about to be published, or ended.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn batch(&self, batch: Batch) -> io::Result<()> {
        self.record(batch)
    }

    /// A record was handed over.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn deliver(&self, delivered: Delivered) -> io::Result<()> {
        self.record(Deliver::Ok(delivered))
    }

    /// A handler starts or ends; called from within the handler.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn handler(&self, step: Handler) -> io::Result<()> {
        self.record(step)
    }

    /// A record's fate is being decided, or is.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn settle(&self, settle: Settle) -> io::Result<()> {
        self.record(settle)
    }

    /// An offset is about to be committed, or the commit ended.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn commit(&self, commit: Commit) -> io::Result<()> {
        self.record(commit)
    }

    /// A member got partitions.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn assign(&self, assignment: Assignment) -> io::Result<()> {
        self.record(Assign::Ok(assignment))
    }

    /// A member gave up partitions.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn revoke(&self, assignment: Assignment) -> io::Result<()> {
        self.record(Revoke::Ok(assignment))
    }

    /// A group was moved on purpose.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn seek(&self, sought: Sought) -> io::Result<()> {
        self.record(Seek::Ok(sought))
    }

    /// A fault begins or is over.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn fault(&self, fault: Fault) -> io::Result<()> {
        self.record(fault)
    }

    /// Something opens, drains, closes or crashes.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn life(&self, life: Life) -> io::Result<()> {
        self.record(life)
    }

    /// A gauge was read.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn sample(&self, gauge: impl Into<String>, value: u64) -> io::Result<()> {
        self.record(Sample::Ok(Sampled { gauge: gauge.into(), value }))
    }

    /// Rows were read from a topic by other means than the bus.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn dump(&self, dumped: Dumped) -> io::Result<()> {
        self.record(DumpRead::Ok(dumped))
    }
}

impl HistoryFile {
    fn append(&self, actor: &str, op: Op) -> io::Result<()> {
        let entry = Entry {
            idx: self.next_idx.fetch_add(1, Ordering::Relaxed),
            mono_ns: now_ns(ClockId::Monotonic),
            wall_ns: now_ns(ClockId::Realtime),
            pid: self.process.pid,
            epoch: self.process.epoch,
            actor: actor.to_owned(),
            op,
        };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        write_whole(&self.file, &line)
    }
}

/// One `write`, never a second for the rest: another thread's line could come between the two halves.
fn write_whole(mut file: &File, line: &[u8]) -> io::Result<()> {
    loop {
        match file.write(line) {
            Ok(written) if written == line.len() => return Ok(()),
            Ok(_) => return Err(io::Error::new(io::ErrorKind::WriteZero, "only a part of a history line was written")),
            // Interrupted means that nothing was written.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The standard library's `Instant` has no absolute value, so it cannot be compared between processes.
fn now_ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    u64::try_from(i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)).unwrap_or_default()
}
