//! What JetStream answers to a published message.

use busline_core::Result;
use serde::Deserialize;

use crate::error::{ApiError, protocol};
use crate::protocol::{Message, parse_number};

/// The answer to one message, or to the end of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Stored, under this sequence; of a batch the last one, with the number of its records.
    Stored { seq: u64, count: Option<u64>, duplicate: bool },
    /// No stream takes the subject.
    NoResponders,
    /// Refused, or not known.
    Refused(ApiError),
    /// Taken, without a word on storage: the first message of an atomic batch.
    Taken,
    /// Fast ingest: everything up to `seq` of the batch is stored, and the next word comes `messages` later.
    Flow { seq: u64, messages: u64 },
    /// Fast ingest: message `seq` of the batch failed a check. It moves nothing; the end of the batch follows.
    Blame { seq: u64, error: ApiError },
    /// Fast ingest: a remark that moves nothing.
    Remark,
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// `Corrupt/Protocol`.
    pub(crate) fn read(message: &Message<'_>) -> Result<Self> {
        match message.status() {
            Some(503) => return Ok(Self::NoResponders),
            Some(status) => {
                let description = "a status in place of an answer".into();
                return Ok(Self::Refused(ApiError { code: status, err_code: 0, description }));
            }
            None => {}
        }
        if message.body.is_empty() {
            return Ok(Self::Taken);
        }
        // The usual answer, by hand: `{"stream":"S","seq":33}`. Errors carry a `seq` too, and everything longer may.
        if message.body.starts_with(b"{\"stream\":")
            && message.body.ends_with(b"}")
            && let Some(seq) = plain_sequence(message.body)
        {
            return Ok(Self::Stored { seq, count: None, duplicate: false });
        }
        if let Some(flow) = plain_flow(message.body) {
            return Ok(flow);
        }
        Self::read_json(message.body)
    }

    fn read_json(body: &[u8]) -> Result<Self> {
        let read: Long = serde_json::from_slice(body)
            .map_err(|error| protocol("an answer to a publish that cannot be read").because(error))?;
        Ok(match (read.kind.as_deref(), read.error) {
            (Some("ack"), _) => Self::Flow { seq: read.seq, messages: read.msgs },
            (Some("err"), Some(error)) => Self::Blame { seq: read.seq, error },
            (Some(_), _) => Self::Remark,
            (None, Some(error)) => Self::Refused(error),
            (None, None) => Self::Stored { seq: read.seq, count: read.count, duplicate: read.duplicate },
        })
    }
}

/// The sequence in an answer whose last member it is, and which holds nothing else but the stream.
fn plain_sequence(body: &[u8]) -> Option<u64> {
    let comma = memchr::memchr(b',', body)?;
    parse_number(body[comma..body.len() - 1].strip_prefix(b",\"seq\":")?)
}

/// `{"type":"ack","seq":s,"msgs":f}`.
fn plain_flow(body: &[u8]) -> Option<Answer> {
    let rest = body.strip_prefix(b"{\"type\":\"ack\",\"seq\":")?.strip_suffix(b"}")?;
    let comma = memchr::memchr(b',', rest)?;
    let messages = parse_number(rest[comma..].strip_prefix(b",\"msgs\":")?)?;
    Some(Answer::Flow { seq: parse_number(&rest[..comma])?, messages })
}

#[derive(Deserialize)]
struct Long {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    msgs: u64,
    count: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    error: Option<ApiError>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Answer {
        Answer::read(&Message { subject: b"r", reply: b"", headers: b"", body: body.as_bytes() }).expect("legal")
    }

    #[test]
    fn each_form_of_an_answer_is_told_apart() {
        let stored = |seq, count, duplicate| Answer::Stored { seq, count, duplicate };
        assert_eq!(read(r#"{"stream":"S","seq":33}"#), stored(33, None, false));
        assert_eq!(read(r#"{"stream":"S", "domain":"d", "seq":33}"#), stored(33, None, false));
        assert_eq!(read(r#"{"stream":"S","seq":34,"duplicate": true}"#), stored(34, None, true));
        assert_eq!(read(r#"{"stream":"S","seq":26,"batch":"u1","count":25}"#), stored(26, Some(25), false));
        assert_eq!(read(r#"{"type":"ack","seq":500,"msgs":250}"#), Answer::Flow { seq: 500, messages: 250 });
        assert_eq!(read(r#"{"type":"gap","last_seq":1,"seq":3}"#), Answer::Remark);
        let blame = read(r#"{"type":"err","seq":3,"error":{"code":400,"err_code":10071}}"#);
        assert!(matches!(blame, Answer::Blame { seq: 3, error } if error.err_code == 10_071));
        assert_eq!(read(""), Answer::Taken);
        let full = r#"{"error":{"code":429,"err_code":10167,"description":"x"},"stream":"S","seq":0}"#;
        assert!(matches!(read(full), Answer::Refused(error) if error.err_code == 10_167));
    }

    #[test]
    fn no_responders_is_a_status() {
        let message = Message { subject: b"r", reply: b"", headers: b"NATS/1.0 503\r\n\r\n", body: b"" };
        assert_eq!(Answer::read(&message).expect("legal"), Answer::NoResponders);
        let message = Message { subject: b"r", reply: b"", headers: b"", body: b"nonsense" };
        assert_eq!(Answer::read(&message).expect_err("refused").code(), "Corrupt/Protocol");
    }
}
