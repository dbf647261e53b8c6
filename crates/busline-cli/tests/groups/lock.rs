//! The lock that a program inside a transaction holds on the file.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

use crate::harness::Shop;
use crate::members::wait_until;

/// SQLite's write lock, held by this process as if it were stopped inside a transaction.
///
/// It is one byte of the `-shm` file: `WAL_WRITE_LOCK` at offset 120, see "WAL-Index Locks" in SQLite's walformat. The
/// tests link no SQLite of their own.
pub(crate) struct WriteLock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

const WAL_WRITE_LOCK: libc::off_t = 120;

impl WriteLock {
    pub(crate) fn take(shop: &Shop) -> Self {
        let mut lock = None;
        wait_until("the write lock is free", || {
            lock = Self::try_take(shop);
            lock.is_some()
        });
        lock.expect("taken")
    }

    /// The lock, unless somebody else holds it at the moment.
    pub(crate) fn try_take(shop: &Shop) -> Option<Self> {
        let file = OpenOptions::new().read(true).write(true).open(shop.path("busline.db-shm")).expect("an open bus");
        take_byte(&file, WAL_WRITE_LOCK).then_some(Self(file))
    }
}

#[expect(unsafe_code, reason = "a test shim: locks of single bytes have no safe interface")]
fn take_byte(file: &File, at: libc::off_t) -> bool {
    // SAFETY: all-zero is a legal `flock`, and the call reads it only.
    unsafe {
        let mut lock: libc::flock = std::mem::zeroed();
        lock.l_type = libc::F_WRLCK as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        lock.l_start = at;
        lock.l_len = 1;
        libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &lock) == 0
    }
}
