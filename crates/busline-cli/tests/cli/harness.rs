//! The real binary in a folder of its own.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// 2,000 real events in the flat form, versions contiguous per aggregate.
pub(crate) const EVENTS: &str = include_str!("../fixtures/file-history-2000.ndjson");

/// A folder, and what runs in it; the bus is `sqlite:busline.db` there.
pub(crate) struct Shop(TempDir);

/// How a command ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).expect("file");
    }

    /// A command whose words stand in `line`, separated by spaces.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = binary(self.0.path());
        command.args(line.split_whitespace());
        command
    }

    pub(crate) fn run(&self, line: &str) -> Ran {
        Ran::of(self.command(line).stdin(Stdio::null()).output().expect("runs"))
    }

    pub(crate) fn run_with(&self, line: &str, input: impl AsRef<[u8]>) -> Ran {
        self.run_from(line, input.as_ref())
    }

    /// Feeds stdin from a reader while the command runs.
    pub(crate) fn run_from(&self, line: &str, mut input: impl Read + Send) -> Ran {
        let mut child = self.spawn(line);
        let mut stdin = child.stdin.take().expect("stdin");
        std::thread::scope(|scope| {
            scope.spawn(move || std::io::copy(&mut input, &mut stdin));
            Ran::of(child.wait_with_output().expect("ends"))
        })
    }

    /// Starts a command with three pipes.
    pub(crate) fn spawn(&self, line: &str) -> Child {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
    }

    /// All records of a topic, as `sub --json` prints them.
    pub(crate) fn records(&self, topic: &str) -> Vec<Value> {
        let ran = self.run(&format!("sub {topic} --until-end --json"));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "sub {topic}");
        ran.json()
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Stdout as one JSON value a line.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Stderr with the seconds of a summary left out.
    pub(crate) fn said(&self) -> String {
        let lines = self.stderr.lines().map(|line| match line.rsplit_once(", in ") {
            Some((begin, end)) if end.ends_with(" s") => format!("{begin}, in … s\n"),
            _ => format!("{line}\n"),
        });
        lines.collect()
    }
}

fn binary(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_busline"));
    command.current_dir(folder).env_clear();
    command
}

/// Sends a signal, such as `INT`.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", child.id())).status().expect("sh");
    assert!(sent.success(), "kill -{name}");
}

/// Writes to a child's stdin, which stays open.
pub(crate) fn write(child: &mut Child, text: &str) {
    child.stdin.as_mut().expect("stdin").write_all(text.as_bytes()).expect("written");
}

/// Sends SIGINT until the child ends, since signals that come together are one; gives its exit status.
pub(crate) fn interrupt_until_the_end(child: &mut Child) -> Option<i32> {
    let (_never, pause) = mpsc::channel::<()>();
    let ended = (0..200).find_map(|_| {
        signal(child, "INT");
        let _ = pause.recv_timeout(Duration::from_millis(50));
        child.try_wait().expect("a state")
    });
    ended.and_then(|status| status.code())
}
