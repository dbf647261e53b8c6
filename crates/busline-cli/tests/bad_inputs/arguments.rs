//! Entries 65 to 76: what stands on the command line, and where its output goes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use crate::check::{Exit, command, refused, refused_words};
use crate::harness::{Ran, Shop};

/// Lines that cannot be parsed: entry, words, error and a part of what is said.
const UNPARSABLE: &[(u32, &[&str], &str, &str)] = &[
    (65, &["topic", "create", "t", "--retain-age", "1h30"], "Invalid/Value", "a number of seconds"),
    (65, &["topic", "create", "t", "--retain-age", "0"], "Invalid/Value", "a number of seconds"),
    (65, &["topic", "create", "t", "--retain-age", "-5"], "Invalid/Value", "a number of seconds"),
    (65, &["topic", "create", "t", "--retain-age", "1e30"], "Invalid/Value", "a number of seconds"),
    (65, &["topic", "create", "t", "--retain-age", "NaN"], "Invalid/Value", "a number of seconds"),
    (65, &["topic", "create", "t", "--retain-bytes", "0"], "Invalid/Value", "a whole number of bytes"),
    (65, &["topic", "create", "t", "--retain-bytes", "-1"], "Invalid/Value", "a whole number of bytes"),
    (65, &["topic", "create", "t", "--retain-bytes", "1MB"], "Invalid/Value", "a whole number of bytes"),
    (65, &["topic", "create", "t", "--retain-bytes", "18446744073709551616"], "Invalid/Value", "bytes from 1"),
    (65, &["topic", "update", "t", "--retain-age", "1h30"], "Invalid/Value", "seconds above 0, such as 2.5, or none"),
    (65, &["topic", "update", "t", "--retain-bytes", "0"], "Invalid/Value", "a whole number of bytes"),
    (65, &["topic", "update", "t", "--retain-records=-1"], "Invalid/Value", "a whole number of records"),
    (65, &["topic", "update", "t", "--replicas", "256"], "Invalid/Value", "from 1 to 255"),
    (65, &["sub", "t", "--group", "g", "--lease", "0"], "Invalid/Value", "a number of seconds"),
    (65, &["sub", "t", "--group", "g", "--lease=-1"], "Invalid/Value", "a number of seconds"),
    (65, &["sub", "t", "--group", "g", "--exec", "true", "--timeout", "1m"], "Invalid/Value", "a number of seconds"),
    (65, &["sub", "t", "--count", "many"], "Invalid/Value", "a whole number"),
    (70, &["pub", "orders", "--flie", "x"], "Invalid/UnknownFlag", "did you mean --file?"),
    (70, &["sub", "orders", "--count", "1", "--count", "2"], "Invalid/RepeatedFlag", "give it once"),
    (70, &["--json", "topic", "list", "--json"], "Invalid/RepeatedFlag", "give it once"),
    (70, &["--bus", "a", "topic", "list", "--bus=b"], "Invalid/RepeatedFlag", "give it once"),
    (70, &["bench", "--runs", "1", "--runs", "2"], "Invalid/RepeatedFlag", "give it once"),
    (70, &["bench", "--soak", "1s", "--level", "low"], "Invalid/Contradiction", "--level"),
    (70, &["bench", "--mode", "async", "--slo", "1s"], "Invalid/Contradiction", "--mode"),
    (70, &["bench", "--level", "low", "--duration", "1s"], "Invalid/Contradiction", "--level"),
    (70, &["bench", "--workload", "wake", "--soak", "1s"], "Invalid/Contradiction", "--workload"),
    (70, &["bench", "--workload", "wake", "--senders", "2"], "Invalid/Contradiction", "--senders"),
    (
        70,
        &["bench", "--workload", "wake", "--bus", "memory:"],
        "Invalid/Contradiction",
        "--bus does not go with --workload",
    ),
    (
        70,
        &["--bus", "memory:", "bench", "--workload=wake"],
        "Invalid/Contradiction",
        "--bus does not go with --workload",
    ),
    (70, &["bench", "--bus=memory:", "--results", "r"], "Invalid/Contradiction", "--bus does not go with --results"),
    (70, &["bench", "--soak", "1s"], "Invalid/MissingArgument", "--rate"),
    (70, &["bench", "--json=results.json"], "Invalid/Value", "--json FILE"),
    (70, &["pub", "orders", "--file", ""], "Invalid/Argument", "needs a value"),
    (70, &[""], "Invalid/Argument", "an argument is empty"),
    (70, &["sub"], "Invalid/MissingArgument", "<TOPIC>"),
    (70, &["topic", "update", "t"], "Invalid/MissingArgument", "--retain-age"),
    (70, &["sub", "orders", "more"], "Invalid/Argument", "'more'"),
    (70, &["sub", "orders", "--group", "g", "--from", "\u{1b}[31m"], "Invalid/Value", "\\u{1b}[31m"),
];

#[test]
fn a_line_that_cannot_be_parsed_is_named() {
    let shop = Shop::new();
    for (entry, words, code, says) in UNPARSABLE {
        let text = refused_words(*entry, &shop, words, Exit::Unparsable, code);
        assert!(text.contains(says), "entry {entry}: {text}");
    }
    for words in [&["sub"][..], &["pub", "orders", "--key", "k", "--type", "T", "--data"]] {
        let mut command = command(&shop, words);
        command.arg(OsStr::from_bytes(b"\xff"));
        refused(70, &shop, command, Exit::Unparsable, "Invalid/Argument");
    }
}

/// Entry 70: a flag of a single event beside a file is contradicted, not passed over.
#[test]
fn no_flag_of_a_single_event_goes_with_a_file() {
    let shop = Shop::new();
    shop.file("events", "");
    for flag in [
        "--key",
        "--type",
        "--data",
        "--content-type",
        "--version",
        "--id",
        "--time",
        "--source",
        "--schema",
        "--tenant",
        "--correlation-id",
        "--causation-id",
        "--traceparent",
        "--attribute",
        "--header",
    ] {
        let value = if flag == "--version" { "1" } else { "a=1" };
        let words = ["pub", "orders", "--file", "events", flag, value];
        let text = refused_words(70, &shop, &words, Exit::Unparsable, "Invalid/Contradiction");
        assert!(text.contains("--file") && text.contains(flag), "{text}");
    }
    let words = ["pub", "orders", "--file", "events", "--key", "k", "--type", "T", "--data", "1"];
    refused_words(70, &shop, &words, Exit::Unparsable, "Invalid/Contradiction");
}

/// Lines that say what cannot be: entry, words and error.
const REFUSED: &[(u32, &[&str], &str)] = &[
    (65, &["topic", "create", "t", "--partitions", "0"], "Invalid/Range"),
    (65, &["topic", "create", "t", "--partitions", "1025"], "Invalid/Range"),
    (65, &["topic", "create", "t", "--retain-age", "0.00001"], "Invalid/Range"),
    (65, &["topic", "create", "t", "--retain-records", "0"], "Invalid/Range"),
    (65, &["sub", "t", "--group", "g", "--concurrency", "0"], "Invalid/Range"),
    (65, &["sub", "t", "--group", "g", "--concurrency", "4097"], "Invalid/Range"),
    (65, &["sub", "t", "--group", "g", "--exec", "true", "--attempts", "0"], "Invalid/Range"),
    (65, &["sub", "t", "--group", "g", "--exec", "true", "--attempts", "4294967295"], "Invalid/Range"),
    (65, &["sub", "t", "--group", "g", "--lease", "0.5"], "Invalid/Range"),
    (65, &["parked", "replay", "--group", "g", "--exec", "true", "--rate", "0"], "Invalid/Range"),
    (65, &["parked", "replay", "--group", "g", "--exec", "true", "--concurrency", "0"], "Invalid/Range"),
    (65, &["parked", "replay", "--group", "g", "--exec", "true", "--attempts", "0"], "Invalid/Range"),
    (65, &["parked", "replay", "--group", "g", "--exec", "true", "--rate=-1"], "Invalid/Range"),
    (65, &["parked", "replay", "--group", "g", "--exec", "true", "--rate", "-1"], "Invalid/Range"),
    (65, &["bench", "--runs", "0"], "Invalid/Range"),
    (65, &["bench", "--window", "0"], "Invalid/Range"),
    (
        65,
        &[
            "bench", "--bus", "memory:", "--bus", "memory:", "--bus", "memory:", "--bus", "memory:", "--bus",
            "memory:", "--bus", "memory:", "--bus", "memory:", "--bus", "memory:", "--bus", "memory:",
        ],
        "Invalid/Range",
    ),
    (
        65,
        &[
            "bench", "--rate", "100", "--bus", "memory:", "--bus", "memory:", "--bus", "memory:", "--bus", "memory:",
            "--bus", "memory:", "--bus", "memory:", "--bus", "memory:", "--bus", "memory:", "--bus", "memory:",
        ],
        "Invalid/Range",
    ),
    (70, &["bench", "--level", "low", "results.json"], "Invalid/MissingArgument"),
    (70, &["bench", "--rate", "5", "results.json"], "Invalid/MissingArgument"),
    (73, &["bench", "--level", "low", "--baseline", "none.json"], "NotFound/File"),
    (73, &["bench", "--level", "low", "--baseline", "none/none.json"], "NotFound/File"),
    (73, &["bench", "--level", "low", "--baseline", "."], "Denied/File"),
    (66, &["--bus", "topics.db", "topic", "list"], "Invalid/UrlScheme"),
    (66, &["--bus", "http://localhost", "topic", "list"], "Invalid/UrlScheme"),
    (66, &["--bus", "", "topic", "list"], "Invalid/UrlScheme"),
    (66, &["--bus", "sqlite:a\nb.db", "topic", "create", "t"], "Invalid/Url"),
    (66, &["--bus", "sqlite://host/a.db", "topic", "list"], "Invalid/Url"),
    (66, &["--bus", "sqlite:a.db?mode=ro", "topic", "list"], "Invalid/UnknownKey"),
    (66, &["--bus", "memory:x", "topic", "list"], "Invalid/Url"),
    (74, &["--bus", "nats://shop:hunter2@localhost", "topic", "list"], "Invalid/SecretInArguments"),
    (74, &["--bus", "sqlite://shop:hunter2@host/a.db", "topic", "list"], "Invalid/SecretInArguments"),
];

#[test]
fn a_line_that_says_what_cannot_be_is_refused() {
    let shop = Shop::new();
    for (entry, words, code) in REFUSED {
        let text = refused_words(*entry, &shop, words, Exit::Refused, code);
        assert!(!text.contains("hunter2"), "entry {entry}: {text}");
        assert!(!text.contains(['{', '}']), "entry {entry} prints a struct: {text}");
    }
}

/// Entry 66: a control character in a URL from the environment, for every command that opens a bus.
#[test]
fn a_bad_url_makes_no_file_whichever_command_reads_it() {
    let shop = Shop::new();
    for words in [&["topic", "list"][..], &["sub", "t"], &["pub", "t", "--key", "k", "--type", "T"], &["group", "list"]]
    {
        for (url, code) in [("sqlite:a\tb.db", "Invalid/Url"), ("sqlite:a.db?x=hunter2", "Invalid/UnknownKey")] {
            let mut command = command(&shop, words);
            command.env("BUSLINE_URL", url);
            let text = refused(66, &shop, command, Exit::Refused, code);
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}

/// Entry 70: what is measured on files of its own takes no bus, but the variable stands for every command.
#[test]
fn a_bus_in_the_environment_goes_with_every_benchmark() {
    let shop = Shop::new();
    for (words, code) in [
        (&["bench", "--workload", "wake", "--runs", "0"][..], "Invalid/Range"),
        (&["bench", "--results", "none.json"], "NotFound/File"),
    ] {
        let mut command = command(&shop, words);
        command.env("BUSLINE_URL", "memory:");
        refused(70, &shop, command, Exit::Refused, code);
    }
}

/// A process that may open too few files to begin names what it was to do.
#[test]
fn a_command_that_cannot_begin_says_which() {
    let shop = Shop::new();
    let program = shop.command("").get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    command.current_dir(shop.path(".")).env_clear().arg("-c");
    command.arg("ulimit -n 4; exec \"$0\" topic show orders").arg(program);
    let text = refused(72, &shop, command, Exit::Refused, "Unavailable/Runtime");
    assert!(text.starts_with("topic show orders: "), "{text}");
}

#[test]
fn flags_end_at_two_dashes_and_a_value_may_begin_with_one() {
    let shop = Shop::new();
    assert_eq!(shop.run("pub --key=-k --type=-T --data=-5 -- -orders").code, Some(0));
    let records = shop.run("sub --until-end --json -- -orders").json();
    let envelope = &records[0]["envelope"];
    assert_eq!((&envelope["subject"], &envelope["data"]), (&"-k".into(), &(-5).into()), "70");
}

/// Entry 72: whatever the terminal is, output is plain.
#[test]
fn output_is_plain_at_any_width_and_without_a_terminal() {
    let shop = Shop::new();
    assert_eq!(shop.run("pub orders --key k --type T").code, Some(0));
    for line in ["--help", "pub --help", "bench --help", "doctor", "topic list", "sub orders --until-end", "nothing"] {
        for (name, value) in [("COLUMNS", "1"), ("COLUMNS", "0"), ("NO_COLOR", "1"), ("TERM", "dumb")] {
            let ran = Ran::of(shop.command(line).env(name, value).output().expect("runs"));
            let text = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!text.contains("panicked") && !text.contains('\u{1b}'), "{name}={value} {line}: {text}");
            assert_eq!(ran.code, Some(if line == "nothing" { 2 } else { 0 }), "{name}={value} {line}: {text}");
        }
    }
}

/// Entry 72: a device that takes nothing is an error by name, and no panic.
#[test]
fn output_that_goes_nowhere_is_told() {
    let shop = Shop::new();
    assert_eq!(shop.run("pub orders --key k --type T").code, Some(0));
    for line in ["sub orders --until-end --json", "topic list", "doctor", "man"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("the device");
        let ran = Ran::of(shop.command(line).stdout(full).stderr(Stdio::piped()).output().expect("runs"));
        assert_eq!(ran.code, Some(1), "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains("Unavailable/Output") && ran.stderr.lines().count() == 1, "{line}: {}", ran.stderr);
    }
}

/// Entry 76: nothing from outside reaches the terminal as it came.
#[test]
fn terminal_escapes_in_names_keys_files_and_errors_are_shown_escaped() {
    let shop = Shop::new();
    let escape = "\u{1b}[2J\u{9b}31m";
    for words in [
        &["sub", escape][..],
        &["pub", "orders", "--key", escape, "--type", "T"],
        &["pub", "orders", "--file", escape],
        &["man", escape],
        &[escape],
        &["sub", "orders", escape],
        &["completions", escape],
    ] {
        let ran = Ran::of(command(&shop, words).output().expect("runs"));
        let text = format!("{}{}", ran.stdout, ran.stderr);
        assert!(ran.code != Some(0) && text.contains("\\u{1b}"), "{words:?}: {text}");
        assert!(!text.contains(['\u{1b}', '\u{9b}']), "{words:?}: {text:?}");
    }
}
