//! The two forms a record's body may have, and how they are told apart.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::members::{Members, no_envelope, utf8};
use super::{cloudevents, fast, flat};
use crate::envelope::Envelope;
use crate::error::{Error, Result, escaped};

/// The form that envelopes are written in.
///
/// # Examples
/// ```
/// use busline_core::{Envelope, Wire, decode};
///
/// let envelope = Envelope::new("order-42", "OrderPlaced", 1).json(&["book"])?;
/// let mut body = Vec::new();
/// Wire::CloudEvents.encode(&envelope, "/busline/orders", &mut body);
/// let read = decode(&body.into(), || "orders/0/7".into())?;
/// assert_eq!(read.payload.bytes(), r#"["book"]"#);
/// assert_eq!(read.source.as_deref(), Some("/busline/orders"));
/// # Ok::<(), busline_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Wire {
    /// CloudEvents 1.0, structured JSON.
    #[default]
    CloudEvents,
    /// One JSON object with `event_id`, `aggregate_id` and so on.
    Flat,
}

impl Wire {
    /// Appends the envelope to `out`, without its headers.
    ///
    /// A validated envelope is always written, and [`decode`] gives it back. Nothing is allocated if `out` has
    /// room. CloudEvents must name a source: `default_source` if the envelope has none. The flat form writes none.
    pub fn encode(self, envelope: &Envelope, default_source: &str, out: &mut Vec<u8>) {
        match self {
            Self::CloudEvents => cloudevents::write(envelope, default_source, out),
            Self::Flat => flat::write(envelope, out),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::CloudEvents => "cloudevents",
            Self::Flat => "flat",
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Wire {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::CloudEvents, Self::Flat]
            .into_iter()
            .find(|wire| wire.name() == text)
            .ok_or_else(|| unknown(text, "use cloudevents or flat"))
    }
}

/// The form that a reader accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Either: CloudEvents if there is a member `specversion`, else flat if there is `aggregate_id`.
    #[default]
    Auto,
    /// CloudEvents alone.
    CloudEvents,
    /// Flat alone.
    Flat,
}

impl Format {
    /// The envelope in this body, without headers.
    ///
    /// The payload is a slice of `body`, byte for byte, unless it stood there as escaped text or base64.
    /// `stored_id` names a flat event without an id of its own: `<topic>/<partition>/<offset>`; it is asked only then.
    ///
    /// # Errors
    /// The error names no operation, so that the caller says with [`Error::at`] where the body came from.
    ///
    /// - `Corrupt/NoEnvelope`, `Truncated`, `TrailingBytes`, `NotJson`, `NotUtf8`, `Base64`, `NoKey`: not readable.
    /// - `Unsupported/FormatVersion`: CloudEvents of another version.
    /// - `TooLarge/JsonDepth`: more than 64 levels in an attribute; a payload may be nested at will.
    /// - `Invalid/DuplicateKey`, `Number`, `Time`, `Type`, `EventVersion`: a member that cannot be what it claims.
    /// - `Invalid/EmptyKey`, `KeyTooLong`, `KeyCharacter`, `EmptyField`, `IdTooLong`, `IdCharacter`: as in publishing.
    pub fn decode(self, body: &Bytes, stored_id: impl FnOnce() -> String) -> Result<Envelope> {
        let text = utf8(body)?;
        if self != Self::Flat
            && let Some(envelope) = fast::read(body, text)
        {
            return Ok(envelope);
        }
        self.decode_members(body, text, stored_id)
    }

    /// The same without the fast path.
    pub(super) fn decode_members(
        self,
        body: &Bytes,
        text: &str,
        stored_id: impl FnOnce() -> String,
    ) -> Result<Envelope> {
        let members = Members::split(text)?;
        match self.of(&members)? {
            Wire::CloudEvents => cloudevents::read(body, members),
            Wire::Flat => flat::read(body, members, stored_id),
        }
    }

    fn of(self, members: &Members<'_>) -> Result<Wire> {
        match self {
            Self::CloudEvents => Ok(Wire::CloudEvents),
            Self::Flat => Ok(Wire::Flat),
            Self::Auto if members.has("specversion") => Ok(Wire::CloudEvents),
            Self::Auto if members.has("aggregate_id") => Ok(Wire::Flat),
            Self::Auto => Err(no_envelope("neither 'specversion' nor 'aggregate_id' is given")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::CloudEvents => "cloudevents",
            Self::Flat => "flat",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Auto, Self::CloudEvents, Self::Flat]
            .into_iter()
            .find(|format| format.name() == text)
            .ok_or_else(|| unknown(text, "use auto, cloudevents or flat"))
    }
}

/// The envelope in this body, whichever form it has: [`Format::decode`] of [`Format::Auto`].
///
/// # Errors
/// Those of [`Format::decode`].
pub fn decode(body: &Bytes, stored_id: impl FnOnce() -> String) -> Result<Envelope> {
    Format::Auto.decode(body, stored_id)
}

/// The key of the envelope in this body, without decoding the rest of it where its layout is the one we write.
///
/// A body that [`decode`] takes gives the key of its envelope. Of one that it does not take, whatever could be found
/// out is given, or `None`.
pub fn key_of(body: &Bytes) -> Option<Bytes> {
    if let Some(key) = fast::key(body) {
        return Some(body.slice_ref(key));
    }
    decode(body, String::new).ok().map(|envelope| envelope.aggregate_id.into())
}

fn unknown(text: &str, next: &'static str) -> Error {
    Error::invalid("Value").cause(format!("no format '{}'", escaped(text))).next(next)
}
