//! What `group` takes.

use busline::Start;
use clap::Subcommand;

use super::values::position;

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List all groups, by topic
    #[command(after_help = "Examples:\n  busline group list --json")]
    List,
    /// Show how far a group is, and its members
    #[command(after_help = "Examples:\n  busline group show billing\n  busline group show billing orders --json")]
    Show {
        /// The group
        group: String,
        /// The topic [default: all topics of the group]
        topic: Option<String>,
    },
    /// Move a group's committed offsets on a topic
    #[command(after_help = "Examples:\n  busline group seek billing orders --to earliest --dry-run\n  \
                            busline group seek billing orders --to 0:120,1:80")]
    Seek {
        /// The group; it must have no members
        group: String,
        /// The topic
        topic: String,
        /// Where to go on: earliest, latest, P:OFFSET[,P:OFFSET…] or an RFC 3339 time. Partitions not named stay where
        /// they are; the time is when a record was stored
        #[arg(long, value_name = "POSITION", value_parser = position)]
        to: Start,
        /// Only say what would be moved [default: move it]
        #[arg(long)]
        dry_run: bool,
    },
    /// Forget a group on a topic: its committed offsets and what is left of its parking
    #[command(after_help = "Examples:\n  busline group delete billing orders --dry-run\n  \
                            busline group delete billing orders")]
    Delete {
        /// The group; it must have no members
        group: String,
        /// The topic
        topic: String,
        /// Delete records too that the group has parked [default: refuse while there are any]
        #[arg(long)]
        with_parked: bool,
        /// Only say what would be forgotten [default: forget it]
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) const GROUP_EXAMPLES: &str = "\
Examples:
  busline group list
  busline group show billing orders --json
  busline group seek billing orders --to 0:120,1:80 --dry-run
  busline group delete billing orders --dry-run

A group is moved and deleted only while it has no members.";
