//! What is published: levels as data, and the events of one run in their order.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use busline::{Envelope, Headers, Payload, RawJson};
use serde::{Deserialize, Serialize};

/// How much is published in one burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// 500 envelopes.
    Low,
    /// 2,000 envelopes.
    Medium,
    /// 5,000 envelopes.
    High,
    /// 10,000 envelopes.
    Extreme,
    /// 100,000 envelopes.
    Surge,
    /// 1,000,000 envelopes.
    Flood,
}

impl Level {
    /// All levels, smallest first.
    pub const ALL: [Self; 6] = [Self::Low, Self::Medium, Self::High, Self::Extreme, Self::Surge, Self::Flood];

    /// Number of envelopes.
    pub fn envelopes(self) -> u64 {
        match self {
            Self::Low => 500,
            Self::Medium => 2_000,
            Self::High => 5_000,
            Self::Extreme => 10_000,
            Self::Surge => 100_000,
            Self::Flood => 1_000_000,
        }
    }

    /// Size of a payload unless another is asked for. Unit: bytes. The first four are the predecessor's two small
    /// fields; the other two are what the speed targets are stated for.
    pub fn payload_bytes(self) -> usize {
        if self <= Self::Extreme { 41 } else { 256 }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Extreme => "extreme",
            Self::Surge => "surge",
            Self::Flood => "flood",
        }
    }
}

/// How each envelope is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `publish`: the next one goes as soon as this one is accepted.
    Async,
    /// `publish_sync`: the next one of a sender goes when this one is acked.
    Sync,
    /// `publish_batch`: a sender hands over many and waits for all.
    Batch,
    /// `publish_blocking`: as sync, by senders that are threads; one if nothing else is said.
    Blocking,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 4] = [Self::Async, Self::Sync, Self::Batch, Self::Blocking];

    /// The modes in which many senders make a burst.
    pub const BURSTS: [Self; 3] = [Self::Async, Self::Sync, Self::Batch];

    /// Whether a sender waits for each envelope's outcome before it publishes the next.
    pub(crate) fn waits_for_each(self) -> bool {
        matches!(self, Self::Sync | Self::Blocking)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Sync => "sync",
            Self::Batch => "batch",
            Self::Blocking => "blocking",
        }
    }
}

macro_rules! named {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $name {
            type Err = anyhow::Error;

            fn from_str(text: &str) -> Result<Self> {
                let known = Self::ALL.into_iter().find(|one| one.name() == text);
                known.with_context(|| {
                    format!(concat!("no ", $what, " '{}'; there are {}"), text, Self::ALL.map(Self::name).join(", "))
                })
            }
        }
    };
}

named!(Level, "level");
named!(Mode, "mode");

/// Topics of a level, as in the predecessor.
pub(crate) const TOPICS: usize = 5;

/// Tasks among which the aggregates of the largest levels are dealt out.
const SENDERS_OF_LARGE_LEVELS: usize = 2;

/// Envelopes of one call of `publish_batch` at most.
const BATCH_ENVELOPES_MAX: usize = 1_000;

/// One envelope in so many has its latency taken at the largest levels, where looking at each would be what is measured.
const LATENCY_SAMPLE_OF_LARGE_LEVELS: u64 = 16;

/// Of so many envelopes one has its latency taken.
pub(crate) fn latency_sample_of(level: Level, mode: Mode) -> u64 {
    if level >= Level::Surge && mode == Mode::Async { LATENCY_SAMPLE_OF_LARGE_LEVELS } else { 1 }
}

/// One burst, as data.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) level: Level,
    pub(crate) mode: Mode,
    pub(crate) envelopes: u64,
    pub(crate) topics: usize,
    pub(crate) aggregates: usize,
    /// Tasks that publish; each has its own aggregates, so that the order within an aggregate is its task's.
    pub(crate) senders: usize,
    pub(crate) window_envelopes: usize,
    pub(crate) batch_envelopes: usize,
    pub(crate) latency_sample: u64,
    /// Whether each envelope has its attributes as headers too.
    headers: bool,
    payload: Payload,
}

/// One event to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) aggregate: usize,
    /// Its place in the aggregate's history, from 1.
    pub(crate) version: u64,
}

/// What of a workload can be asked for differently.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) payload_bytes: Option<usize>,
    pub(crate) window_envelopes: usize,
    pub(crate) senders: Option<usize>,
    pub(crate) topics: usize,
}

impl Workload {
    pub(crate) fn new(level: Level, mode: Mode, shape: &Shape) -> Result<Self> {
        Self::of_size(level, mode, level.envelopes(), shape)
    }

    pub(crate) fn of_size(level: Level, mode: Mode, envelopes: u64, shape: &Shape) -> Result<Self> {
        let aggregates = (envelopes / 10).clamp(50, 1_000) as usize;
        let large = level >= Level::Surge;
        let one_for_each = !large || mode == Mode::Sync;
        let senders = match mode {
            Mode::Blocking => 1,
            _ if one_for_each => aggregates,
            _ => SENDERS_OF_LARGE_LEVELS,
        };
        Ok(Self {
            level,
            mode,
            envelopes,
            topics: shape.topics,
            aggregates,
            senders: shape.senders.unwrap_or(senders).min(aggregates),
            window_envelopes: shape.window_envelopes,
            batch_envelopes: BATCH_ENVELOPES_MAX,
            latency_sample: latency_sample_of(level, mode),
            headers: false,
            payload: payload_of(shape.payload_bytes.unwrap_or(level.payload_bytes()))?,
        })
    }

    /// So many envelopes, published by one loop; each has its latency taken.
    pub(crate) fn paced(envelopes: u64, shape: &Shape) -> Result<Self> {
        let workload = Self::of_size(Level::Surge, Mode::Async, envelopes, shape)?;
        Ok(Self { latency_sample: 1, ..workload })
    }

    /// The same with its attributes as headers too, or without.
    pub(crate) fn with_headers(self, headers: bool) -> Self {
        Self { headers, ..self }
    }

    /// The first events of it.
    #[cfg(any(feature = "sqlite", feature = "nats", feature = "kafka"))]
    pub(crate) fn cut_to(&self, envelopes: u64) -> Self {
        Self { envelopes, ..self.clone() }
    }

    /// The same of so many aggregates.
    #[cfg(feature = "sqlite")]
    pub(crate) fn with_aggregates(self, aggregates: usize) -> Self {
        Self { aggregates, ..self }
    }

    pub(crate) fn topic_of(&self, aggregate: usize) -> usize {
        aggregate % self.topics
    }

    /// Number of events of this aggregate.
    pub(crate) fn versions_of(&self, aggregate: usize) -> u64 {
        let (rounds, rest) = (self.envelopes / self.aggregates as u64, self.envelopes % self.aggregates as u64);
        rounds + u64::from((aggregate as u64) < rest)
    }

    /// All events, round by round over the aggregates: the order in which one loop publishes them.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        let aggregates = self.aggregates as u64;
        (0..self.envelopes).map(move |i| Event { aggregate: (i % aggregates) as usize, version: i / aggregates + 1 })
    }

    /// The events of one sender, in its order.
    pub(crate) fn events_of(&self, sender: usize) -> impl Iterator<Item = Event> + use<> {
        let (aggregates, step) = (self.aggregates as u64, self.senders);
        let envelopes = self.envelopes;
        (1..=envelopes.div_ceil(aggregates)).flat_map(move |version| {
            let in_round = aggregates.min(envelopes - (version - 1) * aggregates) as usize;
            (sender..in_round).step_by(step).map(move |aggregate| Event { aggregate, version })
        })
    }

    pub(crate) fn envelope(&self, event: Event) -> Envelope {
        let envelope =
            Envelope::new(key_of(event.aggregate), EVENT_TYPE, event.version).with_payload(self.payload.clone());
        if !self.headers {
            return envelope;
        }
        let id = envelope.id.clone();
        let [name, ..] = HEADERS;
        let rest = self.further_headers(event);
        rest.into_iter().fold(envelope.with_header(name, id), |it, (name, value)| it.with_header(name, value))
    }

    /// The headers behind the first one, which holds the envelope's id.
    fn further_headers(&self, event: Event) -> [(&'static str, String); 4] {
        let [_, kind, subject, sequence, version] = HEADERS;
        let key = key_of(event.aggregate);
        [(kind, EVENT_TYPE.into()), (subject, key), (sequence, event.version.to_string()), (version, "1.0".into())]
    }

    /// Whether these are the headers of this event under this id, in whatever order: the native client of NATS keeps
    /// them in a map, and that the bus keeps the order is a test of its own.
    pub(crate) fn is_headers_of(&self, event: Event, id: &str, headers: &Headers) -> bool {
        if !self.headers {
            return headers.is_empty();
        }
        let rest = self.further_headers(event);
        let rest = rest.iter().map(|(name, value)| (*name, value.as_bytes()));
        let mut planned: Vec<(&str, &[u8])> = [(HEADERS[0], id.as_bytes())].into_iter().chain(rest).collect();
        let mut found: Vec<(&str, &[u8])> =
            headers.iter().map(|header| (header.name.as_str(), &header.value[..])).collect();
        planned.sort_unstable();
        found.sort_unstable();
        found == planned
    }

    pub(crate) fn payload(&self) -> &Payload {
        &self.payload
    }
}

const EVENT_TYPE: &str = "MeasureTaken";

/// The CloudEvents attributes `id`, `type`, `subject`, `sequence` and `specversion` as headers. Not under `ce-`, which the
/// bus leaves to those who read that form.
const HEADERS: [&str; 5] = ["event-id", "event-type", "event-subject", "event-sequence", "event-specversion"];

/// The aggregate id of this number.
pub(crate) fn key_of(aggregate: usize) -> String {
    format!("aggregate-{aggregate:06}")
}

/// The number of this aggregate id.
pub(crate) fn aggregate_of(key: &str) -> Option<usize> {
    key.strip_prefix("aggregate-")?.parse().ok()
}

/// Smallest and largest payload, in bytes.
pub(crate) const PAYLOAD_BYTES: std::ops::RangeInclusive<usize> = 24..=900_000;

/// A JSON object of two fields and exactly this many bytes.
fn payload_of(bytes: usize) -> Result<Payload> {
    if !PAYLOAD_BYTES.contains(&bytes) {
        bail!("a payload of {bytes} bytes; use {} to {}", PAYLOAD_BYTES.start(), PAYLOAD_BYTES.end());
    }
    let frame = r#"{"value":42,"unit":""}"#;
    let text = format!(r#"{{"value":42,"unit":"{}"}}"#, "x".repeat(bytes - frame.len()));
    Ok(Payload::raw_json(RawJson::new(text)?))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn shape() -> Shape {
        Shape { payload_bytes: None, window_envelopes: 8_192, senders: None, topics: TOPICS }
    }

    #[test]
    fn levels_have_the_predecessors_shape() {
        for (level, aggregates) in
            [(Level::Low, 50), (Level::Medium, 200), (Level::High, 500), (Level::Extreme, 1_000), (Level::Flood, 1_000)]
        {
            let workload = Workload::new(level, Mode::Async, &shape()).expect("legal");
            assert_eq!(workload.aggregates, aggregates, "{level}");
            assert_eq!(workload.payload().bytes().len(), level.payload_bytes(), "{level}");
        }
        assert_eq!("surge".parse::<Level>().expect("a level"), Level::Surge);
        assert!("huge".parse::<Level>().is_err());
    }

    #[test]
    fn senders_publish_every_event_once_and_each_aggregate_in_order() {
        for (envelopes, senders) in [(500, Some(7)), (503, None), (49, Some(1)), (1_234, Some(2))] {
            let shape = Shape { senders, ..shape() };
            let workload = Workload::of_size(Level::Low, Mode::Async, envelopes, &shape).expect("legal");
            let mut last: HashMap<usize, u64> = HashMap::new();
            let mut count = 0;
            for sender in 0..workload.senders {
                for event in workload.events_of(sender) {
                    assert_eq!(last.insert(event.aggregate, event.version).unwrap_or(0) + 1, event.version);
                    count += 1;
                }
            }
            assert_eq!(count, envelopes);
            assert_eq!(workload.events().count() as u64, envelopes);
            assert!(last.iter().all(|(aggregate, version)| workload.versions_of(*aggregate) == *version));
        }
    }

    #[test]
    fn keys_can_be_read_back() {
        assert_eq!(aggregate_of(&key_of(999)), Some(999));
        assert_eq!(aggregate_of("order-1"), None);
    }
}
