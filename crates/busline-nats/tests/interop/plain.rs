//! The Python program, run with its packages.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Installed by name; nothing of them is in this repository.
const PACKAGES: [&str; 2] = ["nats-py==2.16.0", "cloudevents==2.2.0"];

/// The program with its packages installed.
pub(crate) struct Plain(());

impl Plain {
    /// Fails with one line that says what to install, if something is missing.
    pub(crate) fn installed() -> Self {
        drop(python());
        Self(())
    }

    /// What the plain client reads: this many records of a stream's subjects.
    pub(crate) fn read(&self, url: &str, stream: &str, subjects: &str, count: usize) -> Vec<Value> {
        run(&["read", url, stream, subjects, &count.to_string()], &[])
    }

    /// Publishes these events with the plain client, one after the other; gives its acks.
    pub(crate) fn write(&self, url: &str, topic: &str, partitions: u32, events: &[Value]) -> Vec<Value> {
        let acks = run(&["write", url, topic, &partitions.to_string()], events);
        assert_eq!(acks.len(), events.len(), "each was acked");
        acks
    }
}

fn python() -> Command {
    busline_brokers::python("nats", &PACKAGES).unwrap_or_else(|error| panic!("{error}"))
}

fn run(arguments: &[&str], input: &[Value]) -> Vec<Value> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/plain.py");
    let mut command = python();
    command.arg(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut to_child = child.stdin.take().expect("a pipe");
    // A child that ended early says why below.
    let _ = input.iter().try_for_each(|line| writeln!(to_child, "{line}"));
    drop(to_child);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
