//! The whole command line: flags of every command, and the commands.

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::bench::{self, Bench};
use super::canary::Canary;
use super::group::{self, Group};
use super::parked::{self, Parked};
use super::publish::Publish;
use super::subscribe::Subscribe;
use super::topic::{self, Topic};

/// An event bus for domain events: durable, in order per key, on a local file, NATS or Kafka.
#[derive(Debug, Parser)]
#[command(
    name = "busline",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{CONTRACT}"),
    mut_subcommand("bench", |bench| bench.arg(bench::bus_of_bench()))
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  busline pub orders --key order-42 --type OrderPlaced --data '{\"total\":12}'
  busline pub orders --file events.ndjson
  busline sub orders --from earliest --until-end --json
  busline sub orders --until-end --json | busline pub orders-copy --file -
  busline topic list
  busline parked list --group billing
  busline bench
  busline doctor
  busline canary --count 10";

const CONTRACT: &str = "\
Data goes to stdout, everything else to stderr. Errors are one line with a stable name, Kind/Reason.

Exit status:
  0  done
  1  something failed: each error says what, and what to do next
  2  the command line cannot be parsed

The variable BUSLINE_URL names the bus where --bus does not; a password stands in it alone.

Ctrl-C once stops in order: what was accepted gets its outcome. Ctrl-C twice stops at once.";

/// The bus that is meant if none is named.
pub(crate) const BUS_DEFAULT: &str = "sqlite:busline.db";

/// Flags that stand before or after the command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The bus: sqlite:PATH a file, nats://HOST or (if built in) kafka://HOST:PORT a server, memory: of this process
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "BUSLINE_URL",
        hide_env_values = true,
        default_value = BUS_DEFAULT
    )]
    pub(crate) bus: Vec<String>,
    /// Print data as JSON, one object a line [default: readable lines]
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish events: one by flags, or many from a file
    Pub(Box<Publish>),
    /// Print the records of a topic, alone or as a member of a group
    Sub(Subscribe),
    /// Create, change, show, list and delete topics
    #[command(subcommand, after_help = topic::TOPIC_EXAMPLES)]
    Topic(Topic),
    /// Measure the bus beside the native client, and check that nothing was lost, doubled or reordered
    Bench(Bench),
    /// List, show, move and delete groups
    #[command(subcommand, after_help = group::GROUP_EXAMPLES)]
    Group(Group),
    /// List, show, replay and discard what groups have parked
    #[command(subcommand, after_help = parked::PARKED_EXAMPLES)]
    Parked(Parked),
    /// Show the backend, what it can do, every limit, and whether the file or the servers are well
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor,
    /// Publish a small event now and then, and await it at a handler: does the bus work, end to end?
    Canary(Canary),
    /// Print the completions of a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print a manual page
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// The command to explain, such as pub or topic create [default: busline itself]
        command: Vec<String>,
    },
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
  busline doctor
  busline doctor --json --bus sqlite:shop.db
  busline doctor --bus nats://localhost:4222";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  busline completions bash > ~/.local/share/bash-completion/completions/busline";

const MAN_EXAMPLES: &str = "\
Examples:
  busline man | man -l -
  busline man topic create | man -l -";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_table_is_consistent() {
        Cli::command().debug_assert();
    }
}
