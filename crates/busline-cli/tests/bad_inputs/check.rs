//! A bad input on the command line: how it must end, and what must be there afterwards.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use busline_conformance::assert_told;
use rusqlite::{Connection, OpenFlags};

use crate::harness::{Ran, Shop};

/// How a refused command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The line was understood, and what it says is refused.
    Refused = 1,
    /// The line cannot be parsed.
    Unparsable = 2,
}

/// Runs a command that must be refused by this name, in one line on stderr, with nothing stored or made.
#[track_caller]
pub(crate) fn refused(entry: u32, shop: &Shop, mut command: Command, exit: Exit, code: &str) -> String {
    let before = Stored::of(shop);
    let ran = Ran::of(command.stdin(Stdio::null()).output().expect("runs"));
    let shown = format!("entry {entry}: {:?}: {}{}", command.get_args().collect::<Vec<_>>(), ran.stdout, ran.stderr);
    assert_eq!(ran.code, Some(exit as i32), "{shown}");
    assert_eq!(ran.stdout, "", "{shown}");
    let line = ran.stderr.strip_suffix('\n').and_then(|stderr| stderr.strip_prefix("busline: "));
    let line = line.unwrap_or_else(|| panic!("not one line of busline: {shown}"));
    assert_told(line, code);
    assert_eq!(Stored::of(shop), before, "something was stored: {shown}");
    line.to_owned()
}

/// The same for a line whose words stand apart.
#[track_caller]
pub(crate) fn refused_words(entry: u32, shop: &Shop, words: &[&str], exit: Exit, code: &str) -> String {
    refused(entry, shop, command(shop, words), exit, code)
}

/// A command of these words, which may be empty or hold spaces.
pub(crate) fn command(shop: &Shop, words: &[&str]) -> Command {
    let mut command = shop.command("");
    command.args(words.iter().map(OsString::from));
    command
}

/// What the shop's folder holds: the names in it, and of `busline.db` topics and records.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    files: Vec<OsString>,
    pub(crate) topics: Vec<String>,
    pub(crate) records: u64,
}

impl Stored {
    pub(crate) fn of(shop: &Shop) -> Self {
        let folder = shop.path(".");
        let names = std::fs::read_dir(folder).expect("the folder").map(|file| file.expect("a file").file_name());
        // SQLite's own side files come and go with whoever has the bus open, this look among them.
        let is_own =
            |name: &OsString| !name.to_string_lossy().ends_with("-wal") && !name.to_string_lossy().ends_with("-shm");
        let mut files: Vec<_> = names.filter(is_own).collect();
        files.sort();
        let path = shop.path("busline.db");
        if !path.exists() {
            return Self { files, topics: Vec::new(), records: 0 };
        }
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the bus");
        let mut names = connection.prepare("SELECT name FROM topics ORDER BY name").expect("topics");
        let topics = names.query_map([], |row| row.get(0)).expect("topics").map(|name| name.expect("a name")).collect();
        let records = connection.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).expect("records");
        Self { files, topics, records }
    }
}
