//! From the server's and the client's answers to the bus's errors: one mapping, by code, never by text.

use std::time::Duration;

use busline_core::{Error, ErrorKind};
use serde::Deserialize;

/// The error object of an answer of JetStream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct ApiError {
    /// An HTTP-like class.
    pub(crate) code: u16,
    /// What really happened.
    pub(crate) err_code: u16,
    /// In words.
    pub(crate) description: String,
}

/// Error codes of JetStream that the driver tells apart.
pub(crate) mod code {
    pub(crate) const STREAM_NOT_FOUND: u16 = 10_059;
    pub(crate) const STREAM_NAME_IN_USE: u16 = 10_058;
    pub(crate) const NO_MESSAGE: u16 = 10_037;
    pub(crate) const STREAM_WRONG_SEQUENCE: [u16; 2] = [10_071, 10_164];
    pub(crate) const MESSAGE_TOO_LARGE: u16 = 10_054;
    pub(crate) const STORE_FAILED: u16 = 10_077;
    pub(crate) const TOO_MANY_REQUESTS: u16 = 10_167;
    pub(crate) const BATCH_OFF: u16 = 10_174;
    pub(crate) const BATCH_INCOMPLETE: u16 = 10_176;
    pub(crate) const BATCH_TOO_LARGE: u16 = 10_199;
    pub(crate) const BATCH_DUPLICATE: u16 = 10_201;
    pub(crate) const BATCH_TOO_MANY: u16 = 10_210;
    pub(crate) const FAST_OFF: u16 = 10_205;
    pub(crate) const FAST_UNKNOWN: u16 = 10_208;
    pub(crate) const FAST_TOO_MANY: u16 = 10_211;
}

/// What an answer to an administrative call means; the error is definite.
pub(crate) fn from_api(error: &ApiError) -> Error {
    let (kind, reason, next) = match error.err_code {
        code::STREAM_NOT_FOUND => (ErrorKind::NotFound, "Topic", "create it with 'busline topic create'"),
        code::STREAM_NAME_IN_USE => {
            (ErrorKind::AlreadyExists, "Stream", "a stream of this name holds something else: choose another topic")
        }
        10_074 | 10_005 => {
            (ErrorKind::Unsupported, "Replicas", "ask for fewer replicas, or add servers to the cluster")
        }
        10_065 => (ErrorKind::AlreadyExists, "Subjects", "another stream takes these subjects: choose another topic"),
        10_026 | 10_027 => (ErrorKind::Unavailable, "StreamsMax", "raise the account's limit of streams"),
        10_028 | 10_047 | 10_023 => (ErrorKind::Unavailable, "Resources", "free disk or memory of the server"),
        10_039 | 10_076 => (ErrorKind::Unsupported, "JetStream", "enable JetStream for this account on the server"),
        10_052 => (ErrorKind::Unsupported, "StreamConfig", "change the topic's spec to what the server takes"),
        _ if matches!(error.code, 429 | 503) => (ErrorKind::Unavailable, "Server", "look at the server's log"),
        _ => (ErrorKind::Internal, "JetStream", "report this with the text before it"),
    };
    Error::new(kind, reason).cause(format!("{} ({})", error.description, error.err_code)).next(next)
}

/// What the answer to one published record means for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not stored; the same copy may be sent again.
    Transient,
    /// Not stored, and never will be.
    Final,
    /// Perhaps stored: to be found out.
    Unknown,
}

/// The class of an error in a publish answer.
pub(crate) fn refusal(error: &ApiError) -> Refusal {
    match error.err_code {
        code::TOO_MANY_REQUESTS | code::BATCH_TOO_MANY | code::FAST_TOO_MANY | 10_163 => Refusal::Transient,
        code::MESSAGE_TOO_LARGE | 10_165 | 10_166 | 10_060 | 10_070 | code::FAST_OFF | code::BATCH_OFF => {
            Refusal::Final
        }
        10_097 | code::BATCH_TOO_LARGE => Refusal::Final,
        // The server knows of no better code for a full stream, so the beginning of its text decides, in favour of
        // "unknown" for every text that is not known.
        code::STORE_FAILED if error.description.starts_with("maximum ") => Refusal::Final,
        _ => Refusal::Unknown,
    }
}

/// The error of a record that the server refused for good.
pub(crate) fn refused(error: &ApiError) -> Error {
    let (kind, reason, next) = match error.err_code {
        code::MESSAGE_TOO_LARGE | 10_097 => {
            (ErrorKind::TooLarge, "Record", "publish smaller envelopes, or raise the stream's limit")
        }
        code::STORE_FAILED => (ErrorKind::Unavailable, "TopicFull", "raise the stream's limits or trim the topic"),
        _ => (ErrorKind::Unavailable, "Refused", "look at the stream's configuration"),
    };
    Error::new(kind, reason).cause(format!("{} ({})", error.description, error.err_code)).next(next)
}

/// The server does not answer, or not in time.
pub(crate) fn unreachable(cause: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unavailable, "Server")
        .cause(cause)
        .next("see whether the server runs and can be reached; the call may be tried again")
}

/// No answer came within this time, or none can come any more on this connection.
pub(crate) fn unanswered(within: Duration) -> Error {
    unreachable(format!("no answer within {within:?}, or the connection was lost"))
}

/// The server said something that the protocol does not know.
pub(crate) fn protocol(cause: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, "Protocol").cause(cause).next("check what listens at this address")
}

/// What the client's refusal to connect means. The client's own texts hold addresses, never secrets.
pub(crate) fn from_connect(error: &async_nats::ConnectError) -> Error {
    tls_alert(error).unwrap_or_else(|| from_connect_kind(error.kind()))
}

/// The same, of the kind alone.
pub(crate) fn from_connect_kind(kind: async_nats::ConnectErrorKind) -> Error {
    use async_nats::ConnectErrorKind as Kind;
    match kind {
        Kind::Authentication | Kind::AuthorizationViolation => denied(),
        Kind::Tls => tls_failed("the TLS handshake failed"),
        Kind::Dns => unreachable("the server's name cannot be resolved"),
        Kind::TimedOut => unreachable("no answer within the time limit"),
        _ => unreachable("the connection failed"),
    }
}

/// The server refuses the credentials.
pub(crate) fn denied() -> Error {
    Error::new(ErrorKind::Denied, "Credentials")
        .cause("the server refuses the credentials")
        .next("check user, token, key or credentials file")
}

/// One side does not trust the other's certificate, or does not speak TLS.
pub(crate) fn tls_failed(cause: impl Into<String>) -> Error {
    Error::new(ErrorKind::Denied, "Tls").cause(cause).next("check certificates, names and 'ca=' in the URL")
}

/// What ended a connection that was just made. A server that does not accept the client's certificate says so when
/// the client's side of the handshake is over already.
pub(crate) fn ended_early(error: std::io::Error) -> Error {
    tls_alert(&error).unwrap_or_else(|| unreachable("the connection failed").because(error))
}

/// The complaint of either side's TLS, if this is one or comes from one.
fn tls_alert(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    if let Some(alert) = error.downcast_ref::<async_nats::rustls::Error>() {
        return Some(tls_failed(format!("the TLS handshake failed: {alert}")));
    }
    // What an I/O error wraps is not its source but the error itself.
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let inner = inner.map(|inner| inner as &(dyn std::error::Error + 'static));
    inner.or_else(|| error.source()).and_then(tls_alert)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(err_code: u16, code: u16, description: &str) -> ApiError {
        ApiError { code, err_code, description: description.into() }
    }

    #[test]
    fn each_administrative_code_has_its_kind_and_reason() {
        for (err_code, class, expected) in [
            (10_059, 404, "NotFound/Topic"),
            (10_058, 400, "AlreadyExists/Stream"),
            (10_074, 400, "Unsupported/Replicas"),
            (10_065, 400, "AlreadyExists/Subjects"),
            (10_052, 500, "Unsupported/StreamConfig"),
            (10_008, 503, "Unavailable/Server"),
            (1, 400, "Internal/JetStream"),
        ] {
            assert_eq!(from_api(&error(err_code, class, "")).code(), expected);
        }
    }

    #[test]
    fn a_publish_error_that_proves_nothing_is_unknown() {
        for (err_code, description, expected) in [
            (10_167, "too many requests", Refusal::Transient),
            (10_211, "", Refusal::Transient),
            (10_054, "", Refusal::Final),
            (10_077, "maximum messages exceeded", Refusal::Final),
            (10_077, "insufficient resources", Refusal::Unknown),
            (10_077, "write failed", Refusal::Unknown),
            (10_158, "", Refusal::Unknown),
            (10_008, "", Refusal::Unknown),
            (9_999, "", Refusal::Unknown),
        ] {
            assert_eq!(refusal(&error(err_code, 0, description)), expected, "{err_code} {description}");
        }
    }
}
