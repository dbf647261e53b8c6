//! What stands at the path and is no file of ours: each refused by name, with nothing changed. Numbers are those of the
//! list of bad inputs.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use busline_core::{Error, Result};
use busline_sqlite::{SCHEMA_VERSION, SqliteConfig, SqliteDriver};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::stage::{Stage, close};

/// A bad input by its number, what makes it, and the error it must give.
type Case = (u32, &'static str, fn(&Path), &'static str);

const CASES: &[Case] = &[
    (87, "symbolic link to a file of ours", link_to_ours, "Denied/Symlink"),
    (87, "symbolic link to nothing", |path| symlink("/nowhere", path).expect("a link"), "Denied/Symlink"),
    (87, "folder", |path| std::fs::create_dir(path).expect("a folder"), "Invalid/NotARegularFile"),
    (87, "pipe", make_pipe, "Invalid/NotARegularFile"),
    (87, "text file", |path| write(path, "shopping list\n".repeat(2_000).as_bytes()), "Invalid/NotABuslineFile"),
    (87, "one byte", |path| write(path, b"S"), "Invalid/NotABuslineFile"),
    (87, "part of SQLite's header", |path| write(path, b"SQLite format 3\0"), "Invalid/NotABuslineFile"),
    (87, "511 bytes", |path| write(path, &[7; 511]), "Invalid/NotABuslineFile"),
    (87, "another application's file", |path| make_foreign(path, "DELETE"), "Invalid/NotABuslineFile"),
    (87, "another application's file with a log", |path| make_foreign(path, "WAL"), "Invalid/NotABuslineFile"),
    (87, "later schema", make_newer, "Unsupported/SchemaNewer"),
    (87, "later schema, in the log alone", make_newer_in_log, "Unsupported/SchemaNewer"),
    (86, "header that declares 2^32 - 1 pages", declare_pages, "Corrupt/Store"),
    (86, "cut after its first page", |path| cut(path, 8_192), "Corrupt/Store"),
    (86, "cut in its first page", |path| cut(path, 1_000), "Corrupt/Store"),
];

#[tokio::test]
async fn what_is_no_file_of_ours_is_refused_by_name_and_left_as_it_was() {
    for (number, name, make, expected) in CASES {
        let stage = Stage::new();
        make(&stage.path());
        let before = contents(&stage);
        let error = open_and_look(&stage).await.expect_err(name);
        assert_eq!(&error.code(), expected, "{number}: {name}: {error}");
        assert!(error.is_definite());
        let text = error.to_string();
        assert!(text.contains("bus.db") && !text.contains('\n'), "{number}: {name}: {text}");
        assert_eq!(contents(&stage), before, "{number}: {name}: something was written");
    }
}

/// Damage may show at open or at the first look at the topics.
async fn open_and_look(stage: &Stage) -> Result<()> {
    let bus = stage.open().await?;
    let looked = bus.driver().topics().await.map(drop);
    close(&bus).await;
    looked.map_err(|error| error.at("read", stage.path().display()))
}

#[tokio::test]
async fn a_later_schema_is_refused_with_both_numbers() {
    let stage = Stage::new();
    make_newer(&stage.path());
    let text = open_and_look(&stage).await.expect_err("later").to_string();
    assert!(text.contains(&format!("schema {}", SCHEMA_VERSION + 1)), "{text}");
    assert!(text.contains(&format!("up to {SCHEMA_VERSION}")), "{text}");
}

#[tokio::test]
async fn bad_paths_are_refused_before_anything_is_made() {
    let stage = Stage::new();
    let folder = stage.folder.path();
    for (number, path, expected) in [
        (24, folder.join("x".repeat(300)), "Invalid/PathTooLong"),
        (24, folder.join("x".repeat(251)), "Invalid/PathTooLong"),
        (24, folder.join("y".repeat(300)).join("bus.db"), "Invalid/PathTooLong"),
        (24, folder.join("nowhere").join("bus.db"), "NotFound/Folder"),
        (24, folder.join(".."), "Invalid/Path"),
        (24, "".into(), "Invalid/Path"),
        (24, folder.join("a\0b"), "Invalid/Path"),
    ] {
        let error = SqliteDriver::open(SqliteConfig::new(&path)).await.expect_err("a bad path");
        assert_eq!(error.code(), expected, "{number}: {error}");
    }
    assert!(stage.files().is_empty());
}

#[tokio::test]
async fn a_file_in_a_linked_folder_and_an_empty_file_are_ours_to_use() -> Result<()> {
    let stage = Stage::new();
    std::fs::create_dir(stage.folder.path().join("real")).expect("a folder");
    symlink("real", stage.folder.path().join("linked")).expect("a link");
    let path = stage.folder.path().join("linked/bus.db");
    write(&path, b"");
    let driver = SqliteDriver::open(SqliteConfig::new(&path)).await?;
    close(&busline_core::Bus::new(std::sync::Arc::new(driver))).await;
    assert!(std::fs::metadata(path).is_ok_and(|file| file.len() > 0));
    Ok(())
}

/// A turnstile that cannot be opened costs fairness, and never the bus.
#[tokio::test]
async fn a_pipe_in_place_of_the_turnstile_holds_nobody_up() -> Result<()> {
    let stage = Stage::new();
    make_pipe(&stage.beside(".lock"));
    close(&stage.open().await?).await;
    Ok(())
}

fn contents(stage: &Stage) -> Vec<(String, Vec<u8>)> {
    let bytes = |name: &String| {
        let path = stage.folder.path().join(name);
        let regular = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        if regular { std::fs::read(path).expect("a readable file") } else { Vec::new() }
    };
    // SQLite's index of the log is rebuilt from it, and holds locks only.
    let names = stage.files().into_iter().filter(|name| !name.ends_with("-shm"));
    names.map(|name| (name.clone(), bytes(&name))).collect()
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a writable folder");
}

fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo");
    assert!(made.success());
}

/// A file of ours, closed in good order.
pub(crate) fn make_ours(path: &Path) {
    let config = SqliteConfig::new(path);
    let making = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let bus = busline_core::Bus::new(std::sync::Arc::new(SqliteDriver::open(config).await?));
            bus.publisher("orders").open().await?;
            close(&bus).await;
            Ok::<(), Error>(())
        })
    });
    making.join().expect("no panic").expect("a file of ours");
}

fn link_to_ours(path: &Path) {
    let target = path.with_file_name("target.db");
    make_ours(&target);
    symlink(target, path).expect("a link");
}

fn make_foreign(path: &Path, journal: &str) {
    let connection = Connection::open(path).expect("a file");
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode={journal}; CREATE TABLE guests(name TEXT); INSERT INTO guests VALUES ('x')"
        ))
        .expect("a writable file");
}

fn make_newer(path: &Path) {
    make_ours(path);
    let connection = Connection::open(path).expect("a file");
    connection.pragma_update(None, "user_version", SCHEMA_VERSION + 1).expect("a writable file");
}

/// As a newer program leaves it when it is killed after its migration.
fn make_newer_in_log(path: &Path) {
    make_ours(path);
    let connection = Connection::open(path).expect("a file");
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).expect("an option");
    connection.pragma_update(None, "user_version", SCHEMA_VERSION + 1).expect("a writable file");
}

fn declare_pages(path: &Path) {
    make_ours(path);
    let mut bytes = std::fs::read(path).expect("a file");
    // The size in pages, and the version it holds for, as the change counter says.
    bytes[28..32].copy_from_slice(&u32::MAX.to_be_bytes());
    write(path, &bytes);
}

fn cut(path: &Path, bytes: usize) {
    make_ours(path);
    let whole = std::fs::read(path).expect("a file");
    write(path, &whole[..bytes]);
}
