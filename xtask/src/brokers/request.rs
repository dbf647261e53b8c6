//! What the task is asked to do.

use super::kind::Kind;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Start(Vec<Kind>),
    /// `None`: all that run.
    Stop(Option<Kind>),
    Status,
}

impl Request {
    /// Reads the words behind `cargo xtask brokers`.
    ///
    /// # Errors
    /// Words that are none of its, in a sentence.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let kind = |word: &str| Kind::parse(word).ok_or_else(|| format!("brokers has no server `{word}`"));
        match words {
            // What a comparison needs.
            ["start"] => Ok(Self::Start(vec![kind("nats")?, kind("kafka")?])),
            ["start", words @ ..] => Ok(Self::Start(words.iter().copied().map(kind).collect::<Result<_, _>>()?)),
            ["stop"] => Ok(Self::Stop(None)),
            ["stop", word] => Ok(Self::Stop(Some(kind(word)?))),
            ["status"] => Ok(Self::Status),
            _ => Err("brokers takes `start [KIND…]`, `stop [KIND]` or `status`".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let nats = Kind::parse("nats").expect("a kind");
        assert_eq!(Request::parse(&["start"]), Ok(Request::Start(vec![nats, Kind::Kafka])));
        assert_eq!(Request::parse(&["start", "kafka"]), Ok(Request::Start(vec![Kind::Kafka])));
        let clusters = vec![Kind::NatsCluster, Kind::KafkaCluster];
        assert_eq!(Request::parse(&["start", "nats-cluster", "kafka-cluster"]), Ok(Request::Start(clusters)));
        assert_eq!(Request::parse(&["stop"]), Ok(Request::Stop(None)));
        assert_eq!(Request::parse(&["stop", "kafka-cluster"]), Ok(Request::Stop(Some(Kind::KafkaCluster))));
        assert_eq!(Request::parse(&["status"]), Ok(Request::Status));
        assert!(Request::parse(&["start", "nats", "rabbit"]).is_err());
    }
}
