//! What `parked` takes.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::values::{instant, seconds};
use crate::exec::CommandLine;

/// What parked events are meant.
#[derive(Debug, Args)]
pub(crate) struct Choice {
    /// The group
    #[arg(long)]
    pub(crate) group: String,
    /// The topic [default: all topics of the group]
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Only this key
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Only keys whose first parked event has this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<String>,
    /// Only keys whose first parked event failed with an error that contains this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) error: Option<String>,
    /// Only keys parked at or after this RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) since: Option<Timestamp>,
    /// Only keys parked before this RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) until: Option<Timestamp>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Parked {
    /// List parked keys, with counts, times and errors
    #[command(after_help = "Examples:\n  busline parked list --group billing --json")]
    List {
        #[command(flatten)]
        choice: Choice,
    },
    /// Print parked events with what is known of their failure
    #[command(after_help = "Examples:\n  busline parked show --group billing --key order-42 --json")]
    Show {
        #[command(flatten)]
        choice: Choice,
    },
    /// Run a program for parked events, those of a key in order; what it handles is parked no more
    #[command(after_help = "Examples:\n  busline parked replay --group billing --exec ./charge --rate 50\n  \
                            busline parked replay --group billing --type OrderPlaced --dry-run")]
    Replay {
        #[command(flatten)]
        choice: Choice,
        /// The program, as for 'sub --exec'; a key whose event fails is left, and stays parked
        #[arg(long, value_name = "CMD", value_parser = CommandLine::parse, required_unless_present = "dry_run")]
        exec: Option<CommandLine>,
        /// Attempts for an event in all, 1 to 1000
        #[arg(long, value_name = "N", default_value_t = 1)]
        attempts: u32,
        /// Longest run of the program, in seconds: 0.001 to 3600
        #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
        timeout: Duration,
        /// Keys at work at once, 1 to 1024; a crash repeats at most one event of each
        #[arg(long, value_name = "N", default_value_t = 1)]
        concurrency: usize,
        /// Most events a second [default: no limit]
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        rate: Option<f64>,
        /// Most events [default: no limit]
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        /// Time without a sign of life after which another replay takes over, in seconds: 1 to 300
        #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
        lease: Duration,
        /// Only say what would run [default: run it]
        #[arg(long)]
        dry_run: bool,
    },
    /// Give parked events up for good
    #[command(after_help = "Examples:\n  busline parked discard --group billing --key order-42 --reason 'sent twice' \
                            --dry-run")]
    Discard {
        #[command(flatten)]
        choice: Choice,
        /// Why; it stays in the parking topic until that is trimmed
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Only the first event of each key [default: all]
        #[arg(long)]
        first: bool,
        /// Only say what would be given up [default: give it up]
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) const PARKED_EXAMPLES: &str = "\
Examples:
  busline parked list --group billing
  busline parked show --group billing --key order-42 --json
  busline parked replay --group billing --key order-42 --exec './charge --currency EUR'
  busline parked discard --group billing --key order-42 --first --reason 'sent twice' --dry-run

An event is parked when its attempts are used up; later events of its key queue behind it. A
replay runs them in order, beside the members of the group, and then the key flows again. What is
parked is chosen by key, type, error and time of the first parked event of each key, and keys are
taken whole. Ctrl-C lets what runs end and reports it; a second one kills the programs.";
