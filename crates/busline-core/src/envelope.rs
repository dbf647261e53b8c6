//! One domain event as a user publishes it.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use rand::Rng;
use serde::Serialize;

use crate::clock::{Clock, SystemClock};
use crate::control::control_character;
use crate::error::{Error, Result, escaped};
use crate::headers::Headers;
use crate::occurred_at::OccurredAt;
use crate::payload::{Payload, RawJson};

/// Longest aggregate id, in bytes.
pub const KEY_BYTES_MAX: usize = 256;

/// Longest envelope id, in bytes.
pub const ID_BYTES_MAX: usize = 128;

/// One domain event: what happened to which aggregate, as its how-many-th event.
///
/// A plain struct: [`Envelope::new`] fills what can be defaulted, the `with_…` functions set the rest, and
/// publishing checks all of it (see [`Envelope::validate`]).
///
/// # Examples
/// ```
/// use busline_core::Envelope;
///
/// let envelope = Envelope::new("order-42", "OrderPlaced", 1).json(&["book", "pen"])?;
/// assert_eq!(envelope.payload.bytes(), r#"["book","pen"]"#.as_bytes());
/// # Ok::<(), busline_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Names this event: 1 to 128 bytes of UTF-8 without control characters. Default: a UUIDv7.
    pub id: String,
    /// What order is kept for, the key: 1 to 256 bytes of UTF-8 without control characters.
    pub aggregate_id: String,
    /// What happened, such as `OrderPlaced`; not empty.
    pub event_type: String,
    /// The event's place in its aggregate's history, from 1.
    pub event_version: u64,
    /// The shape of the payload, as a URI.
    pub schema: Option<String>,
    /// When it happened. Default: now, in UTC.
    pub occurred_at: OccurredAt,
    /// Who published it, as a URI reference. Default: the publisher's, `/busline/<topic>`.
    pub source: Option<String>,
    /// Whose event it is.
    pub tenant: Option<String>,
    /// What larger piece of work it belongs to.
    pub correlation_id: Option<String>,
    /// The id of the event that caused it.
    pub causation_id: Option<String>,
    /// W3C trace context, version 00.
    pub traceparent: Option<String>,
    /// Further attributes: names of 1 to 20 of `[a-z0-9]`.
    pub attributes: BTreeMap<String, Attribute>,
    /// Headers of the transport, not part of the event. Empty by default: then none are written.
    pub headers: Headers,
    /// The event's data.
    pub payload: Payload,
}

impl Envelope {
    /// An event of this aggregate, type and place in its aggregate's history, that happens now.
    pub fn new(aggregate_id: impl Into<String>, event_type: impl Into<String>, event_version: u64) -> Self {
        let now = SystemClock.now();
        Self {
            id: new_id(now),
            aggregate_id: aggregate_id.into(),
            event_type: event_type.into(),
            event_version,
            schema: None,
            occurred_at: OccurredAt::utc(now),
            source: None,
            tenant: None,
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            attributes: BTreeMap::new(),
            headers: Headers::default(),
            payload: Payload::none(),
        }
    }

    /// The same event with this value, as JSON, for its payload.
    ///
    /// # Errors
    /// `Invalid/PayloadNotJson` if the value cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self> {
        Ok(self.with_payload(Payload::json(value)?))
    }

    /// The same event with this payload.
    #[must_use]
    pub fn with_payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// The same event under this id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// The same event with this further attribute.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<Attribute>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// The same event with one more header behind those it has.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Checks what every backend refuses; publishing does it first.
    ///
    /// # Errors
    /// `Invalid/…` with the reason of the first field that is wrong.
    pub fn validate(&self) -> Result<()> {
        let named = || if self.id.is_empty() { "''" } else { &self.id };
        self.check_fields().map_err(|error| error.at("envelope", named()))
    }

    fn check_fields(&self) -> Result<()> {
        check_key(&self.aggregate_id)?;
        check_id(&self.id)?;
        check_type(&self.event_type)?;
        if self.event_version == 0 {
            return Err(Error::invalid("EventVersion")
                .cause("event_version is 0")
                .next("count the events of an aggregate from 1"));
        }
        if let Some(traceparent) = &self.traceparent {
            check_traceparent(traceparent)?;
        }
        self.occurred_at.check()?;
        self.payload.check_declared()?;
        self.attributes.iter().try_for_each(|(name, value)| check_attribute(name, value))?;
        self.headers.validate()
    }
}

/// A UUIDv7 of this instant, its random bits drawn from a generator of the thread.
///
/// `Uuid::now_v7` asks for its random bits one id at a time, which costs more than encoding the whole envelope.
fn new_id(now: Timestamp) -> String {
    let mut random = [0; 10];
    rand::rng().fill_bytes(&mut random);
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()
}

fn empty_field(field: &str) -> Error {
    Error::invalid("EmptyField").cause(format!("{field} is empty")).next(format!("give {field} at least one character"))
}

pub(crate) fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("EmptyKey")
            .cause("aggregate_id is empty")
            .next("give the envelope the id of its aggregate"));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::invalid("KeyTooLong")
            .cause(format!("{} bytes where {KEY_BYTES_MAX} are allowed", key.len()))
            .next("use a shorter aggregate id"));
    }
    no_control_character(key, "KeyCharacter", "use an aggregate id without control characters")
}

pub(crate) fn check_id(id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(empty_field("id"));
    }
    if id.len() > ID_BYTES_MAX {
        return Err(Error::invalid("IdTooLong")
            .cause(format!("{} bytes where {ID_BYTES_MAX} are allowed", id.len()))
            .next("use a shorter id"));
    }
    no_control_character(id, "IdCharacter", "use an id without control characters")
}

pub(crate) fn check_type(event_type: &str) -> Result<()> {
    if event_type.is_empty() { Err(empty_field("event_type")) } else { Ok(()) }
}

fn no_control_character(text: &str, reason: &'static str, next: &'static str) -> Result<()> {
    match control_character(text) {
        None => Ok(()),
        Some((at, character)) => {
            let cause = format!("'{}' at byte {at}", character.escape_default());
            Err(Error::invalid(reason).cause(cause).next(next))
        }
    }
}

fn check_attribute(name: &str, value: &Attribute) -> Result<()> {
    check_attribute_name(name)?;
    let Attribute::Json(json) = value else { return Ok(()) };
    crate::wire::check_json(json).map_err(|error| error.cause(format!("attribute '{name}' could not be read back")))
}

fn check_attribute_name(name: &str) -> Result<()> {
    if crate::wire::is_own_attribute(name) {
        return Err(own_attribute(name));
    }
    if (1..=20).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return Ok(());
    }
    Err(Error::invalid("AttributeName")
        .cause(format!("attribute '{}'", escaped(name)))
        .next("use 1 to 20 of a-z and 0-9 that no field of the envelope carries"))
}

/// What the caller meant for a further attribute, or another program's event holds in place of what the field can be.
fn own_attribute(name: &str) -> Error {
    let (field, may_be) = match name {
        "sequence" => ("event_version", "a whole number from 1"),
        "partitionkey" => ("aggregate_id", "the same text as 'subject'"),
        "subject" => ("aggregate_id", "a text"),
        "type" => ("event_type", "a text"),
        "time" => ("occurred_at", "an RFC 3339 time"),
        "dataschema" => ("schema", "a text"),
        "tenantid" => ("tenant", "a text"),
        "correlationid" => ("correlation_id", "a text"),
        "causationid" => ("causation_id", "a text"),
        "datacontenttype" | "data" | "data_base64" => ("payload", "data and its media type"),
        _ => (name, "a text"),
    };
    Error::invalid("AttributeName")
        .cause(format!("the attribute '{name}' is kept for {field}, and what it holds is not for it"))
        .next(format!("set {field} itself, in CloudEvents by '{name}' as {may_be}, or leave the attribute out"))
}

/// Whether this is a `traceparent` of version 00 with a trace and a parent that are not all zero.
fn check_traceparent(text: &str) -> Result<()> {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let legal = matches!(parts[..], [version, trace, parent, flags]
        if version == "00" && hex(trace, 32) && !zero(trace) && hex(parent, 16) && !zero(parent) && hex(flags, 2));
    if legal {
        return Ok(());
    }
    Err(Error::invalid("TraceContext")
        .cause("traceparent is not of the form 00-<32 hex>-<16 hex>-<2 hex>")
        .next("pass on the traceparent as it was received, or none"))
}

/// The value of a further attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A truth value.
    Boolean(bool),
    /// What another program wrote and CloudEvents has no type for, as the JSON it was.
    ///
    /// At most 64 levels, no number beyond 64-bit floating point. JSON that is a text, a truth value or a whole
    /// number of 64 bits is read back as that type, and null as no attribute.
    Json(RawJson),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Attribute {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Attribute {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset as UtcOffset;

    use super::*;

    #[track_caller]
    fn refused(envelope: &Envelope, reason: &str) {
        let error = envelope.validate().expect_err("refused");
        assert_eq!(error.reason(), reason, "{error}");
    }

    fn placed(key: &str) -> Envelope {
        Envelope::new(key, "OrderPlaced", 1)
    }

    #[test]
    fn keys_and_ids_are_checked_at_their_bounds() {
        for key in ["a b+~@é🙂", &"k".repeat(256)] {
            placed(key).validate().expect("legal key");
        }
        refused(&placed(""), "EmptyKey");
        refused(&placed(&"k".repeat(257)), "KeyTooLong");
        for key in ["a\0", "a\n", "a\t", "a\u{1b}", "a\u{7f}", "a\u{85}"] {
            refused(&placed(key), "KeyCharacter");
        }
        placed("k").with_id("i".repeat(128)).validate().expect("legal id");
        refused(&placed("k").with_id(""), "EmptyField");
        refused(&placed("k").with_id("i".repeat(129)), "IdTooLong");
        refused(&placed("k").with_id("i\n"), "IdCharacter");
    }

    #[test]
    fn type_version_trace_and_attributes_are_checked() {
        refused(&Envelope::new("k", "", 1), "EmptyField");
        refused(&Envelope::new("k", "T", 0), "EventVersion");
        let mut traced = placed("k");
        traced.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
        traced.validate().expect("legal trace");
        traced.traceparent = Some("00-0-0-1".into());
        refused(&traced, "TraceContext");
        refused(&placed("k").with_attribute("Upper", "x"), "AttributeName");
        refused(&placed("k").with_attribute("subject", "x"), "AttributeName");
    }

    #[test]
    fn ids_are_version_7_and_differ() {
        let (a, b) = (placed("k").id, placed("k").id);
        assert_ne!(a, b);
        assert_eq!(uuid::Uuid::parse_str(&a).expect("uuid").get_version_num(), 7);
    }

    #[test]
    fn times_that_could_not_be_read_back_are_refused_in_publishing() {
        let at = |second: i64, offset: i32| OccurredAt {
            instant: Timestamp::from_second(second).expect("in range"),
            offset: UtcOffset::from_seconds(offset).expect("in range"),
        };
        let year_1 = -62_135_596_800;
        for (second, offset) in [(year_1 - 1, 0), (year_1, -60), (0, 86_400), (0, -86_400)] {
            refused(&Envelope { occurred_at: at(second, offset), ..placed("k") }, "Time");
        }
        let exact = at(year_1, 3_661);
        Envelope { occurred_at: exact, ..placed("k") }.validate().expect("legal");
        assert_eq!(exact.to_string(), "0001-01-01T01:01:00+01:01");
    }

    #[test]
    fn text_that_is_not_utf8_is_passed_on_and_not_published() {
        let payload = Payload::trusted_bytes("text/plain; charset=latin1", Bytes::from_static(b"\xe9"));
        let envelope = placed("k").with_payload(payload);
        assert_eq!(envelope.payload.bytes(), &b"\xe9"[..]);
        assert_eq!(envelope.validate().expect_err("declared as text").reason(), "PayloadNotUtf8");
        for (kind, bytes) in [("text/plain", &b"\xc3\xa9"[..]), ("application/octet-stream", b"\xe9")] {
            let payload = Payload::trusted_bytes(kind, Bytes::from_static(bytes));
            placed("k").with_payload(payload).validate().expect("legal");
        }
    }

    #[test]
    fn debug_shows_no_payload_byte() {
        let envelope = placed("k").json("secret").expect("JSON");
        assert!(!format!("{envelope:?}").contains("secret"));
    }
}
