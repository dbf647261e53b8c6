//! Entries 24, 57, 73 and 85 to 87: paths and what stands there.

use std::os::unix::fs::symlink;
use std::process::Command;

use busline_conformance::assert_told;

use crate::check::{Exit, refused_words};
use crate::harness::{Ran, Shop};

#[test]
fn a_bad_path_of_the_bus_is_refused_and_nothing_is_made() {
    let shop = Shop::new();
    for (path, code) in [
        ("x".repeat(300), "Invalid/PathTooLong"),
        (format!("{}/bus.db", "y".repeat(300)), "Invalid/PathTooLong"),
        ("nowhere/bus.db".into(), "NotFound/Folder"),
        ("..".into(), "Invalid/Path"),
    ] {
        let url = format!("sqlite:{path}");
        for words in [&["topic", "create", "t"][..], &["pub", "t", "--key", "k", "--type", "T"], &["sub", "t"]] {
            refused_words(24, &shop, &[&["--bus", &url], words].concat(), Exit::Refused, code);
        }
    }
}

/// What stands at the path of a bus: entry, its name, and the error.
const NO_BUS: &[(u32, &str, &str)] = &[
    (87, "link", "Denied/Symlink"),
    (87, "dangling", "Denied/Symlink"),
    (87, "pipe", "Invalid/NotARegularFile"),
    (87, "folder", "Invalid/NotARegularFile"),
    (87, "text", "Invalid/NotABuslineFile"),
    (87, "short", "Invalid/NotABuslineFile"),
    (87, "foreign.db", "Invalid/NotABuslineFile"),
    (87, "newer.db", "Unsupported/SchemaNewer"),
    (86, "pages.db", "Corrupt/Store"),
    (86, "cut.db", "Corrupt/Store"),
];

#[test]
fn what_is_no_file_of_ours_is_refused_and_not_changed() {
    let shop = shop_of_bad_files();
    for (entry, name, code) in NO_BUS {
        let url = format!("sqlite:{name}");
        let content =
            || std::fs::metadata(shop.path(name)).is_ok_and(|it| it.is_file()).then(|| std::fs::read(shop.path(name)));
        let before = content().map(|bytes| bytes.expect("readable"));
        for words in [&["topic", "create", "t"][..], &["pub", "t", "--key", "k", "--type", "T"], &["sub", "t"]] {
            refused_words(*entry, &shop, &[&["--bus", &url], words].concat(), Exit::Refused, code);
        }
        assert_eq!(content().map(|bytes| bytes.expect("readable")), before, "{name} was changed");
    }
    refused_words(87, &shop, &["--bus", "sqlite:/dev/null", "topic", "list"], Exit::Refused, "Invalid/NotARegularFile");
}

/// Entry 86: what a file claims takes no memory: a gigabyte of addresses is enough for the whole process.
#[test]
fn what_a_file_claims_takes_no_memory() {
    let shop = shop_of_bad_files();
    let sparse = |name: &str, bytes: u64| {
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(shop.path(name));
        file.expect("a file").set_len(bytes).expect("a file system with sparse files");
    };
    let made = shop.run("topic create orders --bus sqlite:long.db");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    sparse("long.db", 1 << 43);
    sparse("zeros", 1 << 43);
    let listed = |name: &str| {
        let mut command = Command::new("sh");
        let line = format!("ulimit -v 1048576; exec {} topic list", env!("CARGO_BIN_EXE_busline"));
        command.arg("-c").arg(line).env("BUSLINE_URL", format!("sqlite:{name}")).current_dir(shop.path("."));
        Ran::of(command.output().expect("runs"))
    };
    // Zeros behind what the header counts are none of its pages.
    assert_eq!(listed("long.db").code, Some(0));
    for (name, code) in [("zeros", "Invalid/NotABuslineFile"), ("pages.db", "Corrupt/Store")] {
        let ran = listed(name);
        assert_eq!(ran.code, Some(1), "{name}: {}", ran.stderr);
        assert_told(ran.stderr.trim_end().trim_start_matches("busline: "), code);
    }
}

fn shop_of_bad_files() -> Shop {
    let shop = Shop::new();
    shop.file("text", "shopping list\n".repeat(1_000));
    shop.file("short", "S");
    std::fs::create_dir(shop.path("folder")).expect("a folder");
    symlink(shop.path("newer.db"), shop.path("link")).expect("a link");
    symlink("/nowhere/bus.db", shop.path("dangling")).expect("a link");
    assert!(Command::new("mkfifo").arg(shop.path("pipe")).status().expect("mkfifo").success());
    let sql = |name: &str, text: &str| {
        rusqlite::Connection::open(shop.path(name)).expect("a file").execute_batch(text).expect("legal SQL");
    };
    sql("foreign.db", "CREATE TABLE guests(name TEXT)");
    for name in ["newer.db", "pages.db", "cut.db"] {
        let made = shop.run(&format!("topic create orders --bus sqlite:{name}"));
        assert_eq!(made.code, Some(0), "{}", made.stderr);
    }
    sql("newer.db", "PRAGMA user_version = 1000");
    let mut pages = std::fs::read(shop.path("pages.db")).expect("a file");
    pages[28..32].copy_from_slice(&u32::MAX.to_be_bytes());
    shop.file("pages.db", pages);
    let cut = std::fs::read(shop.path("cut.db")).expect("a file");
    shop.file("cut.db", &cut[..8_192]);
    shop
}

/// Entry 57: a record whose bytes changed is named with its place, and is not delivered.
#[test]
fn a_record_with_a_wrong_checksum_is_named_with_its_place() {
    let shop = Shop::new();
    assert_eq!(shop.run("topic create orders --partitions 1").code, Some(0));
    for version in 1..=3 {
        let published = shop.run(&format!("pub orders --key k --type T --version {version} --data {version}"));
        assert_eq!(published.code, Some(0));
    }
    let connection = rusqlite::Connection::open(shop.path("busline.db")).expect("the bus");
    let changed = "UPDATE records SET body = replace(CAST(body AS TEXT), '\"data\":2', '\"data\":7') \
                   WHERE position % 1099511627776 = 1";
    let changed = changed.replace("replace(", "CAST(replace(").replace("7')", "7') AS BLOB)");
    assert_eq!(connection.execute(&changed, []).expect("a change"), 1);
    drop(connection);
    let ran = shop.run("sub orders --until-end --json");
    assert_eq!(ran.code, Some(1));
    assert!(!ran.stdout.contains("\"data\":7"), "a damaged record is not delivered: {}", ran.stdout);
    let line = ran.stderr.lines().find_map(|line| line.strip_prefix("busline: ")).expect("an error");
    assert_told(line, "Corrupt/Checksum");
    assert!(line.contains("orders/0") && line.contains('1'), "{line}");
}

/// Entry 73: where the results of a benchmark cannot go is said before anything is measured.
#[test]
fn a_result_file_is_never_written_over_or_through_a_link() {
    let shop = Shop::new();
    shop.file("there.json", "mine");
    std::fs::create_dir(shop.path("folder")).expect("a folder");
    symlink(shop.path("there.json"), shop.path("link.json")).expect("a link");
    symlink(shop.path("folder"), shop.path("folder-link")).expect("a link");
    symlink(shop.path("not-there.json"), shop.path("dangling.json")).expect("a link");
    for (path, code) in [
        ("there.json", "AlreadyExists/File"),
        ("folder", "Invalid/Path"),
        ("link.json", "Denied/Symlink"),
        ("dangling.json", "Denied/Symlink"),
        ("nowhere/results.json", "NotFound/Folder"),
        ("not-there/", "Invalid/Path"),
        ("folder-link/", "Invalid/Path"),
        (&"x".repeat(300), "Invalid/Path"),
        // Nobody may make a file there, not even root.
        ("/proc/results.json", "Denied/Folder"),
    ] {
        for flag in ["--json", "--markdown", "--html"] {
            refused_words(73, &shop, &["bench", "--level", "low", flag, path], Exit::Refused, code);
            refused_words(73, &shop, &["bench", "--rate", "5", flag, path], Exit::Refused, code);
        }
    }
    assert_eq!(std::fs::read_to_string(shop.path("there.json")).expect("a file"), "mine");
}

/// Entry 73: two reports in one file would be one report, whichever way the path is written.
#[test]
fn two_reports_never_go_to_one_file() {
    let shop = Shop::new();
    std::fs::create_dir(shop.path("folder")).expect("a folder");
    symlink(shop.path("folder"), shop.path("link")).expect("a link");
    let whole = shop.path("o.json");
    let whole = whole.to_str().expect("UTF-8");
    for files in [
        ["--json", "o.json", "--html", "o.json"],
        ["--markdown", "o.json", "--html", "./o.json"],
        ["--json", "folder/../o.json", "--markdown", whole],
        ["--json", "folder/o.json", "--html", "link/o.json"],
        ["--bus", "sqlite:o.json", "--json", "./o.json"],
    ] {
        for load in [["--level", "low"], ["--rate", "5"]] {
            let words: Vec<&str> = ["bench"].into_iter().chain(load).chain(files).collect();
            let text = refused_words(73, &shop, &words, Exit::Refused, "Invalid/Contradiction");
            assert!(text.contains(files[0]) && text.contains(files[2]), "{text}");
        }
    }
}
