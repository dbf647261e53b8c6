//! The strategies by name.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result};
use serde::{Deserialize, Serialize};

/// How envelopes are published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The bus, by the best way its driver has.
    #[default]
    Fast,
    /// A message and an ack for each envelope, as many awaited at once as the window holds: on NATS by the bus's own
    /// driver, on Kafka by the native client, with a future for each message.
    Pipelined,
    /// The native client with headers, and for each message a task, a timer and a channel that waits for its ack.
    TaskPerMessage,
    /// The native client with at most 256 messages in flight; what does not fit is an error, as in the predecessor.
    #[serde(rename = "capped-256")]
    Capped256,
}

impl Strategy {
    /// All strategies.
    pub const ALL: [Self; 4] = [Self::Fast, Self::Pipelined, Self::TaskPerMessage, Self::Capped256];

    fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Pipelined => "pipelined",
            Self::TaskPerMessage => "task-per-message",
            Self::Capped256 => "capped-256",
        }
    }

    /// Whether a bus of this backend can be published to in this way.
    pub(crate) fn exists_on(self, backend: &str) -> bool {
        self == Self::Fast || matches!(backend, "nats" | "kafka")
    }

    /// Whether it publishes by the native client on this backend, instead of by the bus.
    #[cfg(any(feature = "nats", feature = "kafka"))]
    pub(super) fn is_raw_on(self, backend: &str) -> bool {
        match self {
            Self::Fast => false,
            Self::Pipelined => backend == "kafka",
            Self::TaskPerMessage | Self::Capped256 => true,
        }
    }

    /// Whether it refuses what does not fit, instead of waiting.
    pub(crate) fn refuses(self) -> bool {
        self == Self::Capped256
    }

    /// Whether messages have headers unless it is said otherwise.
    pub(crate) fn has_headers(self) -> bool {
        self == Self::TaskPerMessage
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Strategy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|one| one.name() == text);
        known.with_context(|| format!("no strategy '{text}'; there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_as_they_are_shown() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.to_string().parse::<Strategy>().expect("a name"), strategy);
            assert_eq!(serde_json::to_value(strategy).expect("json"), strategy.to_string());
        }
        assert!("slow".parse::<Strategy>().expect_err("none").to_string().contains("task-per-message"));
    }

    #[test]
    fn the_ways_of_before_are_those_of_the_two_servers() {
        for backend in ["sqlite", "memory"] {
            let there: Vec<Strategy> = Strategy::ALL.into_iter().filter(|it| it.exists_on(backend)).collect();
            assert_eq!(there, [Strategy::Fast], "{backend}");
        }
        assert!(Strategy::ALL.into_iter().all(|it| it.exists_on("nats") && it.exists_on("kafka")));
    }
}
