//! Whether the paths still name the files that are open.
//!
//! SQLite goes on writing into files that were deleted or replaced, and every commit succeeds into an inode that nobody
//! will find. So the committer compares device and inode before a transaction, and again before its acks: of the
//! database, and of the `-wal`, which alone holds what was acked since the last checkpoint.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use busline_core::{Error, ErrorKind, Result};

/// The database and its `-wal`, as they were when they were opened.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    database: FileIdentity,
    log: FileIdentity,
}

#[derive(Debug, Clone)]
struct FileIdentity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Identity {
    /// The files that the path names at the moment. A connection must be open, so that neither is made anew.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        Ok(Self { database: FileIdentity::of(path.into())?, log: FileIdentity::of(log_of(path))? })
    }

    /// Checks that the paths still name these files. Looks at the names only and never opens a file: closing a second
    /// descriptor of it would drop the process's locks.
    ///
    /// # Errors
    /// `Corrupt/FileReplaced`.
    pub(crate) fn check(&self) -> Result<()> {
        self.database.check()?;
        self.log.check()
    }

    /// As [`Self::check`], for the database alone: the last connection to close takes the `-wal` away.
    pub(crate) fn check_database(&self) -> Result<()> {
        self.database.check()
    }
}

impl FileIdentity {
    fn of(path: PathBuf) -> Result<Self> {
        let found = std::fs::symlink_metadata(&path)
            .map_err(|error| Error::new(ErrorKind::NotFound, "File").because(error).next("see who removes the file"))?;
        Ok(Self { path, device: found.dev(), inode: found.ino() })
    }

    fn check(&self) -> Result<()> {
        let same = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if same {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, "FileReplaced")
            .cause(format!("{} was deleted, renamed or replaced while it was open", self.path.display()))
            .next("put the file back or close the bus and open it again"))
    }
}

/// The write-ahead log beside a database.
pub(crate) fn log_of(database: &Path) -> PathBuf {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}
