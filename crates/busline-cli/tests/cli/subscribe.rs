//! `busline sub` as scripts use it.

use std::io::{BufRead, BufReader, Read};

use crate::harness::{EVENTS, Ran, Shop};

fn shop_with_events() -> Shop {
    let shop = Shop::new();
    assert_eq!(shop.run_with("pub files --file -", EVENTS).code, Some(0));
    shop
}

/// One partition with these versions of one key.
fn shop_with(versions: std::ops::RangeInclusive<u64>) -> Shop {
    let shop = Shop::new();
    assert_eq!(shop.run("topic create orders --partitions 1").code, Some(0));
    let lines: Vec<_> = versions
        .map(|version| {
            format!(r#"{{"event_id":"e{version}","aggregate_id":"a","event_type":"T","event_version":{version},"timestamp":"2026-11-25T08:00:00Z"}}"#)
        })
        .collect();
    assert_eq!(shop.run_with("pub orders --file -", lines.join("\n")).code, Some(0));
    shop
}

fn offsets(ran: &Ran) -> Vec<u64> {
    ran.json().iter().map(|record| record["offset"].as_u64().expect("offset")).collect()
}

#[test]
fn reading_begins_and_ends_where_it_is_told() {
    let shop = shop_with(1..=6);
    for (flags, expected) in [
        ("", vec![0, 1, 2, 3, 4, 5]),
        ("--from latest", vec![]),
        ("--from 0:4", vec![4, 5]),
        ("--from 0:99", vec![]),
        ("--from 2020-01-01T00:00:00Z --count 2", vec![0, 1]),
        ("--from 2999-01-01T00:00:00Z", vec![]),
        ("--count 0", vec![]),
    ] {
        let ran = shop.run(&format!("sub orders --until-end --json {flags}"));
        assert_eq!((ran.code, offsets(&ran)), (Some(0), expected), "{flags}");
    }
    assert_eq!(offsets(&shop.run("sub orders --count 6 --json")).len(), 6, "a count ends without --until-end");
    assert_eq!(
        shop.run("sub orders --from 1:0").stderr,
        "busline: topic orders: NotFound/Partition: no partition 1; see the topic's partition count\n"
    );
}

#[test]
fn a_record_is_a_line_to_read_or_one_of_json() {
    let shop = shop_with(1..=1);
    assert_eq!(
        shop.run("sub orders --count 1 --json").stdout,
        r#"{"topic":"orders","partition":0,"offset":0,"attempt":1,"envelope":{"specversion":"1.0","id":"e1","source":"/busline/orders","type":"T","subject":"a","partitionkey":"a","sequence":"00000000000000000001","time":"2026-11-25T08:00:00Z"}}
"#
    );
    assert_eq!(shop.run("sub orders --count 1").stdout, "orders/0@0  2026-11-25T08:00:00Z  T  a  v1\n");
}

#[test]
fn terminal_escapes_are_shown_not_sent() {
    let shop = Shop::new();
    let data = r#"{"a":"\u001b[31m"}"#.replace("\\u001b", "\u{9b}");
    assert!(shop.command("pub orders --key k --type T --data").arg(data).output().expect("runs").status.success());
    let text = shop.run("sub orders --count 1").stdout;
    assert!(text.ends_with("T  k  v1  {\"a\":\"\\u{9b}[31m\"}\n"), "{text}");
    let error = shop.run("sub a\u{1b}[31mb").stderr;
    assert!(error.contains("\\u{1b}") && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn a_missing_topic_or_file_is_not_made() {
    let shop = Shop::new();
    let expected = "busline: topic orders: NotFound/Topic: no such topic; create it with 'busline topic create', or publish \
                    with a provision that creates it\n";
    let ran = shop.run("sub orders --until-end");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), expected));
    assert!(!shop.path("busline.db").exists());
    assert_eq!(shop.run("topic create other").code, Some(0));
    let ran = shop.run("sub orders --until-end");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), expected));
}

#[test]
fn new_records_are_followed_until_ctrl_c() {
    let shop = shop_with(1..=1);
    let mut child = shop.spawn("sub orders --json");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    assert!(lines.next().expect("a line").expect("read").contains("\"e1\""));
    assert_eq!(shop.run("pub orders --key a --type T --version 2 --id e2").code, Some(0));
    assert!(lines.next().expect("a line").expect("read").contains("\"e2\""));
    crate::harness::signal(&child, "INT");
    assert_eq!(child.wait().expect("ends").code(), Some(0));
}

#[test]
fn a_topic_that_was_replaced_ends_the_reader() {
    let shop = shop_with(1..=3);
    let mut child = shop.spawn("sub orders --json");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    lines.nth(2).expect("three lines").expect("read");
    assert_eq!(shop.run("topic delete orders").code, Some(0));
    assert_eq!(shop.run("topic create orders --partitions 1").code, Some(0));
    let ran = Ran::of(child.wait_with_output().expect("ends"));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("NotFound/Topic"), "{}", ran.stderr);
}

#[test]
fn a_broken_pipe_is_success() {
    let shop = shop_with_events();
    let mut child = shop.spawn("sub files --json");
    let mut first = String::new();
    BufReader::with_capacity(64, child.stdout.take().expect("stdout")).read_line(&mut first).expect("a line");
    let ran = Ran::of(child.wait_with_output().expect("ends"));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));

    let mut child = shop.spawn("pub copy --file - --json");
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("stdin");
    std::io::copy(&mut EVENTS.as_bytes(), &mut stdin).expect("all is read");
    drop(stdin);
    let ran = Ran::of(child.wait_with_output().expect("ends"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(shop.records("copy").len(), 2_000, "what nobody reads the outcomes of is published all the same");
}

#[test]
fn ctrl_c_twice_stops_a_reader_that_nobody_listens_to() {
    let shop = shop_with_events();
    let mut child = shop.spawn("sub files --json");
    let mut blocked = child.stdout.take().expect("stdout");
    // The first piece has begun; it is larger than the pipe and its buffer, and is not stopped in the middle.
    blocked.read_exact(&mut [0]).expect("a byte");
    let code = crate::harness::interrupt_until_the_end(&mut child);
    drop(blocked);
    let ran = Ran::of(child.wait_with_output().expect("ends"));
    assert_eq!(code, Some(1));
    assert_eq!(
        ran.stderr,
        "busline: sub files: Closed/Interrupted: stopped at once; look at what it has done before running it again\n"
    );
}
