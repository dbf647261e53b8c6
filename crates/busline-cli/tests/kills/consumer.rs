//! One life of `busline sub --group`.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use busline_history::Process;

use super::{Killed, Outcome};

pub(crate) struct Consumer(Child);

impl Consumer {
    /// Starts a member with a history of its own.
    pub(crate) fn start(folder: &Path, life: usize) -> Outcome<Self> {
        let history = folder.join(format!("member-{life}.ndjson"));
        Ok(Self(command(folder).env("BUSLINE_HISTORY", history).spawn()?))
    }

    /// Kills the member this long after the call.
    #[expect(clippy::disallowed_methods, reason = "the moment of the kill is the point of the test")]
    pub(crate) fn kill_after(mut self, after: Duration) -> Outcome<Killed> {
        std::thread::sleep(after);
        self.0.kill()?;
        let status = self.0.wait()?;
        let process = Process { pid: self.0.id(), epoch: 0 };
        Ok(Killed { process, by_signal: status.signal() == Some(9), until_then: format!("{after:?} of waiting") })
    }

    /// Asks the member to leave, and waits until it has.
    pub(crate) fn end(self) -> Outcome {
        end(self.0)
    }

    /// A last member takes over what dead ones hold, and works until the group is at the end.
    pub(crate) fn finish(folder: &Path) -> Outcome {
        let status = command(folder)
            .arg("--until-end")
            .env("BUSLINE_HISTORY", folder.join("last-member.ndjson"))
            .spawn()?
            .wait()?;
        if status.success() { Ok(()) } else { Err(format!("the last member ended with {status}").into()) }
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_busline"));
    command
        .args(["sub", "kills", "--group", "g", "--concurrency", "16", "--lease", "1", "--json"])
        .arg("--bus")
        .arg(format!("sqlite:{}", folder.join("bus.db").display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Asks a member to leave, and waits until it has.
pub(crate) fn end(mut member: Child) -> Outcome {
    rustix::process::kill_process(rustix::process::Pid::from_child(&member), rustix::process::Signal::TERM)?;
    let status = member.wait()?;
    // One that has just been started may be asked before it listens; it has not joined then.
    let left = status.success() || status.signal() == Some(15);
    if left { Ok(()) } else { Err(format!("a member left with {status}").into()) }
}
