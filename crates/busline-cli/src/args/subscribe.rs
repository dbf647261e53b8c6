//! What `sub` takes.

use std::time::Duration;

use busline::{ParkingPolicy, Start};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::values::{position, seconds};
use crate::exec::CommandLine;

/// Flags of `sub`.
#[derive(Debug, Args)]
#[command(after_help = SUB_EXAMPLES, after_long_help = format!("{SUB_EXAMPLES}\n\n{SUB_CONTRACT}"))]
pub(crate) struct Subscribe {
    /// The topic; it must exist
    pub(crate) topic: String,
    /// Where to begin: earliest, latest, P:OFFSET[,P:OFFSET…] or an RFC 3339 time. Partitions not named begin at the
    /// earliest; the time is when a record was stored. A group begins there only where it has no committed offset
    #[arg(long, value_name = "POSITION", value_parser = position, default_value = "earliest")]
    pub(crate) from: Start,
    /// End at the end that each partition has at the start [default: wait for more]
    #[arg(long)]
    pub(crate) until_end: bool,
    /// End after this many records [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) member: Membership,
}

/// Flags of a member of a group.
#[derive(Debug, Args)]
#[command(next_help_heading = "In a group")]
pub(crate) struct Membership {
    /// Read as a member of this group: its members share the partitions, and it goes on where it ended
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// Events at work at once, each of another key: 1 to 4096
    #[arg(long, value_name = "N", default_value_t = 16, requires = "group")]
    pub(crate) concurrency: usize,
    /// Run this program for each event, with the envelope on its stdin; words are separated by spaces, quotes keep
    /// them together, and no shell is involved. An exit status other than 0 is a failed attempt [default: only print]
    #[arg(long, value_name = "CMD", value_parser = CommandLine::parse, requires = "group")]
    pub(crate) exec: Option<CommandLine>,
    /// Attempts for an event in all, the first included: 1 to 1000; then it is parked
    #[arg(long, value_name = "N", default_value_t = 5, requires = "exec")]
    pub(crate) attempts: u32,
    /// What becomes of an event whose attempts are used up: key parks it with its key, whose later events queue behind;
    /// record parks it alone; off lets its key wait
    #[arg(
        long,
        value_name = "POLICY",
        value_parser = PossibleValuesParser::new(["key", "record", "off"]).map(|name| policy(&name)),
        default_value = "key",
        requires = "group"
    )]
    pub(crate) parking: ParkingPolicy,
    /// Longest run of the program, in seconds: 0.001 to 3600; then it is killed, and the attempt has failed
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true, default_value = "30", requires = "exec")]
    pub(crate) timeout: Duration,
    /// Time without a sign of life after which others take a member's partitions, in seconds: 1 to 300. Give all
    /// members of a group the same
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true, default_value = "5", requires = "group")]
    pub(crate) lease: Duration,
}

const SUB_EXAMPLES: &str = "\
Examples:
  busline sub orders
  busline sub orders --from latest --json
  busline sub orders --from 0:120,1:80 --until-end
  busline sub orders --from 2026-11-25T08:00:00Z --count 10
  busline sub orders --group billing --exec './charge --currency EUR'
  busline sub orders --group audit --until-end --json --concurrency 64 >> audit.ndjson";

const SUB_CONTRACT: &str = "\
With --json each record is a line:
  {\"topic\":\"orders\",\"partition\":0,\"offset\":12,\"attempt\":1,\"envelope\":{…CloudEvents…}}

\"headers\" stand before the envelope where a record has some. A record that cannot be decoded has
\"error\" and \"message\" in place of the envelope, and makes the exit status 1.

Records of a partition, and so of a key, come in order; partitions are interleaved.

In a group:
  A line is written when the event's attempt has ended well, and before the group's progress is
  committed: after a crash some lines come again, and none is missing. Keys keep their order,
  partitions do not.
  --until-end waits for the whole group: until every partition is finished up to the end it had at
  the start, also those of other members, and those that a dead member leaves.
  An event whose attempts are used up is parked, with those of its key behind it, and progress
  goes on: see 'busline parked'. What cannot be decoded is parked by itself. With --parking off
  its key waits instead, and holds its partition's progress back; with --until-end or --count the
  command then ends with status 1 once nothing else is left to do, and names topic, partition,
  offset and key.
  --exec gets the envelope as one line of CloudEvents JSON, and BUSLINE_TOPIC, BUSLINE_GROUP,
  BUSLINE_PARTITION, BUSLINE_OFFSET and BUSLINE_ATTEMPT in its environment. What it prints goes to
  stderr.
  Ctrl-C lets what runs end, commits and leaves the group; a second one kills the programs.";

fn policy(name: &str) -> ParkingPolicy {
    match name {
        "off" => ParkingPolicy::Off,
        "record" => ParkingPolicy::Record,
        _ => ParkingPolicy::Key,
    }
}
