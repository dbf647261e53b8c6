//! What can be written on the command line; this module only parses.

use std::time::Duration;

use busline::{Format, OccurredAt, Offset, ParkingPolicy, Partition, Start, Wire};
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;
use jiff::Timestamp;

use crate::exec::CommandLine;

/// An event bus for domain events: durable, in order per key, on a local file or on NATS.
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
    mut_subcommand("bench", |bench| bench.arg(bus_of_bench()))
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
  busline doctor";

const CONTRACT: &str = "\
Data goes to stdout, everything else to stderr. Errors are one line with a stable name, Kind/Reason.

Exit status:
  0  done
  1  something failed: each error says what, and what to do next
  2  the command line cannot be parsed

Ctrl-C once stops in order: what was accepted gets its outcome. Ctrl-C twice stops at once.";

/// Flags that stand before or after the command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The bus: sqlite:PATH a file, nats://HOST a server, memory: ends with the process
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "BUSLINE_URL",
        hide_env_values = true,
        default_value = "sqlite:busline.db"
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
    #[command(subcommand, after_help = TOPIC_EXAMPLES)]
    Topic(Topic),
    /// Measure the bus beside the native client, and check that nothing was lost, doubled or reordered
    Bench(Bench),
    /// List, show, move and delete groups
    #[command(subcommand, after_help = GROUP_EXAMPLES)]
    Group(Group),
    /// List, show, replay and discard what groups have parked
    #[command(subcommand, after_help = PARKED_EXAMPLES)]
    Parked(Parked),
    /// Show the backend, what it can do, every limit, and whether the file or the servers are well
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor,
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

/// The flag `--bus` in the help of `bench`, which has another default than the other commands.
fn bus_of_bench() -> Arg {
    Arg::new("bus")
        .long("bus")
        .value_name("URL")
        .env("BUSLINE_URL")
        .hide_env_values(true)
        .action(clap::ArgAction::Append)
        .help("The bus to measure [default: a temporary SQLite file for each run]")
}

/// Flags of `bench`.
#[derive(Debug, Args)]
#[command(after_help = BENCH_EXAMPLES, after_long_help = format!("{BENCH_EXAMPLES}\n\n{BENCH_CONTRACT}"))]
pub(crate) struct Bench {
    /// Bursts to publish: low 500, medium 2000, high 5000, extreme 10000, surge 100000, flood 1000000 envelopes, or all
    /// [default: all but flood]
    #[arg(
        long,
        value_name = "LEVEL",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(["low", "medium", "high", "extreme", "surge", "flood", "all"])
    )]
    pub(crate) level: Vec<String>,
    /// How to publish: async (receipts), sync (one at a time), batch, all of these, or blocking (as sync, by a thread)
    /// [default: all]
    #[arg(
        long,
        value_name = "MODE",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(["async", "sync", "batch", "blocking", "all"])
    )]
    pub(crate) mode: Vec<String>,
    /// How to publish, on NATS and Kafka: fast (the bus as it is), pipelined (a message and an ack for each envelope),
    /// task-per-message (headers, a task, a timer and a channel for each), capped-256 (256 in flight; what does not fit
    /// is an error and lowers the success), or all [default: fast]
    #[arg(
        long,
        value_name = "STRATEGY",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(["fast", "pipelined", "task-per-message", "capped-256", "all"])
    )]
    pub(crate) strategy: Vec<String>,
    /// Whether messages have the envelope's attributes as headers too, on NATS and Kafka: on, off, or both [default: on
    /// for task-per-message, else off]
    #[arg(
        long,
        value_name = "on|off",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(["on", "off"])
    )]
    pub(crate) headers: Vec<String>,
    /// Streams that each topic is spread over on NATS, 1 to 4, or several such as 1,2,4 [default: 1]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) streams: Vec<u32>,
    /// Refuse every bus whose acks do not attest exactly this; Kafka topics are made so [default: whatever they do]
    #[arg(
        long,
        value_name = "MEDIUM",
        value_parser = PossibleValuesParser::new(["written", "synced"])
    )]
    pub(crate) durability: Option<String>,
    /// With --durability: copies that acks must attest, 1 to 127; N need 2 N - 1 servers or brokers
    #[arg(long, value_name = "N", default_value_t = 1, requires = "durability")]
    pub(crate) copies: u8,
    /// Measured runs of each level and mode, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) runs: u32,
    /// Size of a payload in bytes [default: the level's own, 41 or 256]
    #[arg(long, value_name = "BYTES")]
    pub(crate) payload: Option<usize>,
    /// Window of each publisher in envelopes, 1 to 1000000
    #[arg(long, value_name = "N", default_value_t = 8_192)]
    pub(crate) window: usize,
    /// Tasks that publish [default: one for each aggregate; 2 at surge and flood unless each waits for its ack]
    #[arg(long, value_name = "N")]
    pub(crate) senders: Option<usize>,
    /// Topics, each with a publisher of its own, 1 to 50
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) topics: usize,
    /// Conditions to consume under, each on a file of its own, instead of levels: consume (beside the twin), sleep
    /// (handlers of 1 ms on 64 keys), wake (what another process publishes), failing-keys, slow (memory), or all
    #[arg(
        long,
        value_name = "WORKLOAD",
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(["consume", "sleep", "wake", "failing-keys", "slow", "all"]),
        conflicts_with_all = [
            "level", "mode", "strategy", "headers", "streams", "durability", "window", "topics", "markdown", "html",
            "baseline", "file",
        ]
    )]
    pub(crate) workload: Vec<String>,
    /// Publish at these rates instead of in bursts, in envelopes a second: N, N,N,N, or auto, which looks for the
    /// highest rate that holds --slo; latencies count from the time each envelope is due
    #[arg(
        long,
        value_name = "RATE",
        conflicts_with_all = [
            "level", "mode", "strategy", "headers", "streams", "durability", "runs", "senders", "workload", "markdown",
            "baseline",
        ]
    )]
    pub(crate) rate: Option<String>,
    /// With --rate: how long each rate is held, such as 10s or 5m
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "10s", requires = "rate")]
    pub(crate) duration: Duration,
    /// With --rate: what p99 to the handler must stay below for a rate to hold, such as 50ms
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "50ms", requires = "rate")]
    pub(crate) slo: Duration,
    /// With --rate: hold it this long, such as 1h, and say whether memory, lag and throughput stay flat
    #[arg(long, value_name = "TIME", value_parser = span, requires = "rate", conflicts_with = "duration")]
    pub(crate) soak: Option<Duration>,
    /// What the workload wake starts
    #[arg(long, hide = true, num_args = 1.., conflicts_with = "workload")]
    pub(crate) publish_process: Vec<String>,
    /// Results of an earlier --json to compare with; exit status 1 if a figure got worse
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<std::path::PathBuf>,
    /// With --baseline: change of a figure that is no regression, in percent, 0 to 1000
    #[arg(long, value_name = "PERCENT", default_value_t = 15, requires = "baseline")]
    pub(crate) tolerance: u32,
    /// File for the report as Markdown; the table still goes to stdout [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<std::path::PathBuf>,
    /// File for the report as one page with plots, which needs no network [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<std::path::PathBuf>,
    /// With --json: the file that gets the results, the machine and every run; the table then goes to stdout
    #[arg(value_name = "FILE", requires = "json")]
    pub(crate) file: Option<std::path::PathBuf>,
}

const BENCH_EXAMPLES: &str = "\
Examples:
  busline bench
  busline bench --level surge --mode async --topics 1 --runs 5
  busline bench --level all --json results.json
  busline bench --rate auto --slo 20ms --duration 5s
  busline bench --rate 2000 --soak 1h --bus nats://localhost:4222 --html soak.html
  busline bench --runs 5 --baseline results.json --tolerance 20
  busline bench --workload consume,wake --runs 5
  busline bench --bus nats://localhost:4222 --bus kafka://localhost:9092 --strategy all --level extreme
  busline bench --bus nats://localhost:4222 --headers on,off --streams 1,2,4 --level extreme --mode async
  busline bench --bus nats://localhost:4222 --bus kafka://localhost:9092 --durability written
  busline bench --bus sqlite:shop.db --bus nats://localhost:4222 --runs 5 --html report.html";

const BENCH_CONTRACT: &str = "\
Without --bus (or BUSLINE_URL) each run has a temporary SQLite file of its own. Beside each run the native client
stores the same rows in the same batch sizes, and reads them; on NATS it publishes the same bytes in the same window.
Its figures are checked in the same way, and every figure is also given as a ratio to it. A speed is
printed only after a dump of the store has shown every envelope, and handlers got each, once and in order; else the
exit status is 1. A SQLite file is dumped by plain SQL, every other bus by the bounded reads of its driver.

--bus may be repeated, up to 8 times: each run then goes over all buses before the next one, on topics with a random
suffix that are deleted afterwards. One bus is called faster than another if it was in every one of at least 5 runs.

--strategy, --headers and --streams are tried in every combination, in turn as several buses are; a bus takes part with
those that it has. What differs from the default stands behind its name: nats/task-per-message, kafka/headers. All are
judged by the same dump. What capped-256 refuses lowers its success and leaves its speed out of every comparison; whatever
else is lost fails the run.

--baseline compares each figure's ratio to its native twin with that of an earlier --json, by Welch's test on the
logarithms of the runs: so the speed of the machine cancels out, and at most 1 in 100 comparisons of a bus with itself
raises an alarm. Both sides need at least 3 runs of a load. A figure that got worse beyond --tolerance is named first,
and the exit status is 1. docs/bench-json.md describes the file.";

const TOPIC_EXAMPLES: &str = "\
Examples:
  busline topic create orders --partitions 8
  busline topic update orders --retain-age 604800 --dry-run
  busline topic show orders --json
  busline topic delete orders --dry-run";

const GROUP_EXAMPLES: &str = "\
Examples:
  busline group list
  busline group show billing orders --json
  busline group seek billing orders --to 0:120,1:80 --dry-run
  busline group delete billing orders --dry-run

A group is moved and deleted only while it has no members.";

const PARKED_EXAMPLES: &str = "\
Examples:
  busline parked list --group billing
  busline parked show --group billing --key order-42 --json
  busline parked replay --group billing --key order-42 --exec './charge --currency EUR'
  busline parked discard --group billing --key order-42 --first --reason 'sent twice' --dry-run

An event is parked when its attempts are used up; later events of its key queue behind it. A replay runs them in order,
beside the members of the group, and then the key flows again. What is parked is chosen by key, type, error and time of
the first parked event of each key, and keys are taken whole.";

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

/// Flags of `pub`.
#[derive(Debug, Args)]
#[command(
    after_help = PUB_EXAMPLES,
    after_long_help = format!("{PUB_EXAMPLES}\n\n{PUB_CONTRACT}"),
    group(ArgGroup::new("events").required(true).args(["file", "key"]))
)]
pub(crate) struct Publish {
    /// The topic; a missing one is made with 4 partitions, and stderr says so
    pub(crate) topic: String,
    /// NDJSON file, one event a line; - is stdin. A line has at most 2 MiB; blank lines are passed over
    #[arg(long, value_name = "FILE", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) file: Option<String>,
    /// What the lines are; auto tells the forms apart, and takes lines of 'sub --json' too
    #[arg(
        long,
        value_name = "FORMAT",
        value_parser = PossibleValuesParser::new(["auto", "cloudevents", "flat"]).try_map(|name| name.parse::<Format>()),
        default_value_t = Format::Auto,
        conflicts_with = "key"
    )]
    pub(crate) format: Format,
    /// The form that is stored
    #[arg(
        long,
        value_name = "FORM",
        value_parser = PossibleValuesParser::new(["cloudevents", "flat"]).try_map(|name| name.parse::<Wire>()),
        default_value_t = Wire::CloudEvents
    )]
    pub(crate) wire: Wire,
    #[command(flatten)]
    pub(crate) event: Event,
}

/// Flags that make one event.
#[derive(Debug, Args)]
#[command(next_help_heading = "One event by flags")]
pub(crate) struct Event {
    /// The aggregate id, for which order is kept: 1 to 256 bytes
    #[arg(long, requires = "event_type")]
    pub(crate) key: Option<String>,
    /// What happened, such as OrderPlaced
    #[arg(long = "type", value_name = "TYPE", requires = "key")]
    pub(crate) event_type: Option<String>,
    /// The payload; JSON unless --content-type says otherwise [default: no payload]
    #[arg(long, allow_negative_numbers = true, requires = "key")]
    pub(crate) data: Option<String>,
    /// The payload's media type [default: application/json]
    #[arg(long, value_name = "TYPE", requires = "data")]
    pub(crate) content_type: Option<String>,
    /// The event's place in its aggregate's history, counted from 1 [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, requires = "key")]
    pub(crate) version: Option<u64>,
    /// The event's id: 1 to 128 bytes [default: a new UUIDv7]
    #[arg(long, requires = "key")]
    pub(crate) id: Option<String>,
    /// When it happened, RFC 3339 with an offset [default: now, in UTC]
    #[arg(long, requires = "key")]
    pub(crate) time: Option<String>,
    /// Who published it, a URI reference [default: /busline/TOPIC]
    #[arg(long, value_name = "URI", requires = "key")]
    pub(crate) source: Option<String>,
    /// The shape of the payload, a URI [default: none]
    #[arg(long, value_name = "URI", requires = "key")]
    pub(crate) schema: Option<String>,
    /// Whose event it is [default: none]
    #[arg(long, requires = "key")]
    pub(crate) tenant: Option<String>,
    /// The larger piece of work it belongs to [default: none]
    #[arg(long, value_name = "ID", requires = "key")]
    pub(crate) correlation_id: Option<String>,
    /// The id of the event that caused it [default: none]
    #[arg(long, value_name = "ID", requires = "key")]
    pub(crate) causation_id: Option<String>,
    /// W3C trace context, version 00 [default: none]
    #[arg(long, value_name = "CONTEXT", requires = "key")]
    pub(crate) traceparent: Option<String>,
    /// A further attribute: 1 to 20 of a-z and 0-9, = and a text; may be repeated [default: none]
    #[arg(long, value_name = "NAME=TEXT", value_parser = name_and_text, requires = "key")]
    pub(crate) attribute: Vec<(String, String)>,
    /// A header of the transport; may be repeated [default: none]
    #[arg(long, value_name = "NAME=TEXT", value_parser = name_and_text, requires = "key")]
    pub(crate) header: Vec<(String, String)>,
}

const PUB_EXAMPLES: &str = "\
Examples:
  busline pub orders --key order-42 --type OrderPlaced --version 1 --data '{\"total\":12}'
  busline pub orders --file events.ndjson --json > outcomes.ndjson
  zcat events.ndjson.gz | busline pub orders --file - --format flat
  busline sub orders --until-end --json | busline pub orders-copy --file -";

const PUB_CONTRACT: &str = "\
With --json there is one line for each event, in input order:
  {\"line\":1,\"id\":\"…\",\"outcome\":\"acked\",\"partition\":0,\"offset\":12,
   \"duplicate\":false,\"durability\":\"synced\",\"copies\":1}
  {\"line\":2,\"id\":\"…\",\"outcome\":\"invalid\",\"error\":\"Kind/Reason\",\"message\":\"…\"}

  acked          stored, with the durability stated
  failed         certainly not stored
  indeterminate  perhaps stored: look it up before publishing it again
  invalid        refused before anything was sent; it holds no other line back

The exit status is 1 if any event was not acked. Memory stays the same for inputs of any size.";

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
  A line is written when the event's attempt has ended well, and before the group's progress is committed: after a
  crash some lines come again, and none is missing. Keys keep their order, partitions do not.
  --until-end waits for the whole group: until every partition is finished up to the end it had at the start, also
  those of other members, and those that a dead member leaves.
  An event whose attempts are used up is parked, with those of its key behind it, and progress goes on: see 'busline
  parked'. What cannot be decoded is parked by itself. With --parking off its key waits instead, and holds its
  partition's progress back; with --until-end or --count the command then ends with status 1 once nothing else is left
  to do, and names topic, partition, offset and key.
  --exec gets the envelope as one line of CloudEvents JSON, and BUSLINE_TOPIC, BUSLINE_GROUP, BUSLINE_PARTITION,
  BUSLINE_OFFSET and BUSLINE_ATTEMPT in its environment. What it prints goes to stderr.
  Ctrl-C lets what runs end, commits and leaves the group; a second one kills the programs.";

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
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
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

/// A limit that is to hold from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit<T> {
    Off,
    At(T),
}

impl<T> Limit<T> {
    pub(crate) fn at(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::At(limit) => Some(limit),
        }
    }
}

const TOPIC_UPDATE_EXAMPLES: &str = "\
Examples:
  busline topic update clicks --retain-age 86400 --dry-run
  busline topic update clicks --retain-age 86400 --retain-bytes none

A lower limit deletes what is above it within seconds, whether it was read or not. What the backend cannot do, such as
more copies than it has nodes, is refused by the change itself and not by a dry run.";

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
        #[arg(long, value_name = "N")]
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

fn policy(name: &str) -> ParkingPolicy {
    match name {
        "off" => ParkingPolicy::Off,
        "record" => ParkingPolicy::Record,
        _ => ParkingPolicy::Key,
    }
}

fn instant(text: &str) -> Result<Timestamp, String> {
    OccurredAt::parse(text).map(|time| time.instant).map_err(|_| "use a time such as 2026-11-25T08:00:00Z".into())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let above_zero = seconds.filter(|seconds| !seconds.is_zero());
    above_zero.ok_or_else(|| "use a number of seconds above 0, such as 2.5".into())
}

/// A time with its unit.
fn span(text: &str) -> Result<Duration, String> {
    let at = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let each = match &text[at..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(SPANS.into()),
    };
    let seconds = text[..at].parse::<f64>().ok().filter(|count| *count > 0.0).map(|count| count * each);
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(|| SPANS.into())
}

const SPANS: &str = "use a number above 0 and its unit: ms, s, m or h, such as 2.5s";

fn bytes(text: &str) -> Result<u64, String> {
    let above_zero = text.parse().ok().filter(|bytes| *bytes > 0);
    above_zero.ok_or_else(|| format!("use a whole number of bytes from 1 to {}", u64::MAX))
}

fn records(text: &str) -> Result<u64, String> {
    let above_zero = text.parse().ok().filter(|records| *records > 0);
    above_zero.ok_or_else(|| "use a whole number of records above 0".into())
}

/// The same, or none.
fn limit<T>(parse: fn(&str) -> Result<T, String>) -> impl Fn(&str) -> Result<Limit<T>, String> + Clone {
    move |text| match text {
        "none" => Ok(Limit::Off),
        _ => parse(text).map(Limit::At).map_err(|use_it| format!("{use_it}, or none")),
    }
}

fn name_and_text(text: &str) -> Result<(String, String), String> {
    let (name, text) = text.split_once('=').ok_or("write NAME=TEXT")?;
    Ok((name.into(), text.into()))
}

fn position(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b',')) => offsets(text),
        _ => match OccurredAt::parse(text) {
            Ok(time) => Ok(Start::Time(time.instant)),
            Err(_) => Err(POSITIONS.into()),
        },
    }
}

const POSITIONS: &str = "use earliest, latest, P:OFFSET[,P:OFFSET…] or a time such as 2026-11-25T08:00:00Z";

fn offsets(text: &str) -> Result<Start, String> {
    let mut offsets: Vec<(Partition, Offset)> = Vec::new();
    for part in text.split(',') {
        let (partition, offset) = part.split_once(':').ok_or(POSITIONS)?;
        let partition = Partition(partition.parse().map_err(|_| POSITIONS)?);
        if offsets.iter().any(|(known, _)| *known == partition) {
            return Err(format!("partition {partition} is given twice"));
        }
        offsets.push((partition, Offset(offset.parse().map_err(|_| POSITIONS)?)));
    }
    Ok(Start::Offsets(offsets))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_table_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn spans_have_a_unit() {
        for (text, millis) in [("50ms", 50), ("2.5s", 2_500), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(span(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "0s", "1d", "1 s", "1e300h"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[track_caller]
    fn begins(text: &str, expected: Start) {
        assert_eq!(position(text), Ok(expected), "{text}");
    }

    #[test]
    fn positions_of_every_form_are_read() {
        begins("earliest", Start::Earliest);
        begins("latest", Start::Latest);
        begins("0:12", Start::Offsets(vec![(Partition(0), Offset(12))]));
        begins("0:12,3:0", Start::Offsets(vec![(Partition(0), Offset(12)), (Partition(3), Offset(0))]));
        let time = OccurredAt::parse("2026-11-25T08:00:00+01:00").expect("legal").instant;
        begins("2026-11-25T08:00:00+01:00", Start::Time(time));
    }

    #[test]
    fn other_positions_are_refused_with_the_forms() {
        for text in ["", "first", "0", "0:", ":0", "0:1,", "0:1,0:2", "0:-1", "4294967296:0", "2026-11-25", "2026"] {
            position(text).expect_err(text);
        }
    }
}
