//! What several members of one group share, and what it has in one place.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{EVENTS, Ran, Shop, signal};
use crate::lines::{Line, read};

/// Longest wait for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The name of the publisher's history.
pub(crate) const PUBLISHER: &str = "pub";

/// A topic `files` with this many times the 2,000 events of the fixture, each time with aggregates of its own.
pub(crate) fn shop_with_events(times: usize) -> Shop {
    let shop = Shop::new();
    let events: String = (0..times).flat_map(|time| EVENTS.lines().map(move |line| renamed(line, time))).collect();
    shop.file("events", events);
    let mut publish = shop.command("pub files --file events");
    publish.env("BUSLINE_HISTORY", shop.path(&format!("{PUBLISHER}.history")));
    let published = Ran::of(publish.output().expect("runs"));
    assert_eq!(published.code, Some(0), "{}", published.stderr);
    shop
}

fn renamed(line: &str, time: usize) -> String {
    let mut event: Value = serde_json::from_str(line).expect(line);
    for field in ["aggregate_id", "event_id"] {
        event[field] = format!("{} {time}", event[field].as_str().expect(field)).into();
    }
    format!("{event}\n")
}

/// A pause where nothing can be waited for.
pub(crate) fn pause(millis: u64) {
    let (_never, nothing) = mpsc::channel::<()>();
    let _ = nothing.recv_timeout(Duration::from_millis(millis));
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        pause(20);
    }
}

/// What `group show` says.
pub(crate) fn show(shop: &Shop, group: &str) -> Value {
    let ran = shop.run(&format!("group show {group} files --json"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.json().remove(0)
}

pub(crate) fn committed(shown: &Value) -> Vec<u64> {
    let partitions = shown["partitions"].as_array().expect("partitions");
    partitions.iter().map(|partition| partition["committed"].as_u64().unwrap_or(0)).collect()
}

pub(crate) fn ends(shop: &Shop) -> Vec<u64> {
    let shown = shop.run("topic show files --json").json().remove(0);
    shown["contents"].as_array().expect("contents").iter().map(|of| of["end"].as_u64().expect("end")).collect()
}

/// How many partitions the member of this process holds; `None` if it is no member.
pub(crate) fn held(shown: &Value, process: u32) -> Option<usize> {
    let begin = format!("{process}-");
    let members = shown["members"].as_array().expect("members");
    let is_it = |member: &&Value| member["name"].as_str().is_some_and(|name| name.starts_with(&begin));
    members.iter().find(is_it).map(|member| member["partitions"].as_array().expect("partitions").len())
}

/// A member whose stdout is a pipe that the test reads as fast as it likes: the member waits for it.
pub(crate) struct Paced {
    pub(crate) child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Option<ChildStderr>,
    pub(crate) printed: Vec<Line>,
}

impl Paced {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let stderr = child.stderr.take();
        Self { child, stdout, stderr, printed: Vec::new() }
    }

    /// Reads lines; gives whether there were so many.
    pub(crate) fn read(&mut self, count: usize) -> bool {
        let lines = self.stdout.by_ref().take(count).map_while(|line| serde_json::from_str(&line.ok()?).ok());
        let before = self.printed.len();
        self.printed.extend(lines.map(|line| read(&line)));
        self.printed.len() == before + count
    }

    /// Reads all that is left, and what was said.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<Line>, String) {
        while self.read(1) {}
        let said = std::io::read_to_string(self.stderr.take().expect("stderr")).expect("read");
        (self.child.wait().expect("ends").code(), self.printed, said)
    }

    pub(crate) fn kill(&mut self) {
        signal(&self.child, "KILL");
        self.child.wait().expect("ends");
    }
}

/// Ends by Ctrl-C.
pub(crate) fn interrupt(child: Child) -> Ran {
    signal(&child, "INT");
    Ran::of(child.wait_with_output().expect("ends"))
}
