//! A command line that cannot be parsed, told as one line with a stable name.

use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::num::ParseIntError;

use busline::{Error, escaped};
use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;

/// What is wrong with the line; `None` where the answer is the help text itself.
pub(crate) fn explain(error: &clap::Error) -> Option<Error> {
    let name = |kind| named(error, kind);
    let flag = name(ContextKind::InvalidArg);
    let explained = match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::MissingSubcommand => return None,
        ErrorKind::UnknownArgument => unknown(&flag, &name(ContextKind::SuggestedArg)),
        ErrorKind::InvalidSubcommand => {
            unknown_command(&name(ContextKind::InvalidSubcommand), &name(ContextKind::SuggestedSubcommand))
        }
        ErrorKind::ArgumentConflict if flag == name(ContextKind::PriorArg) => repeated(&flag),
        ErrorKind::ArgumentConflict => contradiction(&flag, &name(ContextKind::PriorArg)),
        ErrorKind::MissingRequiredArgument => missing(error),
        ErrorKind::InvalidUtf8 => {
            Error::invalid("Argument").cause("an argument is not UTF-8").next("write names, keys and payloads as UTF-8")
        }
        _ => bad_value(error, &flag),
    };
    Some(explained.at("usage", ""))
}

/// The flag that stands for all commands and is given twice, which clap takes for one that overrides the other.
///
/// `bench` takes several buses, if all of them stand behind it.
pub(crate) fn repeated_global(arguments: &[OsString]) -> Option<Error> {
    let flags = || arguments.iter().map(OsString::as_os_str).take_while(|argument| *argument != "--");
    let count = |flag| flags().filter(|argument| is_flag(argument, flag)).count();
    let takes_several = |flag| flag == "--bus" && arguments.get(1).is_some_and(|command| command == "bench");
    ["--bus", "--json"]
        .into_iter()
        .find(|flag| count(flag) > 1 && !takes_several(*flag))
        .map(|flag| repeated(flag).at("usage", ""))
}

/// A bus that is named for what has none, which clap cannot refuse without refusing one from the environment too.
pub(crate) fn bus_of_no_use(matches: &ArgMatches) -> Option<Error> {
    let bench = matches.subcommand_matches("bench")?;
    let is_named = |flag: &&str| bench.value_source(flag) == Some(ValueSource::CommandLine);
    is_named(&"bus").then_some(())?;
    let flag = ["workload", "results"].into_iter().find(is_named)?;
    Some(contradiction("--bus", &format!("--{flag}")).at("usage", ""))
}

fn contradiction(flag: &str, other: &str) -> Error {
    Error::invalid("Contradiction").cause(format!("{flag} does not go with {other}")).next("leave one of them out")
}

fn is_flag(argument: &OsStr, flag: &str) -> bool {
    let rest = argument.as_encoded_bytes().strip_prefix(flag.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
}

fn repeated(flag: &str) -> Error {
    Error::invalid("RepeatedFlag").cause(format!("{flag} is given twice")).next("give it once")
}

/// Of flags of which one is needed, clap makes one text: `<--file <FILE>|--key <KEY>>`.
fn missing(error: &clap::Error) -> Error {
    let arguments = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(texts)) => texts.as_slice(),
        _ => &[],
    };
    let told =
        arguments.iter().map(|argument| match argument.strip_prefix("<-").and_then(|rest| rest.strip_suffix('>')) {
            Some(flags) => format!("-{flags}").replace('|', " or "),
            None => argument.clone(),
        });
    let told: Vec<_> = told.collect();
    Error::invalid("MissingArgument").cause(format!("{} is missing", told.join(", "))).next("give it, as --help shows")
}

fn unknown(flag: &str, nearest: &str) -> Error {
    if !flag.starts_with('-') {
        return Error::invalid("Argument")
            .cause(format!("'{}' is one argument too many", escaped(flag)))
            .next("see --help");
    }
    did_you_mean(Error::invalid("UnknownFlag").cause(format!("no flag '{}'", escaped(flag))), nearest)
}

fn unknown_command(command: &str, nearest: &str) -> Error {
    if command.is_empty() {
        return Error::invalid("Argument").cause("an argument is empty").next("name a command; see --help");
    }
    did_you_mean(Error::invalid("UnknownCommand").cause(format!("no command '{}'", escaped(command))), nearest)
}

fn did_you_mean(error: Error, nearest: &str) -> Error {
    // The nearest of several comes last.
    match nearest.rsplit(", ").next().unwrap_or_default() {
        "" => error.next("see --help"),
        nearest => error.next(format!("did you mean {nearest}?")),
    }
}

fn bad_value(error: &clap::Error, flag: &str) -> Error {
    let value = named(error, ContextKind::InvalidValue);
    let cause = match value.as_str() {
        "" => format!("{flag} needs a value"),
        _ => format!("'{}' for {flag}", escaped(&value)),
    };
    let next = match (error.source(), named(error, ContextKind::ValidValue)) {
        (Some(source), _) if source.is::<ParseIntError>() => "use a whole number".into(),
        (Some(source), _) => source.to_string(),
        (None, valid) if !valid.is_empty() => format!("use one of {valid}"),
        // Of `--json=FILE`, which only `bench` could mean anything by.
        _ if error.kind() == ErrorKind::TooManyValues => format!("write {flag} without =; bench takes {flag} FILE"),
        _ => "see --help".into(),
    };
    // What stands there and is wrong in itself is a bad value; what is not there at all, a bad argument.
    Error::invalid(if value.is_empty() { "Argument" } else { "Value" }).cause(cause).next(next)
}

fn named(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    #[track_caller]
    fn says(line: &str, expected: &str) {
        let error = Cli::try_parse_from(line.split(' ')).expect_err("cannot be parsed");
        assert_eq!(explain(&error).expect("an error").to_string(), expected);
    }

    #[test]
    fn each_mistake_has_its_name_and_the_nearest_word() {
        says("busline pub t --formt x", "usage: Invalid/UnknownFlag: no flag '--formt'; did you mean --format?");
        says("busline docter", "usage: Invalid/UnknownCommand: no command 'docter'; did you mean doctor?");
        says("busline sub t --zzz", "usage: Invalid/UnknownFlag: no flag '--zzz'; see --help");
        says("busline sub t u", "usage: Invalid/Argument: 'u' is one argument too many; see --help");
        says("busline ", "usage: Invalid/Argument: an argument is empty; name a command; see --help");
        says(
            "busline sub t --count 1 --count 2",
            "usage: Invalid/RepeatedFlag: --count <N> is given twice; give it once",
        );
        says("busline sub", "usage: Invalid/MissingArgument: <TOPIC> is missing; give it, as --help shows");
        says(
            "busline pub t",
            "usage: Invalid/MissingArgument: --file <FILE> or --key <KEY> is missing; give it, as --help shows",
        );
    }

    #[test]
    fn values_are_refused_with_the_accepted_form() {
        says(
            "busline sub t --from first",
            "usage: Invalid/Value: 'first' for --from <POSITION>; use earliest, latest, P:OFFSET[,P:OFFSET…] or a \
             time such as 2026-11-25T08:00:00Z",
        );
        says("busline sub t --count x", "usage: Invalid/Value: 'x' for --count <N>; use a whole number");
        says(
            "busline pub t --file f --wire xml",
            "usage: Invalid/Value: 'xml' for --wire <FORM>; use one of cloudevents, flat",
        );
    }

    #[test]
    fn a_flag_that_takes_no_value_says_how_to_write_it() {
        says(
            "busline bench --json=F",
            "usage: Invalid/Value: 'F' for --json; write --json without =; bench takes --json FILE",
        );
    }

    #[test]
    fn global_flags_are_counted_up_to_the_double_dash() {
        let repeated = |line: &str| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            repeated_global(&arguments).map(|error| error.to_string())
        };
        assert_eq!(
            repeated("busline --bus a pub t --bus=b").as_deref(),
            Some("usage: Invalid/RepeatedFlag: --bus is given twice; give it once")
        );
        assert!(repeated("busline --json sub t --json").is_some());
        assert_eq!(repeated("busline --json sub t -- --json"), None);
        assert_eq!(repeated("busline --bus a sub --busy"), None);
        assert_eq!(repeated("busline bench --bus a --runs 2 --bus=b"), None);
        assert!(repeated("busline --bus a bench --bus b").is_some(), "clap would forget the first one");
    }
}
