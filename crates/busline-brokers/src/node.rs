//! One server process: started, killed, frozen, started again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::ground::Ground;
use crate::wait::{Look, until};
use crate::{Error, Left, tool};

/// How a server is started, the same each time.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// What to install if the program is not there.
    pub(crate) missing: &'static str,
    /// How long it may take to end by itself.
    pub(crate) stop_max: Duration,
}

/// One server process and what it printed. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Node {
    name: String,
    start: Start,
    log: PathBuf,
    child: Mutex<Option<Child>>,
    ground: Arc<Ground>,
}

/// Longest wait for a process to stand still.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Whether every thread of a process is stopped.
fn stands(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        // `pid (name) state …`; the name may hold anything.
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    })
}

impl Node {
    /// A node that is not running yet; its log is `NAME.log` in the ground's folder.
    pub(crate) fn new(name: &str, start: Start, ground: Arc<Ground>) -> Self {
        let log = ground.folder().join(format!("{name}.log"));
        Self { name: name.to_owned(), start, log, child: Mutex::new(None), ground }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Whether this text is in the log.
    pub(crate) fn log_says(&self, text: &str) -> bool {
        fs::read_to_string(&self.log).is_ok_and(|log| log.contains(text))
    }

    /// The process number, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// Starts the process; that it is ready is another matter.
    pub(crate) fn start(&self) -> Result<(), Error> {
        let mut child = self.child();
        if child.is_some() {
            return Err(Error::failed(format!("{} runs already", self.name)));
        }
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(Error::about("open", &self.log))?;
        let errors = log.try_clone().map_err(Error::about("open", &self.log))?;
        let mut command = Command::new(&self.start.program);
        command.args(&self.start.arguments).current_dir(self.ground.folder());
        // A group of its own: what a terminal sends to this program does not reach it.
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let begun = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::missing_tool(self.start.missing),
            _ => Error::failed(format!("cannot start {}: {error}", self.start.program.display())),
        })?;
        self.ground.begun(begun.id());
        *child = Some(begun);
        Ok(())
    }

    /// SIGKILL, and the wait for its end. A process that is not running stays so.
    pub(crate) fn kill(&self) -> Result<(), Error> {
        let mut child = self.child();
        let Some(running) = child.as_mut() else { return Ok(()) };
        let killed = running.kill().and_then(|()| running.wait());
        killed.map_err(|error| Error::failed(format!("cannot kill {}: {error}", self.name)))?;
        self.gone(&mut child);
        Ok(())
    }

    /// SIGTERM, and the wait for its end; after the limit SIGKILL and an error.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        if self.pid().is_none() {
            return Ok(());
        }
        self.signal(Signal::TERM)?;
        let stopped = until(&format!("the end of {}", self.name), self.start.stop_max, || match self.ended()? {
            Some(_) => Ok(Look::Done(())),
            None => Ok(Look::NotYet("it still runs".into())),
        });
        if stopped.is_err() {
            self.kill()?;
        }
        stopped
    }

    /// How it ended, if it did; it counts as not running from then on.
    pub(crate) fn ended(&self) -> Result<Option<ExitStatus>, Error> {
        let mut child = self.child();
        let Some(running) = child.as_mut() else { return Err(Error::failed(format!("{} does not run", self.name))) };
        let ended = running.try_wait();
        let ended = ended.map_err(|error| Error::failed(format!("cannot look after {}: {error}", self.name)))?;
        if ended.is_some() {
            self.gone(&mut child);
        }
        Ok(ended)
    }

    /// That it still runs.
    ///
    /// # Errors
    /// It ended by itself; the end of its log is in the line.
    pub(crate) fn must_run(&self) -> Result<(), Error> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                Err(Error::failed(format!("{} ended with {status}: {}", self.name, tool::one_line(&log))))
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        let child = self.child();
        let pid = child.as_ref().and_then(|child| i32::try_from(child.id()).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::failed(format!("{} does not run", self.name)))?;
        kill_process(pid, signal).map_err(|error| Error::failed(format!("cannot signal {}: {error}", self.name)))
    }

    /// Stops all threads of the process, and waits until they stand: the signal alone is only on its way.
    pub(crate) fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)?;
        let pid = self.pid().ok_or_else(|| Error::failed(format!("{} does not run", self.name)))?;
        until(&format!("the pause of {}", self.name), PAUSE_MAX, || {
            Ok(if stands(pid) { Look::Done(()) } else { Look::NotYet("a thread still runs".into()) })
        })
    }

    /// Leaves the process running when this value and this program end.
    pub(crate) fn leave(&self) -> Result<Left, Error> {
        let child = self.child().take();
        let child = child.ok_or_else(|| Error::failed(format!("{} does not run", self.name)))?;
        self.ground.leave();
        Left::of(child.id(), self.ground.folder())
    }

    fn gone(&self, child: &mut Option<Child>) {
        if let Some(child) = child.take() {
            self.ground.ended(child.id());
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
