//! Whether the paths still name the files that are open.
//!
//! SQLite goes on writing into files that were deleted or replaced, and every commit succeeds into an inode that nobody
//! will find. So the committer compares device and inode before a transaction, and again before its acks: of the
//! database, and of the `-wal`, which alone holds what was acked since the last checkpoint.

use std::io;
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
        let (device, inode) = place_of(&path)
            .map_err(|error| Error::new(ErrorKind::NotFound, "File").because(error).next("see who removes the file"))?;
        Ok(Self { path, device, inode })
    }

    fn check(&self) -> Result<()> {
        if place_of(&self.path).is_ok_and(|found| found == (self.device, self.inode)) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, "FileReplaced")
            .cause(format!("{} was deleted, renamed or replaced while it was open", self.path.display()))
            .next("put the file back or close the bus and open it again"))
    }
}

/// Device and inode of what the path names itself.
///
/// Nothing else is asked for, and no time above all: a time that was read must differ after the next write, so the inode
/// would be written with every sync, which costs as much as a fifth of it.
#[cfg(target_os = "linux")]
fn place_of(path: &Path) -> io::Result<(u64, u64)> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO)?;
    Ok((makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino))
}

#[cfg(not(target_os = "linux"))]
fn place_of(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// The write-ahead log beside a database.
pub(crate) fn log_of(database: &Path) -> PathBuf {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_place_is_the_one_that_the_system_tells() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!(place_of(&path).unwrap(), (found.dev(), found.ino()));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_ne!(place_of(&link).unwrap().1, found.ino(), "a link is not what it leads to");
        assert!(place_of(&folder.path().join("none")).is_err());
    }
}
