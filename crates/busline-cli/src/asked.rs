//! What was asked for, as it stands in front of errors that know nothing of it.

use busline::Error;
use clap::ArgMatches;

use crate::target::Target;

/// A command and what it is about.
pub(crate) struct Asked {
    command: String,
    subject: String,
}

impl Asked {
    /// The command with its topic, else its group; the bus where it names neither.
    pub(crate) fn of(matches: &ArgMatches, bus: &Target) -> Self {
        let (mut words, mut innermost) = (Vec::new(), matches);
        while let Some((word, inner)) = innermost.subcommand() {
            words.push(word);
            innermost = inner;
        }
        let named = |argument| innermost.try_get_one::<String>(argument).ok().flatten().cloned();
        let command = words.join(" ");
        // Its buses are many, or none that was named.
        let of_bus = || if command == "bench" { String::new() } else { bus.shown() };
        let subject = named("topic").or_else(|| named("group")).unwrap_or_else(of_bus);
        Self { command, subject }
    }

    /// The error, said of this unless it is said of something already.
    pub(crate) fn named(self, error: Error) -> Error {
        error.at(self.command, self.subject)
    }
}

#[cfg(test)]
mod tests {
    use busline::ErrorKind;
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;
    use crate::target::UrlSource;

    #[test]
    fn an_error_without_a_name_has_that_of_the_command() {
        let bus = Target::new("nats://shop:hunter2@localhost:4222".into(), UrlSource::Environment).expect("taken");
        for (line, expected) in [
            ("busline pub orders --key k --type T", "pub orders"),
            ("busline sub orders --group billing --exec ./x", "sub orders"),
            ("busline parked list --group billing", "parked list billing"),
            ("busline group show billing", "group show billing"),
            ("busline group delete billing orders", "group delete orders"),
            ("busline topic list", "topic list nats://localhost:4222"),
            ("busline doctor", "doctor nats://localhost:4222"),
            ("busline bench", "bench"),
        ] {
            let matches = Cli::command().get_matches_from(line.split(' '));
            let error = Error::new(ErrorKind::Unavailable, "Runtime").cause("no descriptors").next("raise the limits");
            let named = Asked::of(&matches, &bus).named(error);
            assert_eq!(
                named.to_string(),
                format!("{expected}: Unavailable/Runtime: no descriptors; raise the limits"),
                "{line}"
            );
        }
    }
}
