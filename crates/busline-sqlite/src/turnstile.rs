//! An advisory lock on a side file, at which publishing processes take turns.
//!
//! SQLite's own waiting starves: whoever commits again at once nearly always wins the write lock over one that sleeps.
//! Here everybody passes the turnstile before `BEGIN IMMEDIATE` and leaves it as soon as the transaction has begun, so
//! the next one already waits when it ends. Correctness does not depend on it: after a short wait it is passed anyway,
//! so a stopped holder blocks nobody.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest wait at the turnstile.
const WAIT_MAX: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Turnstile {
    file: Option<File>,
    path: PathBuf,
}

impl Turnstile {
    /// The turnstile beside this database; where the side file cannot be used, nobody takes turns.
    pub(crate) fn beside(database: &Path) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        // Opening a pipe would wait for its other end, and a link leads who knows where.
        let usable = std::fs::symlink_metadata(&path).map_or(true, |found| found.is_file());
        let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).clone();
        let file = if usable { options.open(&path).ok() } else { None };
        Self { file, path }
    }

    /// No turnstile at all.
    pub(crate) fn none() -> Self {
        Self { file: None, path: PathBuf::new() }
    }

    /// Waits for its turn, at most [`WAIT_MAX`]. The turn ends when the guard goes.
    pub(crate) fn pass(&self) -> Turn<'_> {
        let Some(file) = &self.file else { return Turn(None) };
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Turn(Some(file)),
                Err(TryLockError::WouldBlock) if start.elapsed() < WAIT_MAX => pause(Duration::from_micros(50)),
                // Not worth more waiting, or a file system without locks.
                Err(_) => return Turn(None),
            }
        }
    }

    /// Removes the side file unless another process is at the turnstile. One that opens it at this moment takes turns
    /// with nobody until it opens the bus again, which costs fairness only.
    pub(crate) fn remove(&self) {
        if let Some(file) = &self.file
            && file.try_lock().is_ok()
        {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// One turn at the turnstile.
pub(crate) struct Turn<'a>(Option<&'a File>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.0 {
            drop(file.unlock());
        }
    }
}

/// A short sleep of the committer thread while another process holds a lock that gives no wake-up.
#[expect(clippy::disallowed_methods, reason = "a lock of another process gives no wake-up to wait for")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
