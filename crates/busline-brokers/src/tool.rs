//! Programs of the machine that install and run servers.

use std::io::ErrorKind;
use std::process::{Command, Output};

use crate::Error;

/// Longest part of a failed program's output that an error repeats, in bytes from its end.
const REPEATED_MAX: usize = 600;

/// Runs a program to its end.
///
/// # Errors
/// It is not there (`missing` says what to install) or failed (the end of its output is in the line).
pub(crate) fn run(command: &mut Command, missing: &str) -> Result<(), Error> {
    let output = output(command, missing)?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let program = command.get_program().to_string_lossy().into_owned();
    Err(Error::failed(format!("{program} ended with {}: {}", output.status, one_line(&String::from_utf8_lossy(&said)))))
}

/// What a program printed and how it ended.
///
/// # Errors
/// It is not there or could not be started.
pub(crate) fn output(command: &mut Command, missing: &str) -> Result<Output, Error> {
    command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::missing_tool(missing),
        _ => Error::failed(format!("cannot start {}: {error}", command.get_program().to_string_lossy())),
    })
}

/// The end of a text, its lines joined.
pub(crate) fn one_line(text: &str) -> String {
    let joined = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ");
    let from = joined.len().saturating_sub(REPEATED_MAX);
    let from = (from..joined.len()).find(|at| joined.is_char_boundary(*at)).unwrap_or(joined.len());
    joined[from..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_says_what_to_install() {
        let error = run(&mut Command::new("busline-no-such-program"), "install it").expect_err("it is not there");
        assert!(error.is_missing_tool());
        assert_eq!(error.to_string(), "install it");
    }

    #[test]
    fn a_failure_is_told_on_one_line() {
        let error = run(Command::new("sh").args(["-c", "echo a; echo b >&2; exit 3"]), "").expect_err("it fails");
        assert!(!error.is_missing_tool());
        assert_eq!(error.to_string(), "sh ended with exit status: 3: a | b");
    }
}
