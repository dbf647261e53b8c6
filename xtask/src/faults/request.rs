//! What the task is asked to do.

use std::path::PathBuf;

/// How many acked records a run is to have unless another number is asked for.
const ACKED: u64 = 5_000_000;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) backend: Backend,
    /// Rounds go on until so many records were acked.
    pub(crate) acked: u64,
    /// Where the report goes.
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Nats,
    Kafka,
}

impl Backend {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Kafka => "kafka",
        }
    }

    /// Words of `cargo test` that choose the tests whose loads are judged.
    pub(crate) fn tests(self) -> &'static str {
        match self {
            Self::Nats => "--package busline-nats --test faults -- restarts:: cuts:: clusters::",
            Self::Kafka => {
                "--package busline-kafka --test faults --test clusters -- \
                 killed:: network:: fresh_topics:: one_of_three::"
            }
        }
    }
}

impl Request {
    /// Reads the words behind `cargo xtask faults`.
    ///
    /// # Errors
    /// Words that are none of its, in a sentence.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let Some((backend, mut flags)) = words.split_first() else {
            return Err("faults takes a backend: nats or kafka".into());
        };
        let backend = match *backend {
            "nats" => Backend::Nats,
            "kafka" => Backend::Kafka,
            other => return Err(format!("faults has no backend `{other}`: nats or kafka")),
        };
        let mut request = Self { backend, acked: ACKED, json: None };
        while let [flag, value, rest @ ..] = flags {
            match *flag {
                "--acked" => request.acked = number(value)?,
                "--json" => request.json = Some(value.into()),
                other => return Err(format!("faults has no flag `{other}`")),
            }
            flags = rest;
        }
        match flags {
            [] => Ok(request),
            [flag, ..] => Err(format!("faults: `{flag}` is no flag with a value")),
        }
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.replace([',', '_'], "").parse().map_err(|_| format!("faults: `{text}` is no number of records"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let request = Request { backend: Backend::Nats, acked: ACKED, json: None };
        assert_eq!(Request::parse(&["nats"]), Ok(request));
        let request = Request { backend: Backend::Kafka, acked: 20_000, json: Some("r.json".into()) };
        assert_eq!(Request::parse(&["kafka", "--json", "r.json", "--acked", "20,000"]), Ok(request));
    }

    #[test]
    fn wrong_words_are_told() {
        for words in [&[][..], &["redis"], &["nats", "--acked"], &["nats", "--acked", "many"], &["nats", "--fast", "1"]]
        {
            assert!(Request::parse(words).is_err(), "{words:?}");
        }
    }
}
