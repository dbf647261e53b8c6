//! Programs run for events: without a shell, each in a process group of its own, none left behind.
//!
//! A terminal sends Ctrl-C to its whole foreground group; in groups of their own the programs do not get it, so that the
//! first one lets them end. Whatever breaks a run off kills its group.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use busline::{Delivery, Error, ErrorKind, HandlerError, escaped};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

/// Of this process alone: a history has one writer.
const HISTORY_VARIABLE: &str = "BUSLINE_HISTORY";

/// Where programs are looked for if there is no `PATH`, as the C library does.
const PATH_UNSET: &str = "/bin:/usr/bin";

/// The bits of a file's mode of which one lets it be run.
const EXECUTABLE: u32 = 0o111;

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandLine {
    program: String,
    arguments: Vec<String>,
}

impl CommandLine {
    /// Splits words at white space; single and double quotes keep them together, and a backslash outside of single
    /// quotes takes the next character as it is. Nothing else has a meaning.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut words = words(text)?.into_iter();
        let program = words.next().filter(|program| !program.is_empty()).ok_or("name a program")?;
        Ok(Self { program, arguments: words.collect() })
    }

    /// Looks whether there is such a program, as starting it will.
    ///
    /// # Errors
    /// `NotFound/Program`, `Denied/Program`.
    pub(crate) fn find(&self) -> Result<(), Error> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| PATH_UNSET.into());
        let places: Vec<PathBuf> = match self.program.contains('/') {
            true => vec![PathBuf::from(&self.program)],
            false => std::env::split_paths(&path).map(|folder| folder.join(&self.program)).collect(),
        };
        let found: Vec<_> = places.iter().filter_map(|place| place.metadata().ok()).filter(Metadata::is_file).collect();
        let may_be_run = |file: &Metadata| file.permissions().mode() & EXECUTABLE != 0;
        match found.first() {
            None => Err(self.not_found()),
            Some(_) if !found.iter().any(may_be_run) => Err(self.denied()),
            Some(_) => Ok(()),
        }
    }

    fn not_found(&self) -> Error {
        Error::new(ErrorKind::NotFound, "Program")
            .cause(format!("no program '{}'", escaped(&self.program)))
            .next("give a path, or a name that is on the PATH")
            .at("run", &self.program)
    }

    fn denied(&self) -> Error {
        Error::new(ErrorKind::Denied, "Program")
            .cause(format!("'{}' may not be run", escaped(&self.program)))
            .next("make it executable, and give a script its first line, such as #!/bin/sh")
            .at("run", &self.program)
    }
}

fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => {
                word.get_or_insert_default().push(characters.next().ok_or("a \\ ends it; write \\\\")?);
            }
            ('\'' | '"', None) => {
                word.get_or_insert_default();
                quote = Some(character);
            }
            (_, Some(open)) if character == open => quote = None,
            (_, None) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    match quote {
        Some(open) => Err(format!("a {open} is not closed; close it")),
        None => {
            words.extend(word);
            Ok(words)
        }
    }
}

/// Why a run did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The attempt has failed.
    Exit(ExitStatus),
    /// It ran too long and was killed.
    TimedOut,
    /// No attempt can be made.
    Unable(Error),
}

impl Failure {
    /// What is to happen to the event.
    pub(crate) fn verdict(self) -> HandlerError {
        match self {
            Self::Exit(status) => status.to_string().into(),
            Self::TimedOut => "Timeout/Program: killed, it ran too long".into(),
            // That it could not be started says nothing about the event.
            Self::Unable(error) => HandlerError::defer(error),
        }
    }
}

/// What runs a program for each event.
#[derive(Debug, Clone)]
pub(crate) struct Exec {
    pub(crate) command: CommandLine,
    /// Longest run.
    pub(crate) timeout: Duration,
}

impl Exec {
    /// Runs the program with these bytes on its stdin.
    ///
    /// # Cancel safety
    /// Dropping the future kills the program's group.
    pub(crate) async fn run(&self, delivery: &Delivery, stdin: &[u8]) -> Result<(), Failure> {
        let started = unless_over(self.spawn(delivery)).await;
        let (mut child, group) = started.map_err(|error| Failure::Unable(self.unable(error)))?;
        let pipe = child.stdin.take();
        let ended = unless_over(tokio::time::timeout(self.timeout, feed_and_wait(&mut child, pipe, stdin)).await).await;
        let Ok(ended) = ended else { return Err(Failure::TimedOut) };
        let status = ended.map_err(|error| Failure::Unable(self.unable(error)))?;
        group.has_ended();
        if status.success() { Ok(()) } else { Err(Failure::Exit(status)) }
    }

    fn spawn(&self, delivery: &Delivery) -> io::Result<(Child, Group)> {
        let mut command = Command::new(&self.command.program);
        command
            .args(&self.command.arguments)
            .env("BUSLINE_TOPIC", delivery.topic().as_str())
            .env("BUSLINE_GROUP", delivery.group().as_str())
            .env("BUSLINE_PARTITION", delivery.partition.to_string())
            .env("BUSLINE_OFFSET", delivery.offset.to_string())
            .env("BUSLINE_ATTEMPT", delivery.attempt.to_string())
            .env_remove(HISTORY_VARIABLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::from(io::stderr()))
            .process_group(0)
            .kill_on_drop(true);
        // Under the lock, so that no program starts behind the back of whoever kills them all.
        let mut running = running();
        if running.is_over {
            return Err(io::Error::other("the command is ending"));
        }
        let child = command.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        running.groups.extend(group);
        drop(running);
        Ok((child, Group(group)))
    }

    fn unable(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::NotFound => self.command.not_found(),
            io::ErrorKind::PermissionDenied => self.command.denied(),
            _ => Error::new(ErrorKind::Unavailable, "Program")
                .because(error)
                .next("see why no program can be started; if it is the number of processes, lower --concurrency")
                .at("run", &self.command.program),
        }
    }
}

/// A program may end without reading all; then the rest goes nowhere.
async fn feed_and_wait(child: &mut Child, pipe: Option<ChildStdin>, stdin: &[u8]) -> io::Result<ExitStatus> {
    let feed = async {
        if let Some(mut pipe) = pipe {
            // A program that closes its stdin early wants no more; its exit status says whether that was well.
            drop(pipe.write_all(stdin).await);
            drop(pipe.shutdown().await);
        }
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        status = child.wait() => status,
        never = feed => match never {},
    }
}

/// How something went, unless all programs were killed: then that says nothing of the event, and the process ends next.
async fn unless_over<T>(went: T) -> T {
    if running().is_over {
        std::future::pending().await
    }
    went
}

/// The process group of a program that runs; killed when dropped before it has ended.
struct Group(Option<Pid>);

impl Group {
    fn has_ended(mut self) {
        if let Some(group) = self.0.take() {
            running().groups.remove(&group);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            running().groups.remove(&group);
            kill(group);
        }
    }
}

/// All process groups that run at the moment.
#[derive(Default)]
struct Running {
    groups: HashSet<Pid>,
    is_over: bool,
}

static RUNNING: LazyLock<Mutex<Running>> = LazyLock::new(Mutex::default);

fn running() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills every program that runs, and starts none any more.
pub(crate) fn kill_all() {
    let mut running = running();
    running.is_over = true;
    running.groups.drain().for_each(kill);
}

/// A group that has ended by itself meanwhile is not there to be killed.
fn kill(group: Pid) {
    let _ = kill_process_group(group, Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn splits(text: &str, expected: &[&str]) {
        assert_eq!(words(text).as_deref(), Ok(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]));
    }

    #[test]
    fn words_are_split_and_quotes_keep_them_together() {
        splits("  a  b\tc ", &["a", "b", "c"]);
        splits("sh -c 'exit \"1\"'", &["sh", "-c", "exit \"1\""]);
        splits(r#"a "b \"c\" 'd'" e\ f ''"#, &["a", "b \"c\" 'd'", "e f", ""]);
        splits("a$HOME *;b", &["a$HOME", "*;b"]);
    }

    #[test]
    fn what_names_no_program_is_refused() {
        for text in ["", "  ", "''", "a 'b", "a \"b", "a\\"] {
            CommandLine::parse(text).expect_err(text);
        }
    }
}
