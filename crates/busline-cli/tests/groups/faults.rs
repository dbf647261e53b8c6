//! Members that are killed, stopped and interrupted.

use std::fs::{File, read_to_string};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use busline_history::{Anomaly, Dump, GroupPlan, History, Plan, Process, Report, Row, Run, Violation};

use crate::harness::{Ran, Shop, signal};
use crate::lines::{Line, assert_complete, assert_key_order, lines_of, repeated};
use crate::lock::WriteLock;
use crate::members::{PUBLISHER, Paced, committed, ends, held, interrupt, pause, shop_with_events, show, wait_until};

/// Promise C5: what one member may have handed over and unfinished, and finishes between two commits.
const REPEATED_MAX: usize = 1_024 + 4_096;

/// A member that writes `NAME.out` and `NAME.err`, and its history.
fn to_file(shop: &Shop, line: &str, name: &str) -> Command {
    let mut command = with_history(shop, line, name);
    let file = |end: &str| File::create(shop.path(&format!("{name}.{end}"))).expect("file");
    command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
    command
}

fn with_history(shop: &Shop, line: &str, name: &str) -> Command {
    let mut command = shop.command(line);
    command.env("BUSLINE_HISTORY", shop.path(&format!("{name}.history")));
    command
}

fn printed(shop: &Shop, name: &str) -> Vec<Line> {
    lines_of(&read_to_string(shop.path(&format!("{name}.out"))).expect("output"))
}

/// What the judges find in the histories of the publisher and these members, other than the tolerated: the first few, in
/// words.
fn violations(shop: &Shop, names: &[&str], killed: &[u32], tolerated: &[Anomaly]) -> Vec<String> {
    let files = names.iter().chain([&PUBLISHER]).map(|name| shop.path(&format!("{name}.history")));
    let history = History::read(files).expect("histories");
    let plan = Plan {
        killed: killed.iter().map(|pid| Process { pid: *pid, epoch: 0 }).collect(),
        groups: vec![GroupPlan::from_beginning("g", "files")],
        effective_faults_min: 0,
        ..Plan::default()
    };
    let dump = Dump::of([] as [&str; 0], Vec::<Row>::new());
    let report = Report::of(&Run::new(&history, &dump, &plan));
    let counts = |violation: &&Violation| !tolerated.contains(&violation.anomaly);
    report.violations.iter().filter(counts).take(10).map(ToString::to_string).collect()
}

#[test]
fn a_killed_members_work_goes_to_the_others_and_to_one_that_joins() {
    let shop = shop_with_events(10);
    let ends = ends(&shop);
    let line = "sub files --group g --lease 1 --until-end --json";
    let mut victim = Paced::start(with_history(&shop, line, "victim"));
    assert!(victim.read(500));
    let mut others: Vec<_> =
        ["b", "c"].map(|name| to_file(&shop, line, name).spawn().expect("starts")).into_iter().collect();
    // The victim gives partitions up only as its lines are read.
    wait_until("three members share the partitions", || {
        victim.read(50);
        let shown = show(&shop, "g");
        let all = others.iter().map(std::process::Child::id).chain([victim.child.id()]);
        all.map(|process| held(&shown, process)).all(|held| held.is_some_and(|held| held > 0))
    });
    assert!(victim.read(500));
    victim.kill();
    let victims_process = victim.child.id();
    others.push(to_file(&shop, line, "d").spawn().expect("starts"));
    for mut other in others {
        assert_eq!(other.wait().expect("ends").code(), Some(0));
    }
    let (_, victims, _) = victim.end();
    let outputs = [victims, printed(&shop, "b"), printed(&shop, "c"), printed(&shop, "d")];
    for (name, lines) in ["victim", "b", "c", "d"].into_iter().zip(&outputs) {
        assert_key_order(name, lines);
        assert!(!lines.is_empty(), "{name} got no share");
    }
    assert_complete(&outputs, &ends);
    let twice = repeated(&outputs);
    // Twice an assignment changed with work unfinished: when the others joined, and at the kill.
    assert!(twice.len() <= 2 * REPEATED_MAX, "{} came twice", twice.len());
    assert_eq!(committed(&show(&shop, "g")), ends);
    assert_eq!(violations(&shop, &["victim", "b", "c", "d"], &[victims_process], &[]), [""; 0]);
}

#[test]
fn a_stopped_member_loses_its_partitions_and_moves_nothing_back() {
    let shop = shop_with_events(2);
    let ends = ends(&shop);
    let mut zombie = Paced::start(with_history(&shop, "sub files --group g --lease 1 --json", "zombie"));
    assert!(zombie.read(300));
    stop_outside_of_a_transaction(&shop, &zombie);
    let mut heir = to_file(&shop, "sub files --group g --lease 1 --until-end --json", "heir").spawn().expect("starts");
    assert_eq!(heir.wait().expect("ends").code(), Some(0));
    assert_eq!(committed(&show(&shop, "g")), ends);
    signal(&zombie.child, "CONT");
    wait_until("the zombie has joined again", || {
        assert_eq!(committed(&show(&shop, "g")), ends, "moved back");
        held(&show(&shop, "g"), zombie.child.id()) == Some(4)
    });
    pause(500);
    assert_eq!(committed(&show(&shop, "g")), ends, "moved back");
    signal(&zombie.child, "INT");
    let (code, zombies, said) = zombie.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("went to another member") || said.contains("Fenced/NotOwner"), "{said}");
    assert_eq!(committed(&show(&shop, "g")), ends, "moved back");
    let outputs = [zombies, printed(&shop, "heir")];
    assert_key_order("zombie", &outputs[0]);
    assert_key_order("heir", &outputs[1]);
    assert_complete(&outputs, &ends);
    assert!(repeated(&outputs).len() <= REPEATED_MAX);
    // What it began before it heard of its loss is delivered twice; order and progress hold all the same.
    assert_eq!(violations(&shop, &["zombie", "heir"], &[], &[Anomaly::ExcessDelivery]), [""; 0]);
}

/// Stopped inside a transaction, it would keep everybody from writing.
fn stop_outside_of_a_transaction(shop: &Shop, member: &Paced) {
    for _ in 0..100 {
        signal(&member.child, "STOP");
        if WriteLock::try_take(shop).is_some() {
            return;
        }
        signal(&member.child, "CONT");
        pause(7);
    }
    panic!("the member is always inside a transaction");
}

#[test]
fn while_the_file_is_locked_nobody_writes_and_then_all_goes_on() {
    let shop = shop_with_events(1);
    let mut member = Paced::start(shop.command("sub files --group g --lease 1 --json"));
    assert!(member.read(2_000));
    wait_until("all is committed", || show(&shop, "g")["lag"] == 0);
    let lock = WriteLock::take(&shop);
    let late = shop.spawn("pub files --key late --type T --id late");
    pause(3_000);
    assert_eq!(ends(&shop).iter().sum::<u64>(), 2_000, "somebody wrote");
    drop(lock);
    assert_eq!(Ran::of(late.wait_with_output().expect("ends")).code, Some(0));
    assert!(member.read(1));
    assert_eq!(member.printed[2_000].key, "late");
    wait_until("all is committed", || show(&shop, "g")["lag"] == 0);
    assert_eq!(held(&show(&shop, "g"), member.child.id()), Some(4), "nobody was there to take anything");
    signal(&member.child, "INT");
    let (code, lines, said) = member.end();
    assert_eq!((code, lines.len()), (Some(0), 2_001), "{said}");
    assert!(said.contains("files: Unavailable/Locked"), "{said}");
}

#[test]
fn ctrl_c_lets_what_runs_end_and_is_committed() {
    let shop = shop_with_events(1);
    let line = "sub files --group g --concurrency 4 --json --exec";
    let mut command = shop.command(line);
    command.arg("sh -c 'cat > /dev/null; echo $BUSLINE_OFFSET >> begun; sleep 2; echo >> ended'");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let count = |name: &str| read_to_string(shop.path(name)).map_or(0, |text| text.lines().count());
    wait_until("four programs run", || count("begun") == 4);
    let ran = interrupt(child);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!((count("begun"), count("ended"), ran.json().len()), (4, 4, 4));
    let shown = show(&shop, "g");
    assert_eq!(shown["members"].as_array().map(Vec::len), Some(0), "the group was left");
    assert_eq!(committed(&shown).iter().sum::<u64>(), 4);
}

#[test]
fn ctrl_c_twice_kills_the_programs() {
    let shop = shop_with_events(1);
    let mut command = shop.command("sub files --group g --concurrency 1 --exec");
    command.arg("sh -c 'echo $$ > pid; sleep 600'");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    wait_until("a program runs", || read_to_string(shop.path("pid")).is_ok_and(|pid| pid.ends_with('\n')));
    // Signals that come together are one, so they are sent until the end.
    wait_until("it has ended", || {
        signal(&child, "INT");
        child.try_wait().expect("a state").is_some()
    });
    assert_eq!(Ran::of(child.wait_with_output().expect("ends")).code, Some(1));
    let pid = read_to_string(shop.path("pid")).expect("pid");
    wait_until("the program is gone", || {
        let state = read_to_string(format!("/proc/{}/stat", pid.trim()));
        state.map_or(true, |state| state.contains(") Z "))
    });
    assert_eq!(committed(&show(&shop, "g")).iter().sum::<u64>(), 0);
}

#[test]
fn a_reader_that_goes_away_is_success_and_loses_nothing() {
    let shop = shop_with_events(1);
    let mut child = shop.spawn("sub files --group g --json");
    let mut read = String::new();
    let mut stdout = BufReader::with_capacity(64, child.stdout.take().expect("stdout"));
    for _ in 0..10 {
        stdout.read_line(&mut read).expect("a line");
    }
    drop(stdout);
    let ran = Ran::of(child.wait_with_output().expect("ends"));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let shown = show(&shop, "g");
    assert_eq!(shown["members"].as_array().map(Vec::len), Some(0));
    // A line that fitted the pipe was written, read or not; none beyond it was handled.
    assert!(committed(&shown).iter().sum::<u64>() < 1_000, "{shown}");
    let rest = lines_of(&shop.run("sub files --group g --until-end --json").stdout);
    assert_eq!(rest.len() as u64 + committed(&shown).iter().sum::<u64>(), 2_000);
}
