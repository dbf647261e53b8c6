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
mod asked;
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
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::args::{BUS_DEFAULT, Cli};
use crate::asked::Asked;
use crate::commands::{Ended, Job};
use crate::interrupt::Interrupts;
use crate::output::{Form, Output};
use crate::target::{Target, UrlSource};

fn main() -> ExitCode {
    let parsed = match parse(std::env::args_os().collect()) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    match run(parsed) {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::SomeFailed) => ExitCode::FAILURE,
        Err(error) => {
            output::say_error(&error);
            ExitCode::FAILURE
        }
    }
}

const WRONG_USAGE: u8 = 2;

/// A command line that was understood.
struct Parsed {
    cli: Cli,
    matches: ArgMatches,
    url_source: UrlSource,
}

fn parse(arguments: Vec<OsString>) -> std::result::Result<Parsed, ExitCode> {
    let wrong = |error| {
        output::say_error(&error);
        ExitCode::from(WRONG_USAGE)
    };
    usage::repeated_global(&arguments).map_or(Ok(()), |error| Err(wrong(error)))?;
    let parsed = Cli::command().try_get_matches_from(arguments).and_then(|matches| {
        let source = match matches.value_source("bus") {
            Some(ValueSource::CommandLine) => UrlSource::Argument,
            Some(ValueSource::EnvVariable) => UrlSource::Environment,
            _ => UrlSource::Default,
        };
        let mut cli = Cli::from_arg_matches(&matches)?;
        if source == UrlSource::Environment && cli.global.bus == [""] {
            // An empty variable counts as one that is not set.
            cli.global.bus = vec![BUS_DEFAULT.into()];
            return Ok(Parsed { cli, matches, url_source: UrlSource::Default });
        }
        Ok(Parsed { cli, matches, url_source: source })
    });
    let parsed = parsed.map_err(|error| {
        match usage::explain(&error) {
            Some(explained) => output::say_error(&explained),
            None => output::print_help(&error),
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_USAGE))
    })?;
    usage::bus_of_no_use(&parsed.matches).map_or(Ok(parsed), |error| Err(wrong(error)))
}

fn run(Parsed { cli, matches, url_source }: Parsed) -> Result<Ended> {
    let form = if cli.global.json { Form::Json } else { Form::Text };
    let mut buses = cli.global.bus.into_iter().map(|url| Target::new(url, url_source));
    let Some(first) = buses.next().transpose()? else {
        return Err(Error::invalid("MissingArgument").cause("no bus is named").next("give --bus").at("usage", ""));
    };
    let asked = Asked::of(&matches, &first);
    let job = buses.collect::<Result<_>>().and_then(|further| Job::new(cli.command, first, further));
    job.and_then(|job| run_job(job, form)).map_err(|error| asked.named(error))
}

/// Runs the command on a thread of its own, so that a second Ctrl-C ends the process even while stdout blocks.
fn run_job(job: Job, form: Form) -> Result<Ended> {
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
