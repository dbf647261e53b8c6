//! How a line of input ended, as it is printed, and the sum of all lines.

use std::fmt;
use std::time::Instant;

use busline::{Ack, Durability, Error, ErrorKind, Result, TopicName};
use serde::Serialize;

use super::Ended;

/// How a line of input ended.
pub(crate) enum Outcome {
    Acked(Ack),
    /// Certainly not stored.
    Failed(Error),
    /// Perhaps stored.
    Indeterminate(Error),
    /// Never accepted, since it is wrong in itself.
    Invalid(Error),
}

impl Outcome {
    /// What a receipt says.
    pub(crate) fn of(result: Result<Ack>) -> Self {
        match result {
            Ok(ack) => Self::Acked(ack),
            Err(error) if error.is_definite() => Self::Failed(error),
            Err(error) => Self::Indeterminate(error),
        }
    }

    /// What was never accepted: wrong in itself, or not taken any more.
    pub(crate) fn refused(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Closed | ErrorKind::Unavailable | ErrorKind::Internal => Self::Failed(error),
            _ => Self::Invalid(error),
        }
    }

    fn error(&self) -> Option<&Error> {
        match self {
            Self::Acked(_) => None,
            Self::Failed(error) | Self::Indeterminate(error) | Self::Invalid(error) => Some(error),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Acked(_) => "acked",
            Self::Failed(_) => "failed",
            Self::Indeterminate(_) => "indeterminate",
            Self::Invalid(_) => "invalid",
        }
    }
}

/// One line of `pub --json`.
#[derive(Serialize)]
pub(crate) struct OutcomeView<'a> {
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outcome: &'static str,
    #[serde(flatten)]
    end: End,
}

#[derive(Serialize)]
#[serde(untagged)]
enum End {
    Acked { partition: u32, offset: Option<u64>, duplicate: bool, durability: String, copies: u8 },
    NotAcked { error: String, message: String },
}

impl<'a> OutcomeView<'a> {
    pub(crate) fn of(line: u64, id: Option<&'a str>, outcome: &Outcome) -> Self {
        let end = match (outcome, outcome.error()) {
            (Outcome::Acked(ack), _) => End::Acked {
                partition: ack.partition.0,
                offset: ack.offset.map(|offset| offset.0),
                duplicate: ack.duplicate,
                durability: ack.durability.medium.to_string(),
                copies: ack.durability.copies,
            },
            (_, error) => End::NotAcked {
                error: error.map(Error::code).unwrap_or_default(),
                message: error.map(ToString::to_string).unwrap_or_default(),
            },
        };
        Self { line, id, outcome: outcome.name(), end }
    }
}

impl fmt::Display for OutcomeView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.outcome)?;
        match &self.end {
            End::Acked { .. } => Ok(()),
            End::NotAcked { message, .. } => write!(f, ": {message}"),
        }
    }
}

/// The sum of all lines.
pub(crate) struct Summary {
    begun: Instant,
    acked: u64,
    failed: u64,
    indeterminate: u64,
    invalid: u64,
    /// Of the last ack; it is the same for all of one publisher.
    durability: Option<Durability>,
}

impl Summary {
    pub(crate) fn new(begun: Instant) -> Self {
        Self { begun, acked: 0, failed: 0, indeterminate: 0, invalid: 0, durability: None }
    }

    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Acked(ack) => {
                self.acked += 1;
                self.durability = Some(ack.durability);
            }
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Indeterminate(_) => self.indeterminate += 1,
            Outcome::Invalid(_) => self.invalid += 1,
        }
    }

    pub(crate) fn settled(&self) -> u64 {
        self.acked + self.not_acked()
    }

    fn not_acked(&self) -> u64 {
        self.failed + self.indeterminate + self.invalid
    }

    /// Whether every line was acked.
    pub(crate) fn ended(&self) -> Ended {
        if self.not_acked() == 0 { Ended::Done } else { Ended::SomeFailed }
    }

    /// `orders: 1998 acked (synced × 1), 2 invalid, in 0.41 s`; what there is none of is left out.
    pub(crate) fn text(&self, topic: &TopicName, now: Instant) -> String {
        let mut parts = vec![match self.durability {
            Some(durability) => format!("{} acked ({durability})", self.acked),
            None => "0 acked".into(),
        }];
        let others = [(self.failed, "failed"), (self.indeterminate, "indeterminate"), (self.invalid, "invalid")];
        parts.extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")));
        format!("{topic}: {}, in {:.2} s", parts.join(", "), now.duration_since(self.begun).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use busline::{Medium, Offset, Partition};

    use super::*;

    fn ack(offset: Option<u64>) -> Outcome {
        Outcome::of(Ok(Ack {
            partition: Partition(0),
            offset: offset.map(Offset),
            duplicate: false,
            durability: Durability::one(Medium::Synced),
        }))
    }

    #[track_caller]
    fn prints(line: u64, id: Option<&str>, outcome: &Outcome, expected: &str) {
        assert_eq!(serde_json::to_string(&OutcomeView::of(line, id, outcome)).expect("json"), expected);
    }

    #[test]
    fn each_outcome_is_one_line_of_the_contract() {
        prints(
            1,
            Some("e1"),
            &ack(Some(12)),
            r#"{"line":1,"id":"e1","outcome":"acked","partition":0,"offset":12,"duplicate":false,"durability":"synced","copies":1}"#,
        );
        prints(
            2,
            Some("e2"),
            &ack(None),
            r#"{"line":2,"id":"e2","outcome":"acked","partition":0,"offset":null,"duplicate":false,"durability":"synced","copies":1}"#,
        );
        let error = Error::new(ErrorKind::Timeout, "Deadline").at("publish", "orders");
        prints(
            3,
            Some("e3"),
            &Outcome::of(Err(error.clone())),
            r#"{"line":3,"id":"e3","outcome":"failed","error":"Timeout/Deadline","message":"publish orders: Timeout/Deadline"}"#,
        );
        prints(
            4,
            Some("e4"),
            &Outcome::of(Err(error.indeterminate())),
            r#"{"line":4,"id":"e4","outcome":"indeterminate","error":"Timeout/Deadline","message":"publish orders: Timeout/Deadline (indeterminate: perhaps stored)"}"#,
        );
        prints(
            5,
            None,
            &Outcome::refused(Error::invalid("Line")),
            r#"{"line":5,"outcome":"invalid","error":"Invalid/Line","message":"Invalid/Line"}"#,
        );
    }

    #[test]
    fn the_summary_names_what_there_is() {
        let begun = Instant::now();
        let topic = TopicName::new("orders").expect("legal");
        let mut summary = Summary::new(begun);
        assert_eq!(summary.text(&topic, begun), "orders: 0 acked, in 0.00 s");
        assert_eq!(summary.ended(), Ended::Done);
        summary.count(&ack(Some(1)));
        summary.count(&Outcome::Invalid(Error::invalid("Line")));
        let later = begun + Duration::from_millis(412);
        assert_eq!(summary.text(&topic, later), "orders: 1 acked (synced × 1), 1 invalid, in 0.41 s");
        assert_eq!(summary.ended(), Ended::SomeFailed);
    }
}
