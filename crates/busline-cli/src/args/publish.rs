//! What `pub` takes.

use busline::{Format, Wire};
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};

use super::values::name_and_text;

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

/// Flags that make one event. Each says that it goes with no file: beside one, clap forgets that it needs a key.
#[derive(Debug, Args)]
#[command(next_help_heading = "One event by flags")]
pub(crate) struct Event {
    /// The aggregate id, for which order is kept: 1 to 256 bytes
    #[arg(long, requires = "event_type")]
    pub(crate) key: Option<String>,
    /// What happened, such as OrderPlaced
    #[arg(long = "type", value_name = "TYPE", requires = "key", conflicts_with = "file")]
    pub(crate) event_type: Option<String>,
    /// The payload; JSON unless --content-type says otherwise [default: no payload]
    #[arg(long, allow_negative_numbers = true, requires = "key", conflicts_with = "file")]
    pub(crate) data: Option<String>,
    /// The payload's media type [default: application/json]
    #[arg(long, value_name = "TYPE", requires = "data", conflicts_with = "file")]
    pub(crate) content_type: Option<String>,
    /// The event's place in its aggregate's history, counted from 1 [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, requires = "key", conflicts_with = "file")]
    pub(crate) version: Option<u64>,
    /// The event's id: 1 to 128 bytes [default: a new UUIDv7]
    #[arg(long, requires = "key", conflicts_with = "file")]
    pub(crate) id: Option<String>,
    /// When it happened, RFC 3339 with an offset [default: now, in UTC]
    #[arg(long, requires = "key", conflicts_with = "file")]
    pub(crate) time: Option<String>,
    /// Who published it, a URI reference [default: /busline/TOPIC]
    #[arg(long, value_name = "URI", requires = "key", conflicts_with = "file")]
    pub(crate) source: Option<String>,
    /// The shape of the payload, a URI [default: none]
    #[arg(long, value_name = "URI", requires = "key", conflicts_with = "file")]
    pub(crate) schema: Option<String>,
    /// Whose event it is [default: none]
    #[arg(long, requires = "key", conflicts_with = "file")]
    pub(crate) tenant: Option<String>,
    /// The larger piece of work it belongs to [default: none]
    #[arg(long, value_name = "ID", requires = "key", conflicts_with = "file")]
    pub(crate) correlation_id: Option<String>,
    /// The id of the event that caused it [default: none]
    #[arg(long, value_name = "ID", requires = "key", conflicts_with = "file")]
    pub(crate) causation_id: Option<String>,
    /// W3C trace context, version 00 [default: none]
    #[arg(long, value_name = "CONTEXT", requires = "key", conflicts_with = "file")]
    pub(crate) traceparent: Option<String>,
    /// A further attribute: 1 to 20 of a-z and 0-9, = and a text; may be repeated [default: none]
    #[arg(long, value_name = "NAME=TEXT", value_parser = name_and_text, requires = "key", conflicts_with = "file")]
    pub(crate) attribute: Vec<(String, String)>,
    /// A header of the transport; may be repeated [default: none]
    #[arg(long, value_name = "NAME=TEXT", value_parser = name_and_text, requires = "key", conflicts_with = "file")]
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
