//! What the driver can be told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use busline_core::{Error, ErrorKind, RECORD_BYTES_MAX, Result};

/// The settings of the embedded driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteConfig {
    /// The database file. Its folder must exist; the file is made if it is missing.
    pub path: PathBuf,
    /// Longest wait for a file that another program keeps locked. Batches wait up to their own deadline instead.
    /// Range 10 ms to 1 h, default 10 s.
    pub patience: Duration,
    /// Most records of one transaction. Range 1 to 65,536, default 4,096: larger ones gain little and delay readers.
    pub batch_records_max: usize,
    /// Most bytes of one transaction. Unit: bytes. From the largest record up to 64 MiB, default 8 MiB.
    pub batch_bytes_max: usize,
    /// Pages in the `-wal` from which on the committer checkpoints. Unit: pages of 8 KiB. Range 1 to 100,000, default
    /// 2,000: 16 MiB.
    pub checkpoint_pages: u32,
    /// Largest size of the database file, after which publishing fails `Unavailable/DiskFull`. Unit: bytes, at least
    /// 1 MiB. Default: none.
    pub file_bytes_max: Option<u64>,
    /// Pause between two looks at what the topics' limits of retention let go, while the bus is open. Range 10 ms to 1 h,
    /// default 1 s. A look costs microseconds for each limited partition; what is over its limits stays longer for it.
    pub retention_interval: Duration,
    /// Name of a registered SQLite VFS other than the system's. The file's identity is then not watched and there is
    /// no turnstile, since neither lies in the file system. Default: none.
    pub vfs: Option<String>,
}

impl SqliteConfig {
    /// The defaults, on this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            patience: Duration::from_secs(10),
            batch_records_max: 4_096,
            batch_bytes_max: 8 * 1024 * 1024,
            checkpoint_pages: 2_000,
            file_bytes_max: None,
            retention_interval: Duration::from_secs(1),
            vfs: None,
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// `Invalid/Range` with every field that is wrong, `Invalid/Path`, `Invalid/PathTooLong`.
    pub fn validate(&self) -> Result<()> {
        let mut wrong = Vec::new();
        if !(Duration::from_millis(10)..=Duration::from_secs(3_600)).contains(&self.patience) {
            wrong.push(format!("patience = {:?} (10 ms to 1 h)", self.patience));
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(3_600)).contains(&self.retention_interval) {
            wrong.push(format!("retention_interval = {:?} (10 ms to 1 h)", self.retention_interval));
        }
        if !(1..=65_536).contains(&self.batch_records_max) {
            wrong.push(format!("batch_records_max = {} (1 to 65,536)", self.batch_records_max));
        }
        if !(RECORD_BYTES_MAX..=64 << 20).contains(&self.batch_bytes_max) {
            wrong.push(format!("batch_bytes_max = {} ({RECORD_BYTES_MAX} to 64 MiB)", self.batch_bytes_max));
        }
        if !(1..=100_000).contains(&self.checkpoint_pages) {
            wrong.push(format!("checkpoint_pages = {} (1 to 100,000)", self.checkpoint_pages));
        }
        if self.file_bytes_max.is_some_and(|bytes| bytes < 1 << 20) {
            wrong.push("file_bytes_max (at least 1 MiB)".into());
        }
        if !wrong.is_empty() {
            return Err(Error::invalid("Range").cause(wrong.join(", ")).next("use values in the ranges given"));
        }
        check_path(&self.path)
    }
}

/// What Linux takes as one component of a path; others take no more.
const COMPONENT_BYTES_MAX: usize = 255;

fn check_path(path: &Path) -> Result<()> {
    let Some(name) = path.file_name() else {
        return Err(Error::invalid("Path").cause("the path names no file").next("name a file, such as sqlite:shop.db"));
    };
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(Error::invalid("Path").cause("NUL in the path").next("name a file, such as sqlite:shop.db"));
    }
    // SQLite appends four bytes for its side files and we append five.
    if let Some(long) = path.components().find(|part| part.as_os_str().len() > COMPONENT_BYTES_MAX) {
        return Err(too_long(long.as_os_str().len(), COMPONENT_BYTES_MAX));
    }
    if name.len() + ".lock".len() > COMPONENT_BYTES_MAX {
        return Err(too_long(name.len(), COMPONENT_BYTES_MAX - ".lock".len()));
    }
    Ok(())
}

fn too_long(bytes: usize, max: usize) -> Error {
    Error::invalid("PathTooLong")
        .cause(format!("a name of {bytes} bytes where {max} are allowed"))
        .next("use a shorter file or folder name")
}

/// What stands at the path, before SQLite touches it.
///
/// # Errors
/// `NotFound/Folder`, `Denied/Symlink`, `Invalid/NotARegularFile`, `Invalid/NotABuslineFile`, `Denied/File`,
/// `Corrupt/Store`.
pub(crate) fn check_file(path: &Path) -> Result<Found> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(Error::new(ErrorKind::NotFound, "Folder")
            .cause(format!("no folder {}", folder.display()))
            .next("create the folder, or correct the path"));
    }
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => {
            return Err(Error::new(ErrorKind::Denied, "File").because(error).next("grant access to the file"));
        }
    };
    if found.file_type().is_symlink() {
        return Err(Error::new(ErrorKind::Denied, "Symlink")
            .cause("the path is a symbolic link")
            .next("name the file itself"));
    }
    if !found.is_file() {
        return Err(Error::invalid("NotARegularFile")
            .cause("the path is a folder, device, pipe or socket")
            .next("name a regular file"));
    }
    match found.len() {
        // SQLite takes a file of one byte for an empty one, and would overwrite it.
        1..DATABASE_BYTES_MIN => Err(Error::invalid("NotABuslineFile")
            .cause(format!("a file of {} bytes is no database", found.len()))
            .next("name a file that Busline made, or a new one")),
        // SQLite counts pages in 32 bits: a longer file could be one without pages to it, which it would fill.
        bytes if bytes > DATABASE_BYTES_MAX => Err(Error::new(ErrorKind::Corrupt, "Store")
            .cause(format!("a file of {bytes} bytes is longer than SQLite can count"))
            .next("restore the file from a copy made with VACUUM INTO")),
        _ => Ok(Found::File),
    }
}

/// SQLite's smallest page.
const DATABASE_BYTES_MIN: u64 = 512;

/// SQLite's most pages (<https://www.sqlite.org/limits.html>) of the size that it takes before it has read the header.
const DATABASE_BYTES_MAX: u64 = 4_294_967_294 * 4_096;

/// Whether something stands at a path, empty or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    File,
}
