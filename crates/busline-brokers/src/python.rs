//! Programs in Python with packages of their own, for what the official clients of others do with the bus.

use std::path::Path;
use std::process::Command;

use crate::{Error, install, tool};

const MISSING: &str = "Python is not here: install python3";
const MISSING_PIP: &str = "packages are installed with Python's pip, which is not here: install python3-pip";

/// Ways to call pip; the first that answers is taken.
const PIPS: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];

/// Python that finds these packages (`name==version`), ready for its arguments; `name` is that of the set.
///
/// They are installed by their names the first time, with what they need, into the folder of the servers. Nothing of the
/// machine's own packages changes. Another list of packages needs another name.
///
/// # Errors
/// Python or pip is missing, or the packages cannot be had.
pub fn python(name: &str, packages: &[&str]) -> Result<Command, Error> {
    let installed = install::once(&format!("python-{name}"), |into| {
        let mut pip = pip()?;
        pip.arg("--target").arg(into).args(packages);
        tool::run(&mut pip, MISSING_PIP)
    })?;
    let mut python = Command::new("python3");
    tool::output(python.arg("--version"), MISSING)?;
    let mut python = Command::new("python3");
    // What was compiled for one version stays out of the way of another.
    python.env("PYTHONPATH", installed).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(python)
}

/// `pip install`, ready for its further arguments.
///
/// # Errors
/// It is missing.
pub(crate) fn pip() -> Result<Command, Error> {
    let mut pip =
        PIPS.into_iter().find(|words| answers(words)).map(command).ok_or_else(|| Error::missing_tool(MISSING_PIP))?;
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-warn-conflicts"]);
    Ok(pip)
}

/// Installs one package without what it needs.
///
/// # Errors
/// pip is missing, or the package cannot be had.
pub(crate) fn install_alone(package: &str, into: &Path) -> Result<(), Error> {
    let mut pip = pip()?;
    tool::run(pip.args(["--no-deps", "--target"]).arg(into).arg(package), MISSING_PIP)
}

fn answers(words: &[&str]) -> bool {
    tool::output(command(words).arg("--version"), MISSING_PIP).is_ok_and(|output| output.status.success())
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}
