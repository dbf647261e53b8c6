//! Licences, bans and advisories by cargo-deny, where it is installed.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, bail};

use super::pipeline::{Outcome, Pipeline};
use crate::process;

/// The longest wait for the database of advisories.
const ADVISORIES_MAX: Duration = Duration::from_secs(120);

pub(crate) fn run(ci: &Pipeline<'_>) -> Result<Outcome> {
    let found = process::cargo().args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return Ok(Outcome::Skipped("cargo-deny is not installed; `cargo install cargo-deny` gives it".into()));
    }
    ci.cargo("deny --all-features check licenses bans sources")?;
    advisories(ci)
}

/// Advisories change without us, so a database that cannot be reached is a reason to skip, not to fail.
fn advisories(ci: &Pipeline<'_>) -> Result<Outcome> {
    let mut deny = process::cargo();
    deny.args(["deny", "--all-features", "check", "advisories"]).current_dir(ci.workspace.root());
    println!("$ {}", process::shown(&deny));
    let ended = process::within(ADVISORIES_MAX, &mut deny)?;
    print!("{}", ended.output);
    match (ended.succeeded(), unreachable(&ended)) {
        (true, _) => Ok(Outcome::Passed),
        (false, true) => {
            println!("skipped: advisories: their database cannot be reached");
            Ok(Outcome::Passed)
        }
        (false, false) => bail!("cargo deny found advisories"),
    }
}

fn unreachable(ended: &process::Ended) -> bool {
    ended.status.is_none() || ended.output.contains("failed to fetch advisory database")
}
