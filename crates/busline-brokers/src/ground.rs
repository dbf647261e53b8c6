//! The folder of one run, and the watcher that clears up when nobody else can.

use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Error, place};

/// Reads the processes of the run, one list a line, the last one counts. At the end of its input it kills them and
/// removes the folder. The end comes when this process closes the pipe or dies; a parent-death signal would come
/// already when the *thread* ends that started the server, and a test is a thread.
const WATCH: &str = r#"
trap '' INT TERM HUP
pids=
while read -r line; do pids=$line; done
for pid in $pids; do kill -KILL "$pid"; done
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
"#;

/// A folder with the stores, settings and logs of the servers that run in it.
pub(crate) struct Ground {
    folder: PathBuf,
    watched: Mutex<Watched>,
}

struct Watched {
    watcher: Child,
    /// `None`: the run was left to itself.
    lists: Option<ChildStdin>,
    pids: Vec<u32>,
}

impl Ground {
    /// A new folder whose name begins with `name`.
    ///
    /// # Errors
    /// The folder or the watcher cannot be made.
    pub(crate) fn new(name: &str) -> Result<Self, Error> {
        let run = place::brokers()?.join("run");
        fs::create_dir_all(&run).map_err(Error::about("make", &run))?;
        let prefix = format!("{name}-");
        let made = tempfile::Builder::new().prefix(&prefix).tempdir_in(&run).map_err(Error::about("make", &run))?;
        let folder = made.path().to_path_buf();
        let mut watcher = Command::new("sh");
        watcher.args(["-c", WATCH, "busline-brokers"]).arg(&folder).process_group(0);
        watcher.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut watcher = watcher.spawn().map_err(|error| Error::failed(format!("cannot start sh: {error}")))?;
        let lists = watcher.stdin.take();
        let _ = made.keep();
        Ok(Self { folder, watched: Mutex::new(Watched { watcher, lists, pids: Vec::new() }) })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A process of the run has begun.
    pub(crate) fn begun(&self, pid: u32) {
        let mut watched = self.watched();
        watched.pids.push(pid);
        watched.tell();
    }

    /// A process of the run has ended and was waited for: its number may belong to another one soon.
    pub(crate) fn ended(&self, pid: u32) {
        let mut watched = self.watched();
        watched.pids.retain(|one| *one != pid);
        watched.tell();
    }

    /// Ends the watch: the folder and the processes stay when this process ends.
    pub(crate) fn leave(&self) {
        let mut watched = self.watched();
        let _ = watched.watcher.kill();
        let _ = watched.watcher.wait();
        watched.lists = None;
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn tell(&mut self) {
        let Some(lists) = &mut self.lists else { return };
        let pids: Vec<String> = self.pids.iter().map(u32::to_string).collect();
        // A watcher that is gone watches nothing; the servers end with their values all the same.
        let _ = writeln!(lists, "{}", pids.join(" "));
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let mut watched = self.watched();
        if watched.lists.take().is_some() {
            let _ = watched.watcher.wait();
        }
    }
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").field("folder", &self.folder).finish_non_exhaustive()
    }
}
