//! `busline pub` as scripts use it.

use std::io::{BufRead, BufReader, Read};

use crate::harness::{EVENTS, Ran, Shop, interrupt_until_the_end};
use serde_json::{Value, json};

fn flat(id: &str, key: &str, version: u64) -> String {
    format!(
        r#"{{"event_id":"{id}","aggregate_id":"{key}","event_type":"Placed","event_version":{version},"timestamp":"2026-11-25T08:00:00Z","payload":{{"n": {version}}}}}"#
    )
}

#[test]
fn bad_lines_are_told_and_hold_nothing_back() {
    let shop = Shop::new();
    let lines = [
        flat("e1", "a", 1).into_bytes(),
        b"\x00\xff\xfe binary".to_vec(),
        flat("e3", "", 1).into_bytes(),
        b"".to_vec(),
        b"{}".to_vec(),
        flat("e6", "a", 2).into_bytes(),
    ];
    shop.file("lines.ndjson", lines.join(&b"\r\n"[..]));
    let ran = shop.run("pub orders --file lines.ndjson --json");
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.said(),
        "orders: no such topic, so it was made with 4 partitions\n\
         orders: 2 acked (synced × 1), 3 invalid, in … s\n"
    );
    assert_eq!(
        ran.stdout,
        r#"{"line":1,"id":"e1","outcome":"acked","partition":0,"offset":0,"duplicate":false,"durability":"synced","copies":1}
{"line":2,"outcome":"invalid","error":"Invalid/Line","message":"publish orders: Invalid/Line: it does not begin with '{'; write one event a line, as one JSON object in UTF-8"}
{"line":3,"outcome":"invalid","error":"Invalid/EmptyKey","message":"publish orders: Invalid/EmptyKey: aggregate_id is empty; give the envelope the id of its aggregate"}
{"line":5,"outcome":"invalid","error":"Corrupt/NoEnvelope","message":"publish orders: Corrupt/NoEnvelope: neither 'specversion' nor 'aggregate_id' is given; write a CloudEvents object with 'specversion', or a flat one with 'aggregate_id'"}
{"line":6,"id":"e6","outcome":"acked","partition":0,"offset":1,"duplicate":false,"durability":"synced","copies":1}
"#
    );
    let text = shop.run("pub orders --file lines.ndjson");
    assert_eq!((text.code, text.stdout.as_str()), (Some(1), ""));
    assert!(
        text.stderr.starts_with("line 2: invalid: publish orders: Invalid/Line: it does not begin"),
        "{}",
        text.stderr
    );
}

#[test]
fn payloads_come_back_byte_for_byte_in_both_forms() {
    for wire in ["cloudevents", "flat"] {
        let shop = Shop::new();
        let ran = shop.run_with(&format!("pub files --file - --format flat --wire {wire} --json"), EVENTS);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let outcomes = ran.json();
        assert!((1..).zip(&outcomes).all(|(line, outcome)| outcome["line"] == json!(line)));
        let records = shop.records("files");
        assert_eq!((outcomes.len(), records.len()), (2_000, 2_000));
        let stored: std::collections::HashMap<_, _> =
            records.iter().map(|record| (record["envelope"]["id"].as_str().expect("id"), record)).collect();
        for (line, outcome) in EVENTS.lines().zip(&outcomes) {
            let event: Value = serde_json::from_str(line).expect("json");
            let record = stored[event["event_id"].as_str().expect("id")];
            assert_eq!((&record["partition"], &record["offset"]), (&outcome["partition"], &outcome["offset"]));
            assert_eq!(record["envelope"]["subject"], event["aggregate_id"]);
            assert_eq!(record["attempt"], 1);
        }
        let raw = shop.run("sub files --until-end --json").stdout;
        for line in EVENTS.lines() {
            let payload = line.split_once(r#""payload":"#).expect("payload").1.trim_end_matches('}');
            assert!(raw.contains(&format!(r#""data":{payload}}}}}}}"#)), "{payload}");
        }
    }
}

#[test]
fn a_topic_is_copied_through_a_pipe_with_headers_and_odd_payloads() {
    let shop = Shop::new();
    assert_eq!(shop.run("pub a --key k --type T --data {\"a\":1} --header trace=1 --header trace=2").code, Some(0));
    let mut pretty = shop.command("pub a --key k --type T --version 2 --attribute color=red --data");
    assert!(pretty.arg("{\n  \"text\": \"line\\nbreak\"\r\n}").output().expect("runs").status.success());
    assert_eq!(shop.run("pub a --key k --type T --version 3 --content-type text/plain --data plain").code, Some(0));
    let copied = shop.run("sub a --until-end --json").stdout;
    assert_eq!(copied.lines().count(), 3, "{copied}");
    assert_eq!(shop.run_with("pub b --file -", &copied).code, Some(0));
    assert_eq!(shop.run("sub b --until-end --json").stdout, copied.replace(r#""topic":"a""#, r#""topic":"b""#));
    assert!(copied.contains(r#""headers":[{"name":"trace","value":"1"},{"name":"trace","value":"2"}]"#), "{copied}");
    assert!(copied.contains(r#""data":{   "text": "line\nbreak"  }"#), "{copied}");
}

#[test]
fn one_event_by_flags_fills_the_envelope() {
    let shop = Shop::new();
    let ran = shop.run(
        "--json pub orders --key order-42 --type OrderPlaced --version 7 --id e1 --time 2026-11-25T08:00:00+01:00 \
         --source /shop --schema urn:s --tenant t1 --correlation-id c1 --causation-id c0 --data=-5 \
         --traceparent 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        serde_json::to_string(&shop.records("orders")[0]["envelope"]).expect("json"),
        r#"{"causationid":"c0","correlationid":"c1","data":-5,"datacontenttype":"application/json","dataschema":"urn:s","id":"e1","partitionkey":"order-42","sequence":"00000000000000000007","source":"/shop","specversion":"1.0","subject":"order-42","tenantid":"t1","time":"2026-11-25T08:00:00+01:00","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","type":"OrderPlaced"}"#
    );
}

#[test]
fn what_a_single_event_may_not_be_is_refused_before_a_file_is_made() {
    let shop = Shop::new();
    for (line, code) in [
        ("pub orders --key= --type T", "Invalid/EmptyKey"),
        ("pub orders --key k --type= ", "Invalid/EmptyField"),
        ("pub orders --key k --type T --version 0", "Invalid/EventVersion"),
        ("pub orders --key k --type T --time 2026-11-25", "Invalid/Time"),
        ("pub orders --key k --type T --data {", "Invalid/PayloadNotJson"),
        ("pub orders --key k --type T --traceparent 1", "Invalid/TraceContext"),
        ("pub orders --key k --type T --header Nats-Msg-Id=1", "Invalid/ReservedHeader"),
        ("pub a..b --key k --type T", "Invalid/EmptyToken"),
        ("pub a* --key k --type T", "Invalid/NameCharacter"),
        ("pub orders --file none.ndjson", "NotFound/File"),
        ("pub orders --file .", "Denied/File"),
    ] {
        let ran = shop.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{line}");
        assert!(ran.stderr.contains(code) && ran.stderr.lines().count() == 1, "{line}: {}", ran.stderr);
    }
    assert!(!shop.path("busline.db").exists());
}

#[test]
fn a_single_event_that_is_refused_has_its_line_of_json() {
    let shop = Shop::new();
    for (flags, id, code) in [
        ("--key= --type T", None, "Invalid/EmptyKey"),
        ("--key k --type T --version 0 --id e1", Some("e1"), "Invalid/EventVersion"),
        ("--key k --type T --header a:b=v", None, "Invalid/HeaderName"),
        ("--key k --type T --time 2026-11-25 --id e2", Some("e2"), "Invalid/Time"),
        ("--key k --type T --data {", None, "Invalid/PayloadNotJson"),
    ] {
        let ran = shop.run(&format!("pub orders --json {flags}"));
        assert_eq!(ran.code, Some(1), "{flags}: {}", ran.stderr);
        let line = ran.json().pop().unwrap_or_else(|| panic!("no line for {flags}"));
        let expected = (&json!(1), &json!("invalid"), &json!(code), id);
        assert_eq!((&line["line"], &line["outcome"], &line["error"], line["id"].as_str()), expected, "{flags}");
        let message = line["message"].as_str().expect("a message");
        assert!(message.contains(code), "{message}");
        assert_eq!(ran.said(), "orders: 0 acked, 1 invalid, in … s\n");
    }
    assert!(!shop.path("busline.db").exists());
}

/// What was stored is counted, also when nobody can be told of each event.
#[test]
fn the_summary_is_true_when_stdout_takes_nothing() {
    let shop = Shop::new();
    let lines: Vec<_> = (1..=3_000).map(|version| flat(&format!("e{version}"), "a", version)).collect();
    shop.file("lines", lines.join("\n"));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("the device");
    let ran = Ran::of(shop.command("pub orders --file lines --json").stdout(full).output().expect("runs"));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("Unavailable/Output"), "{}", ran.stderr);
    let stored = shop.records("orders").len();
    assert!(ran.stderr.contains(&format!("orders: {stored} acked")), "{stored} are stored: {}", ran.stderr);
}

/// Attributes that cannot be fields of an envelope come from other programs, and are told for what they are.
#[test]
fn a_foreign_line_that_no_envelope_can_hold_is_refused_for_its_true_cause() {
    let shop = Shop::new();
    let event = |more: &str| {
        format!(r#"{{"envelope":{{"specversion":"1.0","id":"1","source":"/s","type":"T","subject":"k"{more}}}}}"#)
    };
    for (more, cause, next) in [
        (r#","sequence":"abc""#, "'sequence' is kept for event_version", "whole number from 1"),
        (r#","partitionkey":"p""#, "'partitionkey' is kept for aggregate_id", "the same text as 'subject'"),
        (r#","tenantid":7"#, "'tenantid' is kept for tenant", "text"),
    ] {
        let ran = shop.run_with("pub copy --file - --json", event(more));
        let line = ran.json().remove(0);
        assert_eq!((ran.code, &line["error"]), (Some(1), &json!("Invalid/AttributeName")));
        let message = line["message"].as_str().expect("a message");
        assert!(message.contains(cause) && message.contains(next), "{message}");
    }
}

#[test]
fn an_empty_input_is_done_and_a_large_line_is_passed_over() {
    let shop = Shop::new();
    let ran = shop.run("pub orders --file -");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    assert!(ran.said().ends_with("orders: 0 acked, in … s\n"), "{}", ran.stderr);
    let input = std::io::Cursor::new(flat("e1", "a", 1) + "\n")
        .chain(std::io::repeat(b'x').take(20_000_000))
        .chain(std::io::Cursor::new("\n".to_owned() + &flat("e3", "a", 2)));
    let ran = shop.run_from("pub orders --file - --json", input);
    let outcomes = ran.json();
    assert_eq!(ran.code, Some(1));
    assert_eq!((&outcomes[1]["line"], &outcomes[1]["error"]), (&json!(2), &json!("TooLarge/Record")));
    assert_eq!((outcomes.len(), &outcomes[2]["id"], &outcomes[2]["outcome"]), (3, &json!("e3"), &json!("acked")));
}

#[test]
fn outcomes_come_while_the_input_stays_open() {
    let shop = Shop::new();
    let mut child = shop.spawn("pub orders --file - --json");
    let mut outcomes = BufReader::new(child.stdout.take().expect("stdout")).lines();
    for (id, version) in [("e1", 1), ("e2", 2)] {
        crate::harness::write(&mut child, &(flat(id, "a", version) + "\n"));
        let outcome = outcomes.next().expect("a line").expect("read");
        assert!(outcome.contains(id) && outcome.contains("acked"), "{outcome}");
    }
    crate::harness::signal(&child, "INT");
    assert_eq!(child.wait().expect("ends").code(), Some(0), "Ctrl-C once is done");
}

/// While a foreign lock lets nothing be stored: once goes on waiting for the outcomes, twice ends at once and counts them.
#[test]
fn ctrl_c_twice_counts_what_has_no_outcome() {
    let shop = Shop::new();
    assert_eq!(shop.run("topic create orders").code, Some(0));
    let lines: Vec<_> = (1..=300).map(|version| flat(&format!("e{version}"), "a", version)).collect();
    shop.file("lines", lines.join("\n"));
    let lock = rusqlite::Connection::open(shop.path("busline.db")).expect("the bus");
    lock.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
    for (line, most) in [("pub orders --key k --type T", 1), ("pub orders --file lines", 300)] {
        let mut child = shop.spawn(line);
        wait_until_it_stores(&shop);
        let code = interrupt_until_the_end(&mut child);
        let ran = Ran::of(child.wait_with_output().expect("ends"));
        assert_eq!((code, ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
        let count = ran
            .stderr
            .strip_prefix("busline: pub orders: Closed/Interrupted: stopped at once, without the outcome of ");
        let count = count.and_then(|rest| rest.strip_suffix(" events; look them up before publishing them again\n"));
        let count: u32 = count.unwrap_or_else(|| panic!("{}", ran.stderr)).parse().expect("a number");
        assert!((1..=most).contains(&count), "{line}: {count}");
    }
    lock.execute_batch("COMMIT").expect("the lock is ours");
    assert_eq!(shop.records("orders").len(), 0);
}

/// Waits until a process wants to write: while it does it keeps its turn at the turnstile.
fn wait_until_it_stores(shop: &Shop) {
    let (_never, pause) = std::sync::mpsc::channel::<()>();
    let stores = || {
        let turnstile = std::fs::File::open(shop.path("busline.db.lock")).ok()?;
        matches!(turnstile.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)).then_some(())
    };
    let found = (0..2_000).find_map(|_| {
        let _ = pause.recv_timeout(std::time::Duration::from_millis(5));
        stores()
    });
    assert!(found.is_some(), "nothing is to be stored");
}

#[test]
fn two_processes_publish_halves_at_once() {
    let shop = Shop::new();
    let lines: Vec<_> = EVENTS.lines().collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    std::thread::scope(|scope| {
        for half in [first, second] {
            let (shop, half) = (&shop, half.join("\n"));
            scope.spawn(move || assert_eq!(shop.run_with("pub files --file -", half).code, Some(0)));
        }
    });
    let records = shop.records("files");
    assert_eq!(records.len(), 2_000);
    // Each half came in order, whatever came in between.
    for half in [first, second] {
        let events: Vec<Value> = half.iter().map(|line| serde_json::from_str(line).expect("json")).collect();
        let place = |event: &Value| {
            let found = records.iter().filter(|record| record["envelope"]["id"] == event["event_id"]);
            let places: Vec<_> = found.map(|record| record["offset"].as_u64().expect("offset")).collect();
            assert_eq!(places.len(), 1, "{event}");
            places[0]
        };
        let mut last = std::collections::HashMap::new();
        for event in &events {
            let at = place(event);
            let before = last.insert(event["aggregate_id"].to_string(), at);
            assert!(before.is_none_or(|before| before < at), "{event}");
        }
    }
}

#[cfg(feature = "history")]
#[test]
fn a_history_is_written_on_demand() {
    let shop = Shop::new();
    shop.file("lines.ndjson", [flat("e1", "a", 1), flat("e2", "a", 2), flat("e3", "a", 0)].join("\n"));
    let ran = shop.command("pub orders --file lines.ndjson").env("BUSLINE_HISTORY", "h.ndjson").output();
    assert_eq!(ran.expect("runs").status.code(), Some(1));
    let entries = busline_history::read_file(shop.path("h.ndjson")).expect("readable");
    let steps: Vec<String> = entries.iter().map(|entry| step(&entry.op)).collect();
    assert_eq!(steps[..2], ["invoke e1 1", "accept e1"]);
    assert_eq!(steps.iter().filter(|step| step.starts_with("ok e")).count(), 2, "{steps:?}");
    assert!(
        steps.contains(&"invoke e2 2".into()) && steps.len() == 6,
        "an invalid line was never published: {steps:?}"
    );
    let second = shop.command("pub orders --file lines.ndjson").env("BUSLINE_HISTORY", "h.ndjson").output();
    let stderr = String::from_utf8(second.expect("runs").stderr).expect("UTF-8");
    assert!(stderr.contains("Unavailable/History"), "a history belongs to one process: {stderr}");
}

#[cfg(feature = "history")]
fn step(op: &busline_history::Op) -> String {
    use busline_history::{Accept, Op, Publish};
    match op {
        Op::Publish(Publish::Invoke(call)) => format!("invoke {} {}", call.id, call.kseq),
        Op::Publish(Publish::Ok(acked)) => format!("ok {}", acked.id),
        Op::Accept(Accept::Ok(accepted)) => format!("accept {}", accepted.id),
        other => format!("{other:?}"),
    }
}
