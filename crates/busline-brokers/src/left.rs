//! A server that goes on after the program that started it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;
use crate::wait::{Look, until};

/// How long a server may take to end by itself before it is killed.
const STOP_MAX: Duration = Duration::from_secs(15);

/// A process that was left running, known by its number *and* its beginning: a number is used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pid: u32,
    /// Clock ticks since the start of the machine, as the system says it.
    began: u64,
    folder: PathBuf,
}

impl Left {
    pub(crate) fn of(pid: u32, folder: &Path) -> Result<Self, Error> {
        let began =
            began(pid).ok_or_else(|| Error::failed(format!("process {pid} ended while it was left running")))?;
        Ok(Self { pid, began, folder: folder.to_path_buf() })
    }

    /// From one line that [`Left::line`] gave; `None` if it is not one.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, ' ');
        let (pid, began) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { pid, began, folder: parts.next()?.into() })
    }

    /// All of it on one line, for a file.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {} {}", self.pid, self.began, self.folder.display())
    }

    /// The process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether that very process still runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        began(self.pid) == Some(self.began)
    }

    /// Ends the process, by SIGKILL if it does not end by itself within 15 s. Its folder stays.
    ///
    /// # Errors
    /// Not even SIGKILL ended it.
    pub fn stop(&self) -> Result<(), Error> {
        self.signal(Signal::TERM);
        if self.wait().is_err() {
            self.signal(Signal::KILL);
            self.wait()?;
        }
        Ok(())
    }

    /// Removes the folder, when all processes of it have been stopped: those of a cluster share one.
    ///
    /// # Errors
    /// It cannot be removed. That it is not there is no error.
    pub fn remove(&self) -> Result<(), Error> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::about("remove", &self.folder)(error))
            }
            _ => Ok(()),
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).filter(|_| self.runs());
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    fn wait(&self) -> Result<(), Error> {
        until(&format!("the end of process {}", self.pid), STOP_MAX, || {
            Ok(if self.runs() { Look::NotYet("it still runs".into()) } else { Look::Done(()) })
        })
    }
}

/// When a process began; `None` if there is none or it has ended and nobody waited for it.
fn began(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; behind the last one stand the state (field 3) and the numbers.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let began = fields.nth(18)?.parse().ok()?;
    (state != "Z").then_some(began)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_back_what_was_left() {
        let left = Left { pid: 12, began: 345, folder: "some folder/x".into() };
        assert_eq!(Left::from_line(&left.line()), Some(left));
        assert_eq!(Left::from_line("12 x"), None);
    }

    #[test]
    fn a_process_is_known_by_its_beginning() {
        let this = Left::of(std::process::id(), Path::new("x")).expect("it runs");
        assert!(this.runs());
        assert!(!Left { began: this.began + 1, ..this }.runs());
    }
}
