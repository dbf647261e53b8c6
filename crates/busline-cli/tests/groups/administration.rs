//! Ends, counts, programs, and what looks after groups.

use std::fs::{read_to_string, write};

use serde_json::json;

use crate::harness::{Shop, signal};
use crate::lines::{assert_complete, assert_key_order, lines_of, repeated};
use crate::members::{committed, ends, shop_with_events, show, wait_until};

#[test]
fn a_group_reads_to_the_end_once() {
    let shop = shop_with_events(1);
    let first = shop.run("sub files --group g --until-end --json --concurrency 64");
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
    let lines = lines_of(&first.stdout);
    assert_key_order("g", &lines);
    assert_complete([&lines], &ends(&shop));
    assert!(lines.iter().all(|line| line.attempt == 1));
    let again = shop.run("sub files --group g --until-end --json");
    assert_eq!((again.code, again.stdout.as_str(), again.stderr.as_str()), (Some(0), "", ""));
    assert_eq!(shop.run("sub files --group late --from latest --until-end --json").stdout, "");
    assert_eq!(shop.run("pub files --key new --type T --id new").code, Some(0));
    let late = shop.run("sub files --group late --until-end --json").json();
    assert_eq!((late.len(), &late[0]["envelope"]["id"]), (1, &json!("new")), "the start position was kept");
}

#[test]
fn an_empty_topic_has_its_end_at_once_and_a_missing_one_is_named() {
    let shop = Shop::new();
    let missing = shop.run("sub files --group g --until-end");
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("NotFound/Topic") && !shop.path("busline.db").exists(), "{}", missing.stderr);
    assert_eq!(shop.run("topic create files").code, Some(0));
    let empty = shop.run("sub files --group g --until-end --json");
    assert_eq!((empty.code, empty.stdout.as_str(), empty.stderr.as_str()), (Some(0), "", ""));
    assert!(shop.run("sub other --group g --until-end").stderr.contains("NotFound/Topic"));
}

#[test]
fn a_line_has_the_form_of_sub_without_a_group() {
    let shop = shop_with_events(1);
    for flags in ["--json", ""] {
        let alone = shop.run(&format!("sub files --until-end {flags}"));
        let member = shop.run(&format!("sub files --group g{} --until-end {flags}", flags.len()));
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&alone.stdout), sorted(&member.stdout));
    }
}

#[test]
fn counts_follow_each_other_without_a_repetition() {
    let shop = shop_with_events(1);
    let mut outputs: Vec<_> = [1, 10, 700]
        .iter()
        .map(|count| {
            let ran = shop.run(&format!("sub files --group g --count {count} --json"));
            assert_eq!((ran.code, ran.stderr.as_str(), ran.json().len()), (Some(0), "", *count));
            lines_of(&ran.stdout)
        })
        .collect();
    outputs.push(lines_of(&shop.run("sub files --group g --until-end --json").stdout));
    assert_complete(&outputs, &ends(&shop));
    assert_eq!(repeated(&outputs), []);
    assert_eq!(shop.run("sub files --group new --count 0").code, Some(0));
    assert_eq!(shop.run("group show new").code, Some(1), "a count of 0 joins no group");
}

fn program(shop: &Shop, script: &str) {
    write(shop.path("program"), script).expect("program");
}

#[test]
fn a_failed_program_runs_again_and_then_its_key_is_named() {
    let shop = Shop::new();
    assert_eq!(shop.run("topic create files --partitions 1").code, Some(0));
    for (key, id) in [("a", "a1"), ("b", "b1"), ("a", "a2")] {
        assert_eq!(shop.run(&format!("pub files --key {key} --type T --id {id}")).code, Some(0));
    }
    program(
        &shop,
        "read event; case $event in *'\"a1\"'*) [ $BUSLINE_ATTEMPT = 3 ] || kill -9 $$;; *'\"b1\"'*) exit 7;; esac",
    );
    let line = "sub files --group g --until-end --json --parking off --attempts 3 --exec";
    let ran = shop.command(line).arg("sh program").output().expect("runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1));
    for part in [
        "files/0/0 key a: attempt 2 of 3 failed: signal: 9 (SIGKILL)\n",
        "files/0/1 key b: attempt 3 of 3 failed: exit status: 7\n",
        "busline: sub files of group g: Unavailable/Blocked: files/0/1 key b: a key has used its attempts up; ",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let lines = lines_of(&String::from_utf8_lossy(&ran.stdout));
    assert!(lines.iter().any(|line| (line.offset, line.attempt) == (0, 3)), "{lines:?}");
    assert!(lines.iter().all(|line| line.key == "a"), "{lines:?}");
    assert_eq!(committed(&show(&shop, "g")), [1]);
    let passed = shop.run("group seek g files --to 0:2 --json").json().remove(0);
    assert_eq!((&passed["moved"], &passed["partitions"][0]["from"]), (&json!(true), &json!(1)));
    assert_eq!(shop.run("sub files --group g --until-end --json").json().len(), 1);
}

#[test]
fn a_program_gets_the_envelope_and_runs_without_a_shell() {
    let shop = Shop::new();
    assert_eq!(shop.run("pub files --key k --type T --id k1 --data [1]").code, Some(0));
    let run = |group: &str, flags: &str, exec: &str| {
        let line = format!("sub files --group {group} --until-end --json {flags} --exec");
        let ran = shop.command(&line).arg(exec).output().expect("runs");
        (
            ran.status.code(),
            String::from_utf8_lossy(&ran.stdout).into_owned(),
            String::from_utf8_lossy(&ran.stderr).into_owned(),
        )
    };
    let (code, stdout, stderr) = run("a", "", "tee '$HOME;x' envelope");
    assert_eq!(code, Some(0), "{stderr}");
    let line: serde_json::Value =
        serde_json::from_str(&stdout).expect("a line: what the program prints goes to stderr");
    for name in ["envelope", "$HOME;x"] {
        let text = read_to_string(shop.path(name)).expect(name);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("json"), line["envelope"]);
    }
    assert!(stderr.contains("\"k1\""), "{stderr}");
    let (code, stdout, stderr) = run("b", "--parking off --attempts 1 --timeout 0.2", "sleep 600");
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("killed, it ran too long"), "{stderr}");
    let (code, _, stderr) = run("c", "", "./none");
    assert_eq!(code, Some(1));
    assert_eq!(
        stderr,
        "busline: run ./none: NotFound/Program: no program './none'; give a path, or a name that is on the PATH\n"
    );
    let (code, _, stderr) = run("d", "", "true");
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "a program need not read its stdin");
}

#[test]
fn groups_are_listed_shown_moved_and_deleted() {
    let shop = shop_with_events(1);
    assert_eq!(shop.run("group list").stdout, "");
    assert_eq!(shop.run("sub files --group g --until-end").code, Some(0));
    assert_eq!(shop.run("group list").stdout, "g  topic files  0 members  lag 0\n");
    assert_eq!(shop.run("group list --json").json(), [json!({"group": "g", "topic": "files", "members": 0, "lag": 0})]);
    let ends = ends(&shop);
    let planned = shop.run("group seek g files --to 1:5 --dry-run --json").json().remove(0);
    assert_eq!(planned["partitions"], json!([{"partition": 1, "from": ends[1], "to": 5}]));
    assert_eq!(show(&shop, "g")["lag"], 0, "a dry run moves nothing");
    assert_eq!(shop.run("group seek g files --to 1:5").code, Some(0));
    let topic = shop.run("topic show files --json").json().remove(0);
    assert_eq!(topic["groups"][0]["partitions"][1]["lag"], ends[1] - 5);
    assert_eq!(shop.run("sub files --group g --until-end --json").json().len() as u64, ends[1] - 5);
    assert_eq!(shop.run("group seek g files --to 2999-01-01T00:00:00Z").code, Some(0));
    assert_eq!(show(&shop, "g")["lag"], 0);
    for (line, code) in [
        ("group seek g files --to 1:99999", "Invalid/Offset"),
        ("group seek g files --to 9:0", "NotFound/Partition"),
        ("group seek none files --to latest", "NotFound/Group"),
        ("group seek g none --to latest", "NotFound/Topic"),
        ("group delete none files", "NotFound/Group"),
        ("group show none", "NotFound/Group"),
        ("group show g none", "NotFound/Topic"),
        ("group show a+b", "Invalid/NameCharacter"),
        ("sub files --group g --concurrency 0", "Invalid/Range"),
        ("sub files --group g --lease 0.9", "Invalid/Range"),
        ("sub files --group g --from 9:0", "NotFound/Partition"),
    ] {
        let ran = shop.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{line}");
        assert!(ran.stderr.contains(code), "{line}: {}", ran.stderr);
    }
    assert_eq!(shop.run("sub files --concurrency 4").code, Some(2), "it needs a group");
    assert!(shop.run("group delete g files --dry-run").stdout.starts_with("would delete g  topic files"));
    assert_eq!(shop.run("group delete g files --json").json()[0]["deleted"], true);
    assert_eq!(shop.run("group list").stdout, "");
}

#[test]
fn a_group_at_work_is_not_moved_and_its_members_are_named() {
    let shop = shop_with_events(1);
    let child = shop.spawn("sub files --group g --exec cat");
    let name = format!("{}-", child.id());
    wait_until("it is a member", || shop.run("group list").stdout.contains("1 members"));
    for line in ["group seek g files --to latest", "group seek g files --to latest --dry-run", "group delete g files"] {
        let ran = shop.run(line);
        assert_eq!(ran.code, Some(1), "{line}");
        assert!(ran.stderr.contains("Unavailable/GroupActive") && ran.stderr.contains(&name), "{line}: {}", ran.stderr);
    }
    signal(&child, "INT");
    drop(child.wait_with_output());
}
