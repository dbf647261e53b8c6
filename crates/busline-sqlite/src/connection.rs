//! Opening connections: one that writes, and as many as are needed that read.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use busline_core::{Error, ErrorKind, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::config::{Found, SqliteConfig, check_file};
use crate::error::from_sqlite;
use crate::file_system;
use crate::identity::log_of;
use crate::schema::{self, Contents};
use crate::turnstile::pause;

/// Page size of new files. Unit: bytes.
pub(crate) const PAGE_BYTES: u64 = 8_192;

/// Parsed statements that a connection keeps; the driver has fewer.
const STATEMENTS_KEPT: usize = 64;

/// Opens the writing connection; makes file and schema if they are missing.
pub(crate) fn open_writer(config: &SqliteConfig) -> Result<Connection> {
    if config.vfs.is_none() {
        let found = check_file(&config.path)?;
        file_system::check(config.path.parent().unwrap_or(Path::new("/")))?;
        if found == Found::Nothing {
            create_file(&config.path)?;
        }
    }
    let connection = open(config, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    if connection.is_readonly("main").map_err(from_sqlite)? {
        return Err(read_only(&config.path));
    }
    prepare(config, &connection).map_err(|error| match error.code().as_str() {
        // The database itself is open for writing, so what cannot be opened is a file to be made beside it.
        "Denied/File" => read_only(&config.path),
        _ => error,
    })?;
    Ok(connection)
}

/// Finds out whose file it is, and makes an empty one ours.
fn prepare(config: &SqliteConfig, connection: &Connection) -> Result<()> {
    let until = Instant::now() + config.patience;
    // The -wal of a file that is refused is not for us to write back; the last connection to close would do so.
    set_option(connection, DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, has_log(config))?;
    let contents = retried(until, || schema::inspect(connection))?;
    set_option(connection, DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    if contents == Contents::Nothing {
        // Both must be set before the first table; a page size of 8 KiB and no larger cache were the fastest measured.
        retried(until, || set(connection, "page_size", PAGE_BYTES as i64))?;
        retried(until, || set(connection, "auto_vacuum", "INCREMENTAL"))?;
    }
    retried(until, || enter_wal(connection))?;
    set_writing(config, connection)?;
    retried(until, || create_schema(connection))?;
    if contents == Contents::Nothing { Ok(()) } else { retried(until, || schema::check_whole(connection)) }
}

fn has_log(config: &SqliteConfig) -> bool {
    config.vfs.is_none() && std::fs::metadata(log_of(&config.path)).is_ok_and(|log| log.len() > 0)
}

/// What holds for every connection that writes.
fn set_writing(config: &SqliteConfig, connection: &Connection) -> Result<()> {
    // INVARIANT: FULL syncs the -wal in every commit. With NORMAL or OFF an ack would claim `Synced` and lie.
    set(connection, "synchronous", "FULL")?;
    set(connection, "wal_autocheckpoint", 0)?;
    if let Some(bytes) = config.file_bytes_max {
        let page_bytes: u64 =
            connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(from_sqlite)?;
        connection
            .pragma_update_and_check(None, "max_page_count", bytes / page_bytes, |_| Ok(()))
            .map_err(from_sqlite)?;
    }
    Ok(())
}

/// Opens a writing connection to a file that was ours a moment ago; makes nothing.
pub(crate) fn open_existing(config: &SqliteConfig) -> Result<Connection> {
    let connection = open(config, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    set_writing(config, &connection)?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(config: &SqliteConfig) -> Result<Connection> {
    let connection = open(config, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    set(&connection, "query_only", true)?;
    set(&connection, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

fn open(config: &SqliteConfig, flags: OpenFlags) -> Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let opened = match &config.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(&config.path, flags, vfs.as_str()),
        None => Connection::open_with_flags(&config.path, flags),
    };
    let connection = opened.map_err(from_sqlite)?;
    connection.busy_timeout(std::time::Duration::ZERO).map_err(from_sqlite)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // The file may come from anywhere: nothing in it may run code, and a damaged page must not be trusted.
    set_option(&connection, DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    set_option(&connection, DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    set(&connection, "cell_size_check", true)?;
    // Without it SQLite looks at bound values and plans a statement anew at each call, a tenth of the cost of reading.
    set_option(&connection, DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// The path from the root, because the process may change its folder while the file is open.
///
/// SQLite refuses symbolic links anywhere in a path that it must not follow, but only the last component is ours to
/// judge; so the folder is resolved.
pub(crate) fn absolute(path: &Path) -> std::path::PathBuf {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.into(),
    }
}

/// Makes the empty file, readable for its owner only, with its name synced. SQLite itself would use the umask.
fn create_file(path: &Path) -> Result<()> {
    let denied = |error: std::io::Error| {
        Error::new(ErrorKind::Denied, "File").because(error).next("grant write access to the folder")
    };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {}
        // Another process was faster.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => return Err(read_only(path)),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Err(read_only(path)),
        Err(error) => return Err(denied(error)),
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(denied)
}

fn read_only(path: &Path) -> Error {
    Error::new(ErrorKind::Denied, "ReadOnly")
        .cause(format!("{} cannot be written", path.display()))
        .next("make file and folder writable for this user")
}

fn enter_wal(connection: &Connection) -> Result<()> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(from_sqlite)?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, "NoWal")
        .cause(format!("the file stays in journal mode {mode}"))
        .next("put the file on a local file system"))
}

/// Makes the schema, or brings it to this version, unless another process has done so since.
fn create_schema(connection: &Connection) -> Result<()> {
    if schema::inspect(connection)? == Contents::Ours {
        return Ok(());
    }
    let transaction = rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)
        .map_err(from_sqlite)?;
    match schema::inspect(&transaction)? {
        Contents::Nothing => schema::create(&transaction),
        Contents::Older => schema::migrate(&transaction),
        Contents::Ours => Ok(()),
    }
    .map_err(from_sqlite)?;
    transaction.commit().map_err(from_sqlite)
}

fn set_option(connection: &Connection, option: DbConfig, on: bool) -> Result<()> {
    connection.set_db_config(option, on).map(drop).map_err(from_sqlite)
}

fn set(connection: &Connection, pragma: &str, value: impl rusqlite::ToSql) -> Result<()> {
    connection.pragma_update(None, pragma, value).map_err(from_sqlite)
}

/// Tries again while another process holds the file, up to this time.
pub(crate) fn retried<T>(until: Instant, attempt: impl Fn() -> Result<T>) -> Result<T> {
    loop {
        match attempt() {
            Err(error) if error.reason() == "Locked" && Instant::now() < until => {
                pause(std::time::Duration::from_millis(1));
            }
            outcome => return outcome,
        }
    }
}
