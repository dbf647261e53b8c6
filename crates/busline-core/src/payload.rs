//! The data of an event, and what kind of data it says it is.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::control::control_character;
use crate::error::{Error, Result, escaped};

/// The content type of a payload that names none.
pub const JSON_CONTENT_TYPE: &str = "application/json";

/// Bytes that are known to be one JSON text; they are never parsed again and never re-written.
#[derive(Clone, PartialEq, Eq)]
pub struct RawJson(Bytes);

impl RawJson {
    /// Checks that the bytes are one JSON text, without a limit on its depth.
    ///
    /// # Errors
    /// `Invalid/PayloadNotUtf8` or `Invalid/PayloadNotJson`.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| not_utf8(format!("not UTF-8 from byte {}", error.valid_up_to())))?;
        // A raw value is skipped over without recursion, so that 10,000 levels cost no stack.
        serde_json::from_str::<&RawValue>(text).map_err(|error| {
            Error::invalid("PayloadNotJson")
                .cause(format!("no JSON at line {} column {}", error.line(), error.column()))
                .next("give one JSON text, or declare another content type")
        })?;
        let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
        let start = trimmed.as_ptr() as usize - text.as_ptr() as usize;
        Ok(Self(bytes.slice(start..start + trimmed.len())))
    }

    /// Bytes that a JSON writer or a checked parser has just produced.
    pub(crate) fn trusted(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The JSON text.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawJson({} bytes)", self.0.len())
    }
}

/// The data of an event, with its content type.
///
/// `Debug` shows the size, never the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    content: Content,
    bytes: Bytes,
}

#[derive(Clone, PartialEq, Eq)]
enum Content {
    None,
    Json(Option<Arc<str>>),
    Other(Arc<str>),
}

impl Payload {
    /// No data at all.
    pub fn none() -> Self {
        Self { content: Content::None, bytes: Bytes::new() }
    }

    /// This value as JSON.
    ///
    /// # Errors
    /// `Invalid/PayloadNotJson` if the value cannot be written as JSON, `Invalid/EncoderPanicked` if its own code panics.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        // What was written of the value is thrown away, so nothing half made is seen behind a panic.
        let written = catch_unwind(AssertUnwindSafe(|| serde_json::to_vec(value)));
        let bytes = match written {
            Ok(Ok(bytes)) => bytes,
            // The writer's own text may quote the value.
            Ok(Err(_)) => return Err(not_written("PayloadNotJson", "cannot be written as JSON")),
            Err(_) => return Err(not_written("EncoderPanicked", "panicked while it was written as JSON")),
        };
        Ok(Self { content: Content::Json(None), bytes: bytes.into() })
    }

    /// A JSON text, kept as it is.
    pub fn raw_json(json: RawJson) -> Self {
        Self { content: Content::Json(None), bytes: json.0 }
    }

    /// Bytes of this content type; those of JSON types (`…/json`, `…+json`) are checked.
    ///
    /// # Errors
    /// `Invalid/PayloadNotJson` or `PayloadNotUtf8` if the type is JSON and the bytes are not;
    /// `Invalid/PayloadNotUtf8` also for `text/…`; `Invalid/ContentType` if it is empty or holds a control character.
    pub fn bytes_of(content_type: &str, bytes: impl Into<Bytes>) -> Result<Self> {
        let named = if content_type.is_empty() { "''" } else { content_type };
        Self::checked(content_type, bytes.into()).map_err(|error| error.at("payload", named))
    }

    /// As [`Payload::bytes_of`], with an error for who reads more than a payload to place.
    pub(crate) fn checked(content_type: &str, bytes: Bytes) -> Result<Self> {
        check_content_type(content_type)?;
        if is_json_type(content_type) {
            let kept = (content_type != JSON_CONTENT_TYPE).then(|| content_type.into());
            return Ok(Self { content: Content::Json(kept), bytes: RawJson::new(bytes)?.0 });
        }
        check_text(content_type, &bytes)?;
        Ok(Self { content: Content::Other(content_type.into()), bytes })
    }

    /// Bytes of another content type, as a decoder found them: text in a foreign character set is passed on.
    pub(crate) fn trusted_bytes(content_type: &str, bytes: Bytes) -> Self {
        Self { content: Content::Other(content_type.into()), bytes }
    }

    /// Checks what a decoder lets pass: a reader is not to lose text of a foreign character set, a publisher is to name it.
    pub(crate) fn check_declared(&self) -> Result<()> {
        match &self.content {
            Content::Other(content_type) => check_text(content_type, &self.bytes),
            Content::None | Content::Json(_) => Ok(()),
        }
    }

    /// Parts of a record that a decoder has checked.
    pub(crate) fn trusted_json(content_type: Option<&str>, bytes: Bytes) -> Self {
        let kept = content_type.filter(|given| *given != JSON_CONTENT_TYPE).map(Into::into);
        Self { content: Content::Json(kept), bytes }
    }

    /// The content type, or `None` if there is no data.
    pub fn content_type(&self) -> Option<&str> {
        match &self.content {
            Content::None => None,
            Content::Json(None) => Some(JSON_CONTENT_TYPE),
            Content::Json(Some(other)) | Content::Other(other) => Some(other),
        }
    }

    /// Whether the bytes are one JSON text.
    pub fn is_json(&self) -> bool {
        matches!(self.content, Content::Json(_))
    }

    /// The bytes; empty if there is no data.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The JSON payload as a value of this type.
    ///
    /// # Errors
    /// `Invalid/PayloadType` if the payload is no JSON or does not fit the type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.bytes).map_err(|error| {
            // The parser's own text may quote the payload, so only the place is given.
            Error::invalid("PayloadType")
                .cause(format!("does not fit the type at line {} column {}", error.line(), error.column()))
                .next("compare the payload's schema with the type")
        })
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({}, {} bytes)", self.content_type().unwrap_or("none"), self.bytes.len())
    }
}

fn not_written(reason: &'static str, what: &str) -> Error {
    Error::invalid(reason)
        .cause(format!("the value {what}"))
        .next("use a type that serde_json can write, such as maps with text keys")
        .at("payload", JSON_CONTENT_TYPE)
}

fn check_content_type(content_type: &str) -> Result<()> {
    if content_type.is_empty() || control_character(content_type).is_some() {
        return Err(Error::invalid("ContentType")
            .cause(format!("'{}'", escaped(content_type)))
            .next("name a media type, such as application/json or application/octet-stream"));
    }
    Ok(())
}

fn check_text(content_type: &str, bytes: &[u8]) -> Result<()> {
    if !content_type.starts_with("text/") || std::str::from_utf8(bytes).is_ok() {
        return Ok(());
    }
    Err(not_utf8(format!("declared {content_type}")))
}

fn not_utf8(cause: String) -> Error {
    Error::invalid("PayloadNotUtf8").cause(cause).next("declare a binary content type, or encode the text as UTF-8")
}

/// Whether a media type says JSON: its subtype is `json` or ends in `+json`, in whatever case.
pub(crate) fn is_json_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or("").trim().as_bytes();
    essence.last_chunk::<5>().is_some_and(|end| matches!(end[0], b'/' | b'+') && end[1..].eq_ignore_ascii_case(b"json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_say_json_only_if_they_are() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(Payload::bytes_of("application/json", deep).expect("deep JSON").is_json());
        for (kind, bytes, reason) in [
            ("application/json", &b""[..], "PayloadNotJson"),
            ("application/json", b"{", "PayloadNotJson"),
            ("application/vnd.x+json", b"\xff", "PayloadNotUtf8"),
            ("text/plain", b"\xff", "PayloadNotUtf8"),
            ("", b"", "ContentType"),
        ] {
            let error = Payload::bytes_of(kind, Bytes::from_static(bytes)).expect_err("refused");
            assert_eq!(error.reason(), reason);
        }
        let empty = Payload::bytes_of("application/octet-stream", "").expect("empty bytes are legal");
        assert_eq!(empty.content_type(), Some("application/octet-stream"));
        assert_eq!(Payload::bytes_of("application/json", " [1] \n").expect("JSON").bytes(), "[1]");
    }

    #[test]
    fn a_value_that_cannot_be_written_is_refused_whatever_its_code_does() {
        struct Panics;
        impl Serialize for Panics {
            fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
                panic!("secret of the test")
            }
        }
        let keys_that_are_no_text = std::collections::HashMap::from([(vec![1], "secret")]);
        for (payload, code) in [
            (Payload::json(&Panics), "Invalid/EncoderPanicked"),
            (Payload::json(&keys_that_are_no_text), "Invalid/PayloadNotJson"),
        ] {
            let error = payload.expect_err(code);
            assert!(error.code() == code && !error.to_string().contains("secret"), "{error}");
        }
    }
}
