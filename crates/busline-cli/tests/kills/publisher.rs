//! One life of `busline pub`: fed without end, until it is killed.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use busline_history::Process;

use super::Outcome;

/// Aggregates that the events are of; few, so that each has a long history.
const KEYS: usize = 50;

pub(crate) struct Publisher {
    child: Child,
    feeder: JoinHandle<usize>,
    began: Receiver<()>,
}

/// How a life ended.
pub(crate) struct Killed {
    pub(crate) process: Process,
    pub(crate) by_signal: bool,
    pub(crate) lines: usize,
}

impl Publisher {
    /// Starts a publisher whose ids are unique by the number of its life.
    pub(crate) fn start(folder: &Path, life: usize) -> Outcome<Self> {
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
        let feeder = std::thread::spawn(move || {
            let _ = begin.send(());
            feed(stdin, life)
        });
        Ok(Self { child, feeder, began })
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
        Ok(Killed { process, by_signal: status.signal() == Some(9), lines })
    }
}

/// Writes events until nobody reads them; gives their number.
fn feed(mut stdin: ChildStdin, life: usize) -> usize {
    for line in 0.. {
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
