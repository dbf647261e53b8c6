//! The `busline` command: publishes, reads and looks after topics of a bus, for people and for scripts.
//!
//! ```text
//! args ─→ commands ─→ busline ─→ watched (what a group's source says)
//!   │        │  ↑  ↘ exec (a program for each event)
//! usage      │  input (bounded lines) ─→ event (line ↔ envelope)
//!            ↓
//!         output: data to stdout, talk to stderr
//! ```

mod args;
mod commands;
mod event;
mod exec;
#[cfg(feature = "history")]
mod group_history;
#[cfg(not(feature = "history"))]
#[path = "no_group_history.rs"]
mod group_history;
#[cfg(feature = "history")]
mod history;
#[cfg(not(feature = "history"))]
#[path = "no_history.rs"]
mod history;
mod input;
mod interrupt;
mod output;
mod printable;
mod target;
mod usage;
mod watched;

use std::ffi::OsString;
use std::process::ExitCode;

use busline::{Error, ErrorKind, Result};
use clap::{CommandFactory, FromArgMatches};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::args::{BUS_DEFAULT, Cli};
use crate::commands::{Ended, Job};
use crate::interrupt::Interrupts;
use crate::output::{Form, Output};
use crate::target::{Target, UrlSource};

fn main() -> ExitCode {
    let (cli, url_source) = match parse(std::env::args_os().collect()) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    match run(cli, url_source) {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::SomeFailed) => ExitCode::FAILURE,
        Err(error) => {
            output::say_error(&error);
            ExitCode::FAILURE
        }
    }
}

const WRONG_USAGE: u8 = 2;

fn parse(arguments: Vec<OsString>) -> std::result::Result<(Cli, UrlSource), ExitCode> {
    if let Some(error) = usage::repeated_global(&arguments) {
        output::say_error(&error);
        return Err(WRONG_USAGE.into());
    }
    let parsed = Cli::command().try_get_matches_from(arguments).and_then(|matches| {
        let source = match matches.value_source("bus") {
            Some(clap::parser::ValueSource::CommandLine) => UrlSource::Argument,
            Some(clap::parser::ValueSource::EnvVariable) => UrlSource::Environment,
            _ => UrlSource::Default,
        };
        let mut cli = Cli::from_arg_matches(&matches)?;
        if source == UrlSource::Environment && cli.global.bus == [""] {
            // An empty variable counts as one that is not set.
            cli.global.bus = vec![BUS_DEFAULT.into()];
            return Ok((cli, UrlSource::Default));
        }
        Ok((cli, source))
    });
    parsed.map_err(|error| {
        match usage::explain(&error) {
            Some(explained) => output::say_error(&explained),
            None => output::print_help(&error),
        }
        u8::try_from(error.exit_code()).unwrap_or(WRONG_USAGE).into()
    })
}

/// Runs the command on a thread of its own, so that a second Ctrl-C ends the process even while stdout blocks.
fn run(cli: Cli, url_source: UrlSource) -> Result<Ended> {
    let form = if cli.global.json { Form::Json } else { Form::Text };
    let mut buses = cli.global.bus.into_iter().map(|url| Target::new(url, url_source));
    let first = buses.next().transpose()?.ok_or_else(|| Error::invalid("MissingArgument").next("give --bus"))?;
    let job = Job::new(cli.command, first, buses.collect::<Result<_>>()?)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Unavailable, "Runtime").because(error).next("raise the limits"))?;
    let ended = runtime.block_on(async {
        let mut interrupts = Interrupts::listen()?;
        let (sender, outcome) = oneshot::channel();
        let (handle, stop) = (Handle::current(), interrupts.stop());
        let command = std::thread::spawn(move || {
            let mut output = Output::new(form);
            let ended = handle.block_on(job.run(&mut output, stop));
            // What was printed last may not fit any more, such as on a full disk.
            let outcome = ended.and_then(|ended| output.flush().map(|()| ended));
            drop(output);
            drop(sender.send(outcome));
        });
        tokio::select! {
            error = interrupts.twice() => {
                exec::kill_all();
                commands::say_what_is_left();
                Err(error)
            }
            outcome = outcome => match outcome {
                Ok(outcome) => outcome,
                Err(_) => Err(panicked(command)),
            },
        }
    });
    // After two interrupts the command still runs: the end of its runtime would settle all it waits for, and it would
    // print that. The end of the process ends both.
    std::mem::forget(runtime);
    ended
}

fn panicked(command: std::thread::JoinHandle<()>) -> Error {
    drop(command.join());
    Error::new(ErrorKind::Internal, "Panic")
        .cause("the command ended by a panic")
        .next("report this with the text above")
}
