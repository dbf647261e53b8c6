//! What `canary` takes.

use std::time::Duration;

use clap::Args;

use super::values::span;

/// Flags of `canary`.
#[derive(Debug, Args)]
#[command(after_help = CANARY_EXAMPLES, after_long_help = format!("{CANARY_EXAMPLES}\n\n{CANARY_CONTRACT}"))]
pub(crate) struct Canary {
    /// The topic of the probes, which nothing else should use; it is made if it is missing, and keeps them for an hour
    #[arg(default_value = "busline-canary")]
    pub(crate) topic: String,
    /// Time between two probes, at least 10ms
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "1s")]
    pub(crate) every: Duration,
    /// End after this many probes [default: probe until Ctrl-C]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// What a probe may take, to its ack and on to the handler, from 100ms to 1h: else it has failed
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "5s")]
    pub(crate) within: Duration,
}

const CANARY_EXAMPLES: &str = "\
Examples:
  busline canary --bus nats://localhost:4222
  busline canary --count 10 --every 100ms
  busline canary --within 500ms --json --bus kafka://localhost:9092";

const CANARY_CONTRACT: &str = "\
Each probe is one small event of the type CanaryProbe, published as any other and awaited by a
member of a group of its own: so what answers is everything between an application and its
handler. A line says how long the ack and the handler took. A probe that is not acked, or does not
come to the handler in time, is a line with its error, and the exit status at the end is 1. Sixteen
keys take turns, so that every partition is probed. The group is deleted at the end; the topic
stays.";
