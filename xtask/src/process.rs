//! Programs this one starts.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// The cargo that runs this binary, so that a toolchain chosen with `cargo +…` holds for the steps as well.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// git, also in a checkout that another user owns, as CI containers have it.
pub(crate) fn git() -> Command {
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*"]);
    git
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let variables = command.get_envs().filter_map(|(name, value)| Some((name.to_string_lossy(), value?)));
    let variables = variables.map(|(name, value)| format!("{name}={}", quoted(&value.to_string_lossy())));
    let words = std::iter::once(program).chain(command.get_args()).map(|word| quoted(&word.to_string_lossy()));
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    if word.contains([' ', '*', '\'', '"']) { format!("'{word}'") } else { word.to_owned() }
}

/// What a command prints to its standard output.
///
/// # Errors
/// It could not be started, failed (its standard error is in the message), or printed what is not UTF-8.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", shown(command), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` printed what is not UTF-8", shown(command)))
}

/// Runs a command whose output goes where ours goes.
///
/// # Errors
/// It could not be started or failed.
pub(crate) fn pass(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if status.success() { Ok(()) } else { Err(anyhow!("`{}` ended with {status}", shown(command))) }
}

/// How a command ended that had a time limit.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None`: it was killed at its limit.
    pub(crate) status: Option<ExitStatus>,
    /// Standard output and standard error, as they came.
    pub(crate) output: String,
    pub(crate) took: Duration,
}

impl Ended {
    pub(crate) fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// Runs a command to its end or its limit. At the limit it and all it started are killed.
pub(crate) fn within(limit: Duration, command: &mut Command) -> Result<Ended> {
    let begin = Instant::now();
    let (mut reader, writer) = std::io::pipe()?;
    // A group of its own: cargo alone would die and leave the test binary running.
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
    // The command keeps the writing end open, and the reader waits for the last of them.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (done, ended) = channel();
    let reading = std::thread::spawn(move || {
        let mut output = Vec::new();
        let read = reader.read_to_end(&mut output);
        let _ = done.send(());
        read.map(|_| output)
    });
    let killed = matches!(ended.recv_timeout(limit), Err(RecvTimeoutError::Timeout));
    if killed {
        kill_group(&child)?;
    }
    let status = child.wait()?;
    let output = reading.join().map_err(|_| anyhow!("the reader of the output panicked"))??;
    let output = String::from_utf8_lossy(&output).into_owned();
    Ok(Ended { status: (!killed).then_some(status), output, took: begin.elapsed() })
}

fn kill_group(child: &Child) -> Result<()> {
    pass(Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_outputs_and_the_status_are_told() {
        let ended = within(Duration::from_secs(60), &mut shell("echo out; echo err >&2; exit 3")).expect("it runs");
        assert_eq!(ended.output, "out\nerr\n");
        assert_eq!(ended.status.and_then(|status| status.code()), Some(3));
    }

    #[test]
    fn a_command_and_its_children_end_at_the_limit() {
        let ended = within(Duration::from_millis(100), &mut shell("echo begun; sleep 600 & wait")).expect("it runs");
        assert!(ended.status.is_none() && ended.took < Duration::from_secs(300), "{ended:?}");
    }

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = cargo();
        command.args(["doc", "--lib"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(shown(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --lib");
    }
}
