//! What `topic` takes.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};

use super::values::{Limit, bytes, copies, limit, records, seconds};

#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// Make a topic
    #[command(after_help = TOPIC_CREATE_EXAMPLES)]
    Create {
        /// The topic: 1 to 200 of letters, digits, '.', '_' and '-'
        topic: String,
        /// Number of partitions, 1 to 1024; it cannot be changed later
        #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 4)]
        partitions: u32,
        #[command(flatten)]
        retention: RetentionArgs,
    },
    /// Change the limits and the copies of a topic
    #[command(after_help = TOPIC_UPDATE_EXAMPLES)]
    Update(TopicUpdate),
    /// Show a topic and what its partitions hold
    #[command(after_help = "Examples:\n  busline topic show orders --json")]
    Show {
        /// The topic
        topic: String,
    },
    /// List all topics
    #[command(after_help = "Examples:\n  busline topic list --json")]
    List,
    /// Delete a topic with its records, its groups' offsets and what is left of their parking
    #[command(after_help = "Examples:\n  busline topic delete orders --dry-run\n  busline topic delete orders")]
    Delete {
        /// The topic
        topic: String,
        /// Delete records too that groups have parked [default: refuse while there are any]
        #[arg(long)]
        with_parked: bool,
        /// Only say what would be deleted [default: delete it]
        #[arg(long)]
        dry_run: bool,
    },
}

/// Flags of `topic update`; what is not named stays as it is.
#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("changes")
        .required(true)
        .multiple(true)
        .args(["partitions", "replicas", "retain_age", "retain_bytes", "retain_records"])
))]
pub(crate) struct TopicUpdate {
    /// The topic
    pub(crate) topic: String,
    /// Number of partitions; refused if it is another one, since keys would move to other partitions
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) partitions: Option<u32>,
    /// Copies that the backend keeps, 1 to 255; more than one needs a cluster
    #[arg(long, value_name = "N", value_parser = copies, allow_negative_numbers = true)]
    pub(crate) replicas: Option<u8>,
    /// Delete records that were stored longer ago than this, in seconds: 0.001 to 100 years, or none
    #[arg(long, value_name = "SECONDS", value_parser = limit(seconds), allow_negative_numbers = true)]
    pub(crate) retain_age: Option<Limit<Duration>>,
    /// Delete the oldest records of a partition above so many bytes of keys, headers and bodies: at least 1, or none
    #[arg(long, value_name = "BYTES", value_parser = limit(bytes), allow_negative_numbers = true)]
    pub(crate) retain_bytes: Option<Limit<u64>>,
    /// Delete the oldest records of a partition above this number: at least 1, or none
    #[arg(long, value_name = "N", value_parser = limit(records), allow_negative_numbers = true)]
    pub(crate) retain_records: Option<Limit<u64>>,
    /// Only say what would change [default: change it]
    #[arg(long)]
    pub(crate) dry_run: bool,
}

const TOPIC_UPDATE_EXAMPLES: &str = "\
Examples:
  busline topic update clicks --retain-age 86400 --dry-run
  busline topic update clicks --retain-age 86400 --retain-bytes none

A lower limit deletes what is above it within seconds, whether it was read or not. What the
backend cannot do, such as more copies than it has nodes, is refused by the change itself and not
by a dry run.";

/// When the oldest records go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Retention")]
pub(crate) struct RetentionArgs {
    /// Delete records that were stored longer ago than this, in seconds: 0.001 to 100 years [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) retain_age: Option<Duration>,
    /// Delete the oldest records of a partition above so many bytes of keys, headers and bodies: at least 1 [default:
    /// keep all]
    #[arg(long, value_name = "BYTES", value_parser = bytes, allow_negative_numbers = true)]
    pub(crate) retain_bytes: Option<u64>,
    /// Delete the oldest records of a partition above this number: at least 1 [default: keep all]
    #[arg(long, value_name = "N")]
    pub(crate) retain_records: Option<u64>,
}

const TOPIC_CREATE_EXAMPLES: &str = "\
Examples:
  busline topic create orders --partitions 8
  busline topic create clicks --retain-age 604800 --retain-bytes 1000000000

Limits delete records whether they were read or not. What a group loses by it is counted: see
'busline topic show' and 'busline group show'.";

pub(super) const TOPIC_EXAMPLES: &str = "\
Examples:
  busline topic create orders --partitions 8
  busline topic update orders --retain-age 604800 --dry-run
  busline topic show orders --json
  busline topic delete orders --dry-run";
