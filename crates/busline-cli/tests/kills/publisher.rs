//! One life of `busline pub`: fed without end, until it is killed or told to end.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use busline_history::Process;

use super::{Killed, Outcome};

/// Aggregates that the events are of; few, so that each has a long history.
const KEYS: usize = 50;

pub(crate) struct Publisher {
    child: Child,
    feeder: JoinHandle<usize>,
    began: Receiver<()>,
    enough: Arc<AtomicBool>,
}

impl Publisher {
    /// Starts a publisher whose ids are unique by the number of its life.
    pub(crate) fn start(folder: &Path, life: usize) -> Outcome<Self> {
        Self::start_slowly(folder, life, Duration::ZERO)
    }

    /// The same with a pause between two events.
    pub(crate) fn start_slowly(folder: &Path, life: usize, pause: Duration) -> Outcome<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_busline"))
            .args(["pub", "kills", "--file", "-", "--format", "flat", "--json"])
            .arg("--bus")
            .arg(format!("sqlite:{}", folder.join("bus.db").display()))
            .env("BUSLINE_HISTORY", folder.join(format!("life-{life}.ndjson")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let stdin = child.stdin.take().ok_or("no stdin")?;
        let (begin, began) = channel();
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let feeder = std::thread::spawn(move || {
            let _ = begin.send(());
            feed(stdin, life, pause, &told)
        });
        Ok(Self { child, feeder, began, enough })
    }

    /// Kills the process this long after its input began.
    #[expect(clippy::disallowed_methods, reason = "the moment of the kill is the point of the test")]
    pub(crate) fn kill_after(mut self, after: Duration) -> Outcome<Killed> {
        self.began.recv()?;
        std::thread::sleep(after);
        self.child.kill()?;
        let status = self.child.wait()?;
        let lines = self.feeder.join().map_err(|_| "the feeder panicked")?;
        let process = Process { pid: self.child.id(), epoch: 0 };
        let until_then = format!("{lines} lines of input");
        Ok(Killed { process, by_signal: status.signal() == Some(9), until_then })
    }

    /// Waits until the publisher has made its topic.
    pub(crate) fn wait_for_topic(&self, file: &Path) -> Outcome {
        while super::dump::read(file)?.rows().is_empty() {
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Ends the input and waits until everything has its outcome.
    pub(crate) fn end(mut self) -> Outcome {
        self.enough.store(true, Ordering::Relaxed);
        self.feeder.join().map_err(|_| "the feeder panicked")?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the publisher ended with {status}").into()) }
    }
}

/// Writes events until nobody reads them or they are enough; gives their number.
#[expect(clippy::disallowed_methods, reason = "the rate of events is a parameter of the test")]
fn feed(mut stdin: ChildStdin, life: usize, pause: Duration, enough: &AtomicBool) -> usize {
    for line in 0.. {
        if enough.load(Ordering::Relaxed) {
            return line;
        }
        std::thread::sleep(pause);
        let (key, kseq) = (line % KEYS, line / KEYS + 1);
        let event = format!(
            "{{\"event_id\":\"life-{life}-{line}\",\"aggregate_id\":\"key-{key}\",\"event_type\":\"Counted\",\
             \"event_version\":{kseq},\"timestamp\":\"2026-11-25T08:00:00Z\",\
             \"payload\":{{\"publisher\":\"pub\",\"kseq\":{kseq}}}}}\n"
        );
        if stdin.write_all(event.as_bytes()).is_err() {
            return line;
        }
    }
    0
}
