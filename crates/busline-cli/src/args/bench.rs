//! What `bench` takes.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, Args};

use super::values::span;

/// The flag `--bus` in the help of `bench`, which has another default than the other commands.
pub(super) fn bus_of_bench() -> Arg {
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
            "level", "mode", "strategy", "headers", "streams", "durability", "copies", "window", "senders", "topics",
            "markdown", "html", "baseline", "tolerance", "file",
        ]
    )]
    pub(crate) workload: Vec<String>,
    /// Publish at these rates instead of in bursts, in envelopes a second: N, N,N,N, or auto, which looks for the
    /// highest rate that holds --slo; latencies count from the time each envelope is due
    #[arg(
        long,
        value_name = "RATE",
        conflicts_with_all = OF_BURSTS
    )]
    pub(crate) rate: Option<String>,
    /// With --rate: how long each rate is held, such as 10s or 5m
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "10s", requires = "rate", conflicts_with_all = OF_BURSTS)]
    pub(crate) duration: Duration,
    /// With --rate: what p99 to the handler must stay below for a rate to hold, such as 50ms
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "50ms", requires = "rate", conflicts_with_all = OF_BURSTS)]
    pub(crate) slo: Duration,
    /// With --rate: hold it this long, such as 1h, and say whether memory, lag and throughput stay flat
    #[arg(long, value_name = "TIME", value_parser = span, requires = "rate", conflicts_with = "duration", conflicts_with_all = OF_BURSTS)]
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
    /// Results of earlier --json to report again, as one, instead of measuring: of one machine, version and set of
    /// servers; such as bursts.json,modes.json
    #[arg(long, value_name = "FILE", value_delimiter = ',', conflicts_with_all = OF_BURSTS, conflicts_with_all = OF_ALL)]
    pub(crate) results: Vec<std::path::PathBuf>,
    /// File for the report as Markdown; the table still goes to stdout [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<std::path::PathBuf>,
    /// File for the report as one page with plots, which needs no network [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<std::path::PathBuf>,
    /// With --json: the file that gets the results, the machine and every run; the table then goes to stdout
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<std::path::PathBuf>,
}

/// What is asked of bursts and workloads, and of no rate.
///
/// Each flag of a rate names all of them: one that needs `--rate` is ignored by clap, and not refused, beside a flag that
/// `--rate` does not go with.
const OF_BURSTS: [&str; 12] = [
    "level",
    "mode",
    "strategy",
    "headers",
    "streams",
    "durability",
    "copies",
    "runs",
    "senders",
    "workload",
    "baseline",
    "tolerance",
];

/// What else is asked of a measurement.
const OF_ALL: [&str; 4] = ["payload", "window", "topics", "rate"];

const BENCH_EXAMPLES: &str = "\
Examples:
  busline bench
  busline bench --level surge --mode async --topics 1 --runs 5
  busline bench --level all --json results.json
  busline bench --rate auto --slo 20ms --duration 5s
  busline bench --rate 2000 --soak 1h --bus nats://localhost:4222 --html soak.html
  busline bench --runs 5 --baseline results.json --tolerance 20
  busline bench --results bursts.json,modes.json --html report.html
  busline bench --workload consume,wake --runs 5
  busline bench --bus nats://localhost:4222 --strategy all --level extreme
  busline bench --bus nats://localhost:4222 --headers on,off --streams 1,2,4 --mode async
  busline bench --bus nats://localhost:4222 --bus kafka://localhost:9092 --durability written
  busline bench --bus sqlite:shop.db --bus nats://localhost:4222 --runs 5 --html report.html";

const BENCH_CONTRACT: &str = "\
Without --bus (or BUSLINE_URL) each run has a temporary SQLite file of its own. Beside each run
the native client stores the same rows in the same batch sizes, and reads them; on NATS it
publishes the same bytes in the same window. Its figures are checked in the same way, and every
figure is also given as a ratio to it. A speed is printed only after a dump of the store has shown
every envelope, and handlers got each, once and in order; else the exit status is 1. A SQLite file
is dumped by plain SQL, every other bus by the bounded reads of its driver.

--bus may be repeated, up to 8 times: each run then goes over all buses before the next one, on
topics with a random suffix that are deleted afterwards. One bus is called faster than another if
it was in every one of at least 5 runs.

--strategy, --headers and --streams are tried in every combination, in turn as several buses are;
a bus takes part with those that it has. What differs from the default stands behind its name:
nats/task-per-message, kafka/headers. All are judged by the same dump. What capped-256 refuses
lowers its success and leaves its speed out of every comparison; whatever else is lost fails the
run.

--baseline compares each figure's ratio to its native twin with that of an earlier --json, by
Welch's test on the logarithms of the runs: so the speed of the machine cancels out, and at most 1
in 100 comparisons of a bus with itself raises an alarm. Both sides need at least 3 runs of a
load. A figure that got worse beyond --tolerance is named first, and the exit status is 1.
docs/bench-json.md describes the file.

--results measures nothing: it reads what earlier --json have recorded and reports it again, as a
table, --markdown, --html or --json. Several files make one report, if one version measured them
on one machine and the same servers; a ratio is always of runs of one file.";
