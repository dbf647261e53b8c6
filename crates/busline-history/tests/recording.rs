//! Histories on disk: written by many threads, torn by a kill, merged by the clock of the machine.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use busline_history::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn publication(id: &str) -> Publication {
    Publication {
        id: id.to_owned(),
        topic: "orders".into(),
        key: "k ä\n\"".into(),
        publisher: "p".into(),
        kseq: u64::MAX,
        size: 3,
        hash: ContentHash(u64::MAX),
        durability: Durability { medium: Medium::Synced, copies: 3 },
        deadline: Duration::from_millis(1_500),
    }
}

fn acked(id: &str) -> Acked {
    let durability = Durability { medium: Medium::Memory, copies: 1 };
    Acked { id: id.to_owned(), partition: 3, offset: None, duplicate: true, durability }
}

fn delivery() -> Delivery {
    Delivery {
        group: "g".into(),
        member: "m".into(),
        id: "e".into(),
        key: "k".into(),
        topic: "orders".into(),
        partition: 0,
        offset: 9,
        attempt: 1,
    }
}

/// One operation of every kind and type.
fn every_op() -> Vec<Op> {
    let not = NotAcked { id: "e".into(), error: "lost".into() };
    let end = BatchEnd { batch: "x".into(), error: "lost".into() };
    let results = vec![ItemEnd::Ok(acked("e")), ItemEnd::Fail(not.clone()), ItemEnd::Info(not.clone())];
    let call = BatchCall { batch: "x".into(), mode: BatchMode::Atomic, items: vec![publication("e")] };
    let settlement = |action, parked_at| Settlement {
        group: "g".into(),
        member: "m".into(),
        id: None,
        topic: "orders".into(),
        partition: 0,
        offset: 9,
        action,
        reason: "told".into(),
        parked_at,
    };
    let retry = Action::Retry { delay: Duration::from_millis(100) };
    let parked_at = StoredAt { topic: "__parked.orders..g".into(), partition: 0, offset: 1 };
    let progress = Progress { group: "g".into(), member: "m".into(), topic: "orders".into(), partition: 0, offset: 1 };
    let assignment = Assignment {
        group: "g".into(),
        member: "m".into(),
        topic: "orders".into(),
        partitions: vec![0, 1],
        generation: 7,
    };
    let start = FaultStart {
        kind: "F1".into(),
        target: Target::Process(Process { pid: 1, epoch: 2 }),
        seed: u64::MAX,
        parameter: "once".into(),
        crash: Crash::Power,
        copies: 2,
        tolerance: Tolerance::Beyond,
    };
    let stop = FaultEnd { kind: "F1".into(), target: Target::Broker("b".into()), proof: Some("cut".into()) };
    let row = Row {
        topic: "orders".into(),
        partition: 0,
        offset: 9,
        id: Some("e".into()),
        key: "k".into(),
        publisher: "p".into(),
        kseq: 1,
        hash: ContentHash(1),
        time_ns: Some(1),
    };
    let subject = || WHOLE_BUS.to_owned();
    vec![
        Publish::Invoke(publication("e")).into(),
        Publish::Ok(acked("e")).into(),
        Publish::Fail(not.clone()).into(),
        Publish::Info(not).into(),
        Accept::Ok(Accepted { id: "e".into() }).into(),
        Batch::Invoke(call).into(),
        Batch::Ok(BatchResults { batch: "x".into(), results }).into(),
        Batch::Fail(end.clone()).into(),
        Batch::Info(end).into(),
        Deliver::Ok(Delivered { delivery: delivery(), hash: ContentHash(2) }).into(),
        Handler::Start(delivery()).into(),
        Handler::Ok(delivery()).into(),
        Handler::Err(delivery()).into(),
        Handler::Panic(delivery()).into(),
        Handler::Timeout(delivery()).into(),
        Handler::Cancelled(delivery()).into(),
        Settle::Invoke(settlement(retry, None)).into(),
        Settle::Ok(settlement(Action::Park, Some(parked_at))).into(),
        Settle::Info(settlement(Action::Skip, None)).into(),
        Commit::Invoke(progress.clone()).into(),
        Commit::Ok(progress.clone()).into(),
        Commit::Fail(progress.clone()).into(),
        Commit::Info(progress).into(),
        Assign::Ok(assignment.clone()).into(),
        Revoke::Ok(assignment).into(),
        Seek::Ok(Sought { group: "g".into(), topic: "orders".into(), partition: 0, offset: 0 }).into(),
        Fault::Start(start).into(),
        Fault::Stop(stop).into(),
        Life::Open { subject: subject(), mono_shift_ns: 0, wall_shift_ns: -1 }.into(),
        Life::DrainBegin.into(),
        Life::DrainEnd { reached: Reached::Limit }.into(),
        Life::CloseBegin { subject: subject(), deadline: Duration::from_secs(5) }.into(),
        Life::CloseOk { subject: subject(), result: "ok".into() }.into(),
        Life::Crash { reason: "abort".into() }.into(),
        Sample::Ok(Sampled { gauge: "window_bytes".into(), value: 8 }).into(),
        DumpRead::Ok(Dumped { read: 1, topic: "orders".into(), rows: vec![row] }).into(),
    ]
}

#[test]
fn every_entry_is_read_as_it_was_written() {
    let folder = folder();
    let file = folder.path().join("a");
    let recorder = Recorder::create(&file, 4).unwrap().actor("sender-1");
    for op in every_op() {
        recorder.record(op).unwrap();
    }
    let entries = read_file(&file).unwrap();
    let ops: Vec<Op> = entries.iter().map(|entry| entry.op.clone()).collect();
    assert_eq!(ops, every_op());
    assert!(entries.iter().enumerate().all(|(at, entry)| entry.idx == at as u64));
    assert!(entries.iter().all(|entry| entry.process() == recorder.process() && entry.actor == "sender-1"));
    assert_eq!(recorder.process(), Process { pid: std::process::id(), epoch: 4 });
}

/// The lines are a format: what is kept from old failures must stay readable.
#[test]
fn a_line_looks_as_specified() {
    let line = concat!(
        r#"{"idx":7,"mono_ns":12,"wall_ns":34,"pid":5,"epoch":1,"actor":"s","op":"publish","type":"ok","id":"e","#,
        r#""partition":3,"offset":null,"duplicate":true,"durability":{"medium":"memory","copies":1}}"#,
    );
    let entry = Entry {
        idx: 7,
        mono_ns: 12,
        wall_ns: 34,
        pid: 5,
        epoch: 1,
        actor: "s".into(),
        op: Publish::Ok(acked("e")).into(),
    };
    assert_eq!(serde_json::to_string(&entry).unwrap(), line);
    assert_eq!(serde_json::from_str::<Entry>(line).unwrap(), entry);
}

#[test]
fn many_threads_write_whole_lines_and_lose_no_number() {
    let folder = folder();
    let file = folder.path().join("a");
    let recorder = Recorder::create(&file, 0).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let recorder = recorder.actor(format!("sender-{thread}"));
            scope.spawn(move || {
                for number in 0..500 {
                    recorder.accept(format!("{thread}:{number}")).unwrap();
                }
            });
        }
    });
    let mut numbers: Vec<u64> = read_file(&file).unwrap().iter().map(|entry| entry.idx).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..4_000).collect::<Vec<u64>>());
}

#[test]
fn the_clocks_of_a_recorder_are_those_of_the_machine() {
    let folder = folder();
    let files = [folder.path().join("a"), folder.path().join("b")];
    let recorders = files.each_ref().map(|file| Recorder::create(file, 0).unwrap());
    for number in 0..10 {
        recorders[number % 2].accept(number.to_string()).unwrap();
    }
    let history = History::read(&files).unwrap();
    let ids: Vec<String> = history.entries().iter().map(accepted_id).collect();
    assert_eq!(ids, (0..10).map(|number| number.to_string()).collect::<Vec<_>>(), "merged in order of time");
    assert!(history.entries()[0].wall_ns > 1_600_000_000_000_000_000, "nanoseconds since 1970");
}

fn accepted_id(entry: &Entry) -> String {
    match &entry.op {
        Op::Accept(Accept::Ok(accepted)) => accepted.id.clone(),
        other => panic!("not an accept: {other:?}"),
    }
}

#[test]
fn a_history_belongs_to_one_process() {
    let folder = folder();
    let file = folder.path().join("a");
    Recorder::create(&file, 0).unwrap();
    assert_eq!(Recorder::create(&file, 1).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
}

/// A file with three entries, its bytes and the place where the third begins.
fn three_lines(folder: &Path) -> (PathBuf, Vec<u8>, usize) {
    let file = folder.join("a");
    let recorder = Recorder::create(&file, 0).expect("a new file");
    for id in ["a", "b", "c"] {
        recorder.accept(id).expect("a line written");
    }
    let bytes = fs::read(&file).expect("the file just written");
    let third = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    (file, bytes, third)
}

#[test]
fn a_file_cut_anywhere_in_its_last_line_is_read_to_the_line_before() {
    let folder = folder();
    let (file, bytes, third) = three_lines(folder.path());
    for cut in third..bytes.len() - 1 {
        fs::write(&file, &bytes[..cut]).unwrap();
        assert_eq!(read_file(&file).unwrap().len(), 2, "cut at {cut}");
    }
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(read_file(&file).unwrap().len(), 3, "only the line feed is missing");
    fs::write(&file, b"").unwrap();
    assert_eq!(read_file(&file).unwrap().len(), 0, "killed before its first entry");
}

#[test]
fn a_torn_line_elsewhere_is_an_error_that_names_it() {
    let folder = folder();
    let (file, bytes, third) = three_lines(folder.path());
    let torn = [&bytes[..third - 9], b"\n", &bytes[third..]].concat();
    fs::write(&file, torn).unwrap();
    let error = read_file(&file).unwrap_err();
    assert!(matches!(error, ReadError::Torn { line: 2, .. }), "{error}");
    assert!(error.to_string().contains("line 2 is not an entry"), "{error}");
}

#[test]
fn a_whole_last_line_that_is_no_entry_is_an_error_too() {
    let folder = folder();
    let (file, ..) = three_lines(folder.path());
    fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"{}\n").unwrap();
    assert!(matches!(read_file(&file).unwrap_err(), ReadError::Torn { line: 4, .. }));
    assert!(matches!(read_file(folder.path().join("none")).unwrap_err(), ReadError::Io { .. }));
}

fn entry(pid: u32, mono_ns: u64, op: impl Into<Op>) -> Entry {
    Entry { idx: mono_ns, mono_ns, wall_ns: 0, pid, epoch: 0, actor: "a".into(), op: op.into() }
}

#[test]
fn a_shifted_clock_is_set_right_before_merging() {
    let accept = |id: &str| Accept::Ok(Accepted { id: id.into() });
    let shifted = Life::Open { subject: WHOLE_BUS.into(), mono_shift_ns: 1_000, wall_shift_ns: 0 };
    let entries = vec![
        entry(1, 10, accept("first")),
        entry(1, 30, accept("third")),
        entry(2, 1_000, shifted),
        entry(2, 1_020, accept("second")),
    ];
    let history = History::merge(entries);
    let ids: Vec<String> =
        history.entries().iter().filter(|entry| matches!(entry.op, Op::Accept(_))).map(accepted_id).collect();
    assert_eq!(ids, ["first", "second", "third"]);
}

#[test]
fn the_last_read_in_a_history_is_its_dump() {
    let row = |id: &str, offset| Row {
        topic: "orders".into(),
        partition: 0,
        offset,
        id: Some(id.into()),
        key: "k".into(),
        publisher: "p".into(),
        kseq: 1,
        hash: ContentHash(0),
        time_ns: None,
    };
    let read = |read, topic: &str, rows| DumpRead::Ok(Dumped { read, topic: topic.into(), rows });
    let history = History::merge(vec![
        entry(1, 1, read(1, "refunds", vec![])),
        entry(1, 2, read(1, "orders", vec![row("a", 0)])),
        entry(1, 3, read(2, "orders", vec![row("a", 0)])),
        entry(1, 4, read(2, "orders", vec![row("b", 1)])),
        entry(1, 5, read(2, "payments", vec![])),
    ]);
    let dump = Dump::last_in(&history);
    let ids: Vec<_> = dump.rows().iter().filter_map(|row| row.id.as_deref()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert!(dump.covers("orders") && dump.covers("payments") && !dump.covers("refunds"));
}
