//! Real events from a file of SQLite over a server to the three processes of a group. One of them is killed half way, and
//! so is the server. Part of the tests of NATS and of Kafka.
//!
//! The 2,000 events of the fixture travel, or those of the file that `BUSLINE_EVENTS` names: one flat event a line, perhaps
//! packed with gzip.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Condvar, Mutex};

use serde_json::Value;

use crate::harness::{EVENTS, Ran, Shop};
use crate::lines::{Line, lines_of};

/// How many versions each aggregate has.
type Versions = BTreeMap<String, u64>;

fn events() -> String {
    let Some(file) = std::env::var_os("BUSLINE_EVENTS") else { return EVENTS.into() };
    let unpacked = Command::new("gzip").args(["-d", "-c", "-f"]).arg(&file).output().expect("gzip is there");
    assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
    String::from_utf8(unpacked.stdout).expect("UTF-8")
}

/// What every aggregate must come to. Its versions are contiguous in the file.
fn versions_of(events: &str) -> Versions {
    let mut versions = Versions::new();
    for line in events.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let last = versions.entry(event["aggregate_id"].as_str().expect("a key").into()).or_default();
        *last += 1;
        assert_eq!(event["event_version"], *last);
    }
    versions
}

/// Opened when the faults are over; until then nobody reads beyond the middle.
#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: usize,
    is_open: bool,
}

impl Gate {
    /// Counts a line, and waits in the middle until the gate is open. Pipes fill up behind a reader that waits, and so
    /// the members wait too.
    fn pass(&self, middle: usize) {
        let mut state = self.state.lock().expect("no panic");
        state.lines += 1;
        if state.lines >= middle {
            self.changed.notify_all();
            drop(self.changed.wait_while(state, |state| !state.is_open).expect("no panic"));
        }
    }

    fn wait_for_the_middle(&self, middle: usize) {
        let state = self.state.lock().expect("no panic");
        drop(self.changed.wait_while(state, |state| state.lines < middle).expect("no panic"));
    }

    fn open(&self) {
        self.state.lock().expect("no panic").is_open = true;
        self.changed.notify_all();
    }
}

fn read_all(output: ChildStdout, gate: &Gate, middle: usize) -> String {
    let mut reader = BufReader::new(output);
    let mut text = String::new();
    while reader.read_line(&mut text).expect("UTF-8") > 0 {
        gate.pass(middle);
    }
    text
}

/// From the file of a shop to a server.
struct Way<'a> {
    shop: Shop,
    url: &'a str,
}

impl Way<'_> {
    /// A command with the server as its bus.
    fn command(&self, line: &str) -> Command {
        self.shop.command(&format!("{line} --bus {} --json", self.url))
    }

    /// Publishes the events to SQLite, and from there to the server.
    fn bring(&self, events: &str, count: usize) {
        self.shop.file("events.ndjson", events);
        let published = self.shop.run("pub files --file events.ndjson --json");
        assert_eq!(published.code, Some(0), "{}", published.stderr);
        assert_eq!(published.stdout.lines().count(), count);
        let mut from = self.shop.command("sub files --until-end --json");
        let mut from = from.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("starts");
        let lines = from.stdout.take().expect("a pipe");
        let copied = Ran::of(self.command("pub files --file -").stdin(lines).output().expect("runs"));
        assert_eq!(copied.code, Some(0), "{}", copied.stderr);
        assert!(from.wait().expect("ends").success());
        let acked = copied.stdout.lines().filter(|line| line.contains("\"outcome\":\"acked\"")).count();
        assert_eq!(acked, count, "each record is acked by the server");
    }

    fn member(&self) -> Child {
        let mut command = self.command("sub files --group billing --until-end");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
    }

    /// Nothing is left for the group to do.
    fn assert_finished(&self) {
        let shown = self.command("group show billing files").stdin(Stdio::null()).output();
        let shown = Ran::of(shown.expect("runs"));
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
        let group = shown.json().remove(0);
        let partitions = group["partitions"].as_array().expect("partitions");
        assert!(!partitions.is_empty() && partitions.iter().all(|of| of["lag"] == 0), "{group}");
    }
}

/// What a process had not seen before came in the order of each key's versions.
fn assert_in_order(process: usize, lines: &[Line]) {
    let mut seen: HashMap<&str, BTreeSet<u64>> = HashMap::new();
    for Line { key, version, .. } in lines {
        let before = seen.entry(key).or_default();
        let is_new = before.last().is_none_or(|last| last < version);
        assert!(is_new || before.contains(version), "process {process}: {key} {version} came after {before:?}");
        before.insert(*version);
    }
}

/// Between them, the processes printed every version of every aggregate, and nothing else.
fn assert_nothing_is_missing(outputs: &[Vec<Line>], expected: &Versions) {
    let mut found: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for Line { key, version, .. } in outputs.iter().flatten() {
        found.entry(key).or_default().insert(*version);
    }
    assert!(found.keys().eq(expected.keys()), "{} of {} aggregates", found.len(), expected.len());
    for (key, last) in expected {
        assert!(found[&**key].iter().copied().eq(1..=*last), "{key}: {:?} of 1 to {last}", found[&**key]);
    }
}

/// Brings the events to the server at this URL, and has three processes of a group print them. In the middle one of these
/// is killed, and `strike` kills the server and starts it again on what it has stored.
pub(crate) fn past_a_killed_member_and_a_killed_server(url: &str, strike: impl FnOnce()) {
    let events = events();
    let expected = versions_of(&events);
    let (way, count) = (Way { shop: Shop::new(), url }, events.lines().count());
    way.bring(&events, count);
    let (gate, middle) = (Gate::default(), count / 2);
    let mut members: Vec<Child> = (0..3).map(|_| way.member()).collect();
    let outputs: Vec<ChildStdout> = members.iter_mut().map(|child| child.stdout.take().expect("a pipe")).collect();
    let outputs: Vec<Vec<Line>> = std::thread::scope(|scope| {
        let gate = &gate;
        let readers: Vec<_> =
            outputs.into_iter().map(|output| scope.spawn(move || read_all(output, gate, middle))).collect();
        gate.wait_for_the_middle(middle);
        members[0].kill().expect("it runs");
        strike();
        gate.open();
        readers.into_iter().map(|reader| lines_of(&reader.join().expect("read"))).collect()
    });
    for (number, child) in members.into_iter().enumerate() {
        let ran = Ran::of(child.wait_with_output().expect("ends"));
        let expected = if number == 0 { None } else { Some(0) };
        assert_eq!(ran.code, expected, "member {number}: {}", ran.stderr);
    }
    for (process, lines) in outputs.iter().enumerate() {
        assert_in_order(process, lines);
    }
    assert_nothing_is_missing(&outputs, &expected);
    let lines: Vec<usize> = outputs.iter().map(Vec::len).collect();
    let repeated = lines.iter().sum::<usize>() - count;
    println!("{count} events of {} aggregates, {lines:?} lines, {repeated} repeated", expected.len());
    way.assert_finished();
}
