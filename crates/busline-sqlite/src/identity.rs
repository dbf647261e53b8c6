//! Whether the path still names the file that is open.
//!
//! SQLite goes on writing into a file that was deleted or replaced, and every commit succeeds into an inode that nobody
//! will find. So the committer compares device and inode before a transaction, and again before its acks.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use busline_core::{Error, ErrorKind, Result};

#[derive(Debug, Clone)]
pub(crate) struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Identity {
    /// The file that the path names at the moment.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let found = std::fs::metadata(path)
            .map_err(|error| Error::new(ErrorKind::NotFound, "File").because(error).next("see who removes the file"))?;
        Ok(Self { path: path.into(), device: found.dev(), inode: found.ino() })
    }

    /// Checks that the path still names this file. Looks at the name only and never opens the file: closing a second
    /// descriptor of it would drop the process's locks.
    ///
    /// # Errors
    /// `Corrupt/FileReplaced`.
    pub(crate) fn check(&self) -> Result<()> {
        let same =
            std::fs::metadata(&self.path).is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if same {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, "FileReplaced")
            .cause(format!("{} was deleted, renamed or replaced while it was open", self.path.display()))
            .next("put the file back or close the bus and open it again"))
    }
}
