//! An envelope as a line of NDJSON: what `pub` reads and what `sub --json` writes.

use std::borrow::Cow;
use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use busline::{Envelope, Error, ErrorKind, Format, Header, Headers, Result, TopicName, Wire};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The envelope in a line of input.
///
/// A flat event without an id gets a new one; an empty id is none. With [`Format::Auto`] the line may also be one of `sub --json`.
///
/// # Errors
/// `Invalid/Line` for what is not one JSON object; `Invalid/EmptyField` as [`check_texts`] says and for an empty id; else
/// those of [`Format::decode`].
pub(crate) fn read_line(line: &Bytes, format: Format) -> Result<Envelope> {
    let is_object = line.trim_ascii_start().starts_with(b"{");
    let is_new_id = Cell::new(false);
    let decoded = format.decode(line, || {
        is_new_id.set(true);
        new_id()
    });
    let envelope = match decoded {
        Err(error) if is_object && error.code() == "Corrupt/NoEnvelope" => match format {
            Format::Auto => copied(line).unwrap_or(Err(error)),
            _ => Err(error),
        },
        Err(error) if error.kind() == ErrorKind::Corrupt && error.reason() != "NoKey" => Err(not_a_line(line, &error)),
        envelope => envelope,
    }?;
    if is_new_id.get() && has_empty_id(line) {
        return Err(empty("event_id"));
    }
    check_texts(&envelope)?;
    Ok(envelope)
}

fn new_id() -> String {
    Envelope::new("", "", 1).id
}

/// Whether a flat event without an id has an empty one, which reading a stored record takes for none.
fn has_empty_id(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Id<'a> {
        #[serde(borrow, default)]
        event_id: Option<Cow<'a, str>>,
    }
    serde_json::from_slice::<Id<'_>>(line).is_ok_and(|Id { event_id }| event_id.is_some())
}

/// Refuses an empty text where a field may be left out: CloudEvents knows none.
///
/// # Errors
/// `Invalid/EmptyField`.
pub(crate) fn check_texts(envelope: &Envelope) -> Result<()> {
    let texts = [
        ("source", &envelope.source),
        ("schema", &envelope.schema),
        ("tenant", &envelope.tenant),
        ("correlation_id", &envelope.correlation_id),
        ("causation_id", &envelope.causation_id),
    ];
    match texts.into_iter().find(|(_, text)| text.as_deref() == Some("")) {
        Some((field, _)) => Err(empty(field)),
        None => Ok(()),
    }
}

fn empty(field: &str) -> Error {
    Error::invalid("EmptyField")
        .cause(format!("{field} is empty"))
        .next(format!("give {field} at least one character, or leave it out"))
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Damage is said of what was stored; a line of input is only wrong.
fn not_a_line(line: &[u8], error: &Error) -> Error {
    let cause = match error.reason() {
        "NoEnvelope" if line.starts_with(BYTE_ORDER_MARK) => "it begins with a byte order mark",
        "NoEnvelope" => "it does not begin with '{'",
        "NotUtf8" => "it is not UTF-8",
        "Truncated" => "its JSON ends early",
        "TrailingBytes" => "something follows the JSON object",
        "Base64" => "its payload is not base64",
        _ => "it is not JSON",
    };
    Error::invalid("Line").cause(cause).next("write one event a line, as one JSON object in UTF-8")
}

/// What `pub` reads of a line of `sub --json`.
#[derive(Deserialize)]
struct Copied<'a> {
    #[serde(borrow)]
    envelope: &'a RawValue,
    #[serde(default)]
    headers: Vec<HeaderText>,
}

fn copied(line: &Bytes) -> Option<Result<Envelope>> {
    let Copied { envelope, headers } = serde_json::from_slice(line).ok()?;
    let body = line.slice_ref(envelope.get().as_bytes());
    let decoded = Format::CloudEvents.decode(&body, new_id);
    Some(decoded.and_then(|mut envelope| {
        envelope.headers = headers.into_iter().map(HeaderText::header).collect::<Result<Headers>>()?;
        Ok(envelope)
    }))
}

/// A header as JSON; a value that is no UTF-8 stands as base64.
#[derive(Serialize, Deserialize)]
pub(crate) struct HeaderText {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl HeaderText {
    pub(crate) fn of(header: &Header) -> Self {
        let name = header.name.clone();
        match std::str::from_utf8(&header.value) {
            Ok(text) => Self { name, value: Some(text.into()), value_base64: None },
            Err(_) => Self { name, value: None, value_base64: Some(BASE64.encode(&header.value)) },
        }
    }

    fn header(self) -> Result<Header> {
        let value = match (self.value, self.value_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(text)) => BASE64.decode(text).map_err(|_| bad_header())?,
            _ => return Err(bad_header()),
        };
        Ok(Header { name: self.name, value: value.into() })
    }
}

fn bad_header() -> Error {
    Error::invalid("Line").cause("a header has no readable value").next("give 'value' or 'value_base64'")
}

/// The envelope as CloudEvents on one line.
///
/// Raw line ends can only be white space between the tokens of a pretty-printed payload: in texts they are escaped.
pub(crate) fn one_line(envelope: &Envelope, topic: &TopicName) -> Result<Box<RawValue>> {
    let mut json = Vec::new();
    Wire::CloudEvents.encode(envelope, &format!("/busline/{topic}"), &mut json);
    for byte in json.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    let text = String::from_utf8(json).map_err(|_| not_json())?;
    RawValue::from_string(text).map_err(|_| not_json())
}

fn not_json() -> Error {
    Error::new(ErrorKind::Internal, "Encoding").cause("an envelope was not written as JSON").next("report this")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(line: &[u8], format: Format, code: &str) {
        let error = read_line(&Bytes::copy_from_slice(line), format).expect_err("refused");
        assert_eq!(error.code(), code, "{error}");
    }

    #[test]
    fn what_is_no_json_object_is_an_invalid_line() {
        for line in [&b"\xff\xfe\0"[..], b"\0", b"text", b"[1]", b"17", b"{", b"{} {}", b"{\"a\":\"\xff\"}", b"{'a'}"] {
            refused(line, Format::Auto, "Invalid/Line");
        }
    }

    #[test]
    fn an_object_that_is_no_envelope_keeps_its_name() {
        refused(b"{}", Format::Auto, "Corrupt/NoEnvelope");
        refused(br#"{"envelope":{}}"#, Format::Flat, "Corrupt/NoEnvelope");
        refused(
            br#"{"aggregate_id":"","event_type":"T","timestamp":"2026-11-25T08:00:00Z"}"#,
            Format::Auto,
            "Invalid/EmptyKey",
        );
    }

    #[test]
    fn an_event_without_a_key_keeps_its_name() {
        for subject in ["", r#","subject":null"#] {
            let line = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"T"{subject}}}"#);
            refused(line.as_bytes(), Format::Auto, "Corrupt/NoKey");
        }
    }

    #[test]
    fn a_byte_order_mark_is_named() {
        let error = read_line(&Bytes::from_static(b"\xef\xbb\xbf{}"), Format::Auto).expect_err("refused");
        assert!(error.to_string().contains("byte order mark"), "{error}");
    }

    #[test]
    fn a_flat_line_without_an_id_gets_a_new_one() {
        let line = Bytes::from_static(br#"{"aggregate_id":"a","event_type":"T","timestamp":"2026-11-25T08:00:00Z"}"#);
        let (one, two) = (read_line(&line, Format::Auto), read_line(&line, Format::Auto));
        assert_ne!(one.expect("legal").id, two.expect("legal").id);
    }

    #[test]
    fn a_line_of_sub_gives_the_envelope_with_its_headers() {
        let topic = TopicName::new("orders").expect("legal");
        let envelope = Envelope::new("order-42", "OrderPlaced", 3)
            .json(&["book"])
            .expect("json")
            .with_header("a", "text")
            .with_header("b", vec![0xff]);
        let headers: Vec<HeaderText> = envelope.headers.iter().map(HeaderText::of).collect();
        let line = format!(
            r#"{{"topic":"orders","partition":0,"offset":1,"headers":{},"envelope":{}}}"#,
            serde_json::to_string(&headers).expect("json"),
            one_line(&envelope, &topic).expect("one line")
        );
        let mut read = read_line(&line.into(), Format::Auto).expect("legal");
        assert_eq!(read.source.take().as_deref(), Some("/busline/orders"));
        assert_eq!(read, envelope);
    }

    #[test]
    fn a_pretty_printed_payload_stays_on_one_line() {
        let topic = TopicName::new("orders").expect("legal");
        let payload = busline::Payload::bytes_of("application/json", "{\r\n \"a\": \"\\n\"\n}").expect("json");
        let line = one_line(&Envelope::new("k", "T", 1).with_payload(payload), &topic).expect("one line");
        assert!(line.get().contains(r#""data":{   "a": "\n" }"#), "{line}");
    }
}
