//! `busline completions` and `busline man`, from the table that also gives the help.

use busline::{Error, ErrorKind, Result, escaped};
use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::Ended;
use crate::args::Cli;
use crate::output::Output;

pub(crate) enum Request {
    /// The completions of a shell.
    Completions(Shell),
    /// The page of a command, named from the top.
    Page(Vec<String>),
}

pub(crate) fn run(request: &Request, output: &mut Output) -> Result<Ended> {
    let mut table = Cli::command();
    let mut text = Vec::new();
    match request {
        Request::Completions(shell) => clap_complete::generate(*shell, &mut table, "busline", &mut text),
        Request::Page(names) => {
            table.build();
            let page = clap_mangen::Man::new(named(table, names)?);
            page.render(&mut text)
                .map_err(|error| Error::new(ErrorKind::Internal, "Page").because(error).next("report this"))?;
        }
    }
    output.raw(&text)?;
    Ok(Ended::Done)
}

fn named(table: Command, names: &[String]) -> Result<Command> {
    names.iter().try_fold(table, |command, name| {
        command.find_subcommand(name).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "Command")
                .cause(format!("no command '{}'", escaped(name)))
                .next("see busline --help")
                .at("man", names.join(" "))
        })
    })
}
