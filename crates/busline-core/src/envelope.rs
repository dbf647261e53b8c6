//! One domain event as a user publishes it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::Offset as UtcOffset;
use rand::Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::headers::Headers;

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
        check_time(self.occurred_at)?;
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

fn check_text(content_type: &str, bytes: &[u8]) -> Result<()> {
    if !content_type.starts_with("text/") || std::str::from_utf8(bytes).is_ok() {
        return Ok(());
    }
    Err(Error::invalid("PayloadNotUtf8")
        .cause(format!("declared {content_type}"))
        .next("declare a binary content type, or encode the text as UTF-8"))
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
    no_control_character(key).map_err(|cause| {
        Error::invalid("KeyCharacter").cause(cause).next("use an aggregate id without control characters")
    })
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
    no_control_character(id)
        .map_err(|cause| Error::invalid("IdCharacter").cause(cause).next("use an id without control characters"))
}

pub(crate) fn check_type(event_type: &str) -> Result<()> {
    if event_type.is_empty() { Err(empty_field("event_type")) } else { Ok(()) }
}

fn no_control_character(text: &str) -> std::result::Result<(), String> {
    // Most keys are ASCII: one look at each byte settles them without decoding.
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Ok(());
    }
    match text.char_indices().find(|(_, character)| character.is_control()) {
        Some((at, character)) => Err(format!("'{}' at byte {at}", character.escape_default())),
        None => Ok(()),
    }
}

fn check_attribute(name: &str, value: &Attribute) -> Result<()> {
    check_attribute_name(name)?;
    let Attribute::Json(json) = value else { return Ok(()) };
    crate::wire::check_json(json).map_err(|error| error.cause(format!("attribute '{name}' could not be read back")))
}

fn check_attribute_name(name: &str) -> Result<()> {
    let legal = (1..=20).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if legal && !crate::wire::is_own_attribute(name) {
        return Ok(());
    }
    Err(Error::invalid("AttributeName")
        .cause(format!("attribute '{}'", crate::error::escaped(name)))
        .next("use 1 to 20 of a-z and 0-9 that no field of the envelope carries"))
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

/// When an event happened: an instant in nanoseconds, and the UTC offset it was written with.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OccurredAt {
    /// The instant.
    pub instant: Timestamp,
    /// The author's own offset, written back as it came.
    pub offset: UtcOffset,
}

impl OccurredAt {
    /// This instant, written in UTC.
    pub fn utc(instant: Timestamp) -> Self {
        Self { instant, offset: UtcOffset::UTC }
    }

    /// Reads an RFC 3339 time with an offset.
    ///
    /// # Errors
    /// `Invalid/Time` for anything else, a time without an offset included.
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(text).map_err(|error| error.at("time", if text.is_empty() { "''" } else { text }))
    }

    /// As [`OccurredAt::parse`], with an error for who reads more than a time to place.
    pub(crate) fn read(text: &str) -> Result<Self> {
        if let Some(time) = parse_in_last_second(text) {
            return Ok(time);
        }
        let instant: Timestamp =
            text.parse().map_err(|_| not_a_time(format!("'{}' is no such time", crate::error::escaped(text))))?;
        let offset = offset_of(text).ok_or_else(|| not_a_time("its offset is malformed"))?;
        let time = Self { instant, offset };
        check_time(time)?;
        remember_second(text, time);
        Ok(time)
    }
}

// Events come in runs of the same second, so its calendar is read once. In UTC only, and only as we write it: then
// the text of a second names one instant.
thread_local!(static LAST_READ: Cell<Option<([u8; 19], i64)>> = const { Cell::new(None) });

fn parse_in_last_second(text: &str) -> Option<OccurredAt> {
    let (head, tail) = text.as_bytes().split_first_chunk::<19>()?;
    let (last, second) = LAST_READ.get()?;
    let nanos = fraction_of(tail.strip_suffix(b"Z")?)?;
    (*head == last).then(|| Timestamp::new(second, nanos).ok()).flatten().map(OccurredAt::utc)
}

fn remember_second(text: &str, time: OccurredAt) {
    let second = time.instant.as_nanosecond().div_euclid(1_000_000_000) as i64;
    let written = civil_seconds(second, UtcOffset::UTC);
    if time.offset == UtcOffset::UTC && text.as_bytes().starts_with(&written) {
        LAST_READ.set(Some((written, second)));
    }
}

/// The nanoseconds of nothing, or of a point and 1 to 9 digits.
fn fraction_of(text: &[u8]) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(b".").filter(|digits| (1..=9).contains(&digits.len()))?;
    let number = |sum: i32, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + i32::from(byte - b'0'));
    let nanos = digits.iter().try_fold(0, number)?;
    Some(nanos * 10_i32.pow(9 - digits.len() as u32))
}

fn not_a_time(cause: impl Into<String>) -> Error {
    Error::invalid("Time").cause(cause).next("write an RFC 3339 time with an offset, such as 2026-11-25T08:00:00Z")
}

/// Whether the time can be written in RFC 3339 and read back: a year from 1 to 9999 and an offset below a day.
fn check_time(time: OccurredAt) -> Result<()> {
    let offset = whole_minutes(time.offset);
    if offset.seconds().unsigned_abs() >= 86_400 {
        return Err(not_a_time("its offset is a day or more"));
    }
    let year = offset.to_datetime(time.instant).year();
    if year < 1 { Err(not_a_time(format!("year {year} is before year 1"))) } else { Ok(()) }
}

/// The offset at the end of an RFC 3339 time.
fn offset_of(text: &str) -> Option<UtcOffset> {
    if text.ends_with(['Z', 'z']) {
        return Some(UtcOffset::UTC);
    }
    let tail = text.get(text.len().checked_sub(6)?..)?;
    let (sign, rest) = match tail.as_bytes()[0] {
        b'+' => (1, &tail[1..]),
        b'-' => (-1, &tail[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let seconds = hours.parse::<i32>().ok()? * 3_600 + minutes.parse::<i32>().ok()? * 60;
    UtcOffset::from_seconds(sign * seconds).ok()
}

impl fmt::Display for OccurredAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(40);
        self.write_to(&mut text);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for OccurredAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl OccurredAt {
    /// Appends the RFC 3339 text: UTC as `Z`, and as many digits of the fraction as it has.
    ///
    /// An offset is written in whole minutes, as RFC 3339 has it; the instant stays exact.
    pub(crate) fn write_to(self, out: &mut Vec<u8>) {
        // Events come in runs of the same second, so the calendar is asked once a second and thread.
        thread_local!(static LAST: Cell<Option<(i64, UtcOffset, [u8; 19])>> = const { Cell::new(None) });
        let second = self.instant.as_nanosecond().div_euclid(1_000_000_000) as i64;
        let nanos = self.instant.as_nanosecond().rem_euclid(1_000_000_000) as u32;
        let offset = whole_minutes(self.offset);
        let text = match LAST.get() {
            Some((s, o, text)) if s == second && o == offset => text,
            _ => civil_seconds(second, offset),
        };
        LAST.set(Some((second, offset, text)));
        out.extend_from_slice(&text);
        write_fraction(nanos, out);
        write_offset(offset, out);
    }
}

fn whole_minutes(offset: UtcOffset) -> UtcOffset {
    UtcOffset::from_seconds(offset.seconds() / 60 * 60).unwrap_or(offset)
}

/// `2026-11-25T08:00:00`, of a year from 0 to 9999.
fn civil_seconds(second: i64, offset: UtcOffset) -> [u8; 19] {
    let civil = offset.to_datetime(Timestamp::from_second(second).unwrap_or(Timestamp::MIN));
    let mut text = *b"0000-00-00T00:00:00";
    write_digits(civil.year().unsigned_abs(), &mut text[..4]);
    let pairs = [civil.month(), civil.day(), civil.hour(), civil.minute(), civil.second()];
    for (pair, place) in pairs.into_iter().zip(text[5..].chunks_mut(3)) {
        write_digits(u16::from(pair.unsigned_abs()), &mut place[..2]);
    }
    text
}

fn write_digits(mut number: u16, place: &mut [u8]) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn write_fraction(nanos: u32, out: &mut Vec<u8>) {
    if nanos == 0 {
        return;
    }
    let mut digits = [b'0'; 9];
    let mut rest = nanos;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let length = 9 - digits.iter().rev().take_while(|&&digit| digit == b'0').count();
    out.push(b'.');
    out.extend_from_slice(&digits[..length]);
}

fn write_offset(offset: UtcOffset, out: &mut Vec<u8>) {
    let seconds = offset.seconds();
    if seconds == 0 {
        out.push(b'Z');
        return;
    }
    let minutes = (seconds.unsigned_abs() / 60) as u16;
    let mut text = *b"+00:00";
    text[0] = if seconds < 0 { b'-' } else { b'+' };
    write_digits(minutes / 60, &mut text[1..3]);
    write_digits(minutes % 60, &mut text[4..]);
    out.extend_from_slice(&text);
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
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            Error::invalid("PayloadNotUtf8")
                .cause(format!("not UTF-8 from byte {}", error.valid_up_to()))
                .next("declare a binary content type, or encode the text as UTF-8")
        })?;
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

/// The content type of a payload that names none.
pub const JSON_CONTENT_TYPE: &str = "application/json";

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
    fn check_declared(&self) -> Result<()> {
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
    if content_type.is_empty() || no_control_character(content_type).is_err() {
        return Err(Error::invalid("ContentType")
            .cause(format!("'{}'", crate::error::escaped(content_type)))
            .next("name a media type, such as application/json or application/octet-stream"));
    }
    Ok(())
}

/// Whether a media type says JSON: its subtype is `json` or ends in `+json`, in whatever case.
pub(crate) fn is_json_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or("").trim().as_bytes();
    essence.last_chunk::<5>().is_some_and(|end| matches!(end[0], b'/' | b'+') && end[1..].eq_ignore_ascii_case(b"json"))
}

#[cfg(test)]
mod tests {
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

    #[track_caller]
    fn time_round_trips(text: &str) {
        assert_eq!(OccurredAt::parse(text).expect("legal").to_string(), text);
    }

    #[test]
    fn times_round_trip_with_their_offset() {
        for text in [
            "2011-08-01T23:41:24+02:00",
            "2011-08-01T23:41:24-09:30",
            "1969-12-31T23:59:59.5Z",
            "2026-11-25T08:00:00.123456789Z",
            "9999-12-30T22:00:00Z",
        ] {
            time_round_trips(text);
        }
        assert_eq!(OccurredAt::parse("2026-11-25T08:00:00+00:00").expect("legal").to_string(), "2026-11-25T08:00:00Z");
    }

    #[test]
    fn a_time_is_read_the_same_whatever_was_read_before() {
        let seconds = ["1969-12-31T23:59:59", "2026-11-25T08:00:00", "2026-11-25t08:00:00", "2016-12-31T23:59:60"];
        let tails =
            ["", "Z", "z", ".Z", ".5Z", ".000000001Z", ".1234567891Z", ".5", ".-5Z", "+00:00", ".5-01:00", ",5Z"];
        let texts: Vec<String> =
            seconds.iter().flat_map(|second| tails.iter().map(move |tail| format!("{second}{tail}"))).collect();
        for before in &texts {
            for text in &texts {
                LAST_READ.set(None);
                let alone = OccurredAt::parse(text).map_err(|error| error.to_string());
                let _ = OccurredAt::parse(before);
                assert_eq!(OccurredAt::parse(text).map_err(|error| error.to_string()), alone, "{before} {text}");
            }
        }
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
    fn times_out_of_range_or_without_offset_are_refused() {
        for text in [
            "",
            "0000-06-01T00:00:00Z",
            "-000001-06-01T00:00:00Z",
            "2026-11-25T08:00:00",
            "10000-01-01T00:00:00Z",
            "NaN",
            "9999-12-31T23:59:59Z",
            "2026-11-25",
        ] {
            assert_eq!(OccurredAt::parse(text).expect_err(text).reason(), "Time");
        }
    }

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

    #[test]
    fn debug_shows_no_payload_byte() {
        let envelope = placed("k").json("secret").expect("JSON");
        assert!(!format!("{envelope:?}").contains("secret"));
    }
}
