//! An event's data: JSON as it is, text between quotes, bytes in base64.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::json_text::write_member;
use super::members::{is_text, text_of};
use crate::envelope::Envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::payload::{JSON_CONTENT_TYPE, Payload, RawJson, is_json_type};

/// The content type of bytes that name none.
pub(super) const BINARY_CONTENT_TYPE: &str = "application/octet-stream";

/// Writes padding, and reads with or without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Makes room for the envelope at once; what escapes add grows the buffer again.
pub(super) fn reserve(envelope: &Envelope, out: &mut Vec<u8>) {
    let texts = envelope.id.len() + 2 * envelope.aggregate_id.len() + envelope.event_type.len();
    out.reserve(texts + envelope.payload.bytes().len());
}

/// Appends `lead` and the bytes in base64, with the closing quote.
pub(super) fn write_base64(lead: &str, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(lead.as_bytes());
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    // The slice has exactly the length that base64 needs, so that nothing can go wrong here.
    let written = BASE64.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
    out.push(b'"');
}

/// Appends the content type, if there is data and it is not `left_out`.
pub(super) fn write_content_type(lead: &str, payload: &Payload, left_out: Option<&str>, out: &mut Vec<u8>) {
    if let Some(content_type) = payload.content_type().filter(|kind| Some(*kind) != left_out) {
        write_member(lead, content_type, out);
    }
}

/// The payload of a member that holds JSON, under a content type that says so.
pub(super) fn json(body: &Bytes, content_type: Option<&str>, raw: &str) -> Payload {
    Payload::trusted_json(content_type, body.slice_ref(raw.as_bytes()))
}

/// The payload of a member `data`: JSON, or under another content type the text it says.
///
/// # Errors
/// `Corrupt/NotJson` for half a surrogate pair in such a text.
pub(super) fn data(body: &Bytes, content_type: Option<&str>, raw: &str) -> Result<Payload> {
    let content_type = content_type.unwrap_or(JSON_CONTENT_TYPE);
    if is_json_type(content_type) {
        return Ok(json(body, Some(content_type), raw));
    }
    let bytes = if is_text(raw) { text_bytes(body, raw)? } else { body.slice_ref(raw.as_bytes()) };
    Ok(Payload::trusted_bytes(content_type, bytes))
}

fn text_bytes(body: &Bytes, raw: &str) -> Result<Bytes> {
    Ok(match text_of(raw)? {
        Cow::Borrowed(text) => body.slice_ref(text.as_bytes()),
        Cow::Owned(text) => text.into(),
    })
}

/// The payload of a member that holds base64.
///
/// Without a content type it is JSON if it can be, else bytes.
///
/// # Errors
/// `Corrupt/Base64`; `Invalid/PayloadNotJson` or `PayloadNotUtf8` if the content type says JSON and the bytes are not.
pub(super) fn binary(content_type: Option<&str>, raw: &str) -> Result<Payload> {
    let bytes = Bytes::from(decode_base64(raw)?);
    match content_type {
        Some(kind) if is_json_type(kind) => Payload::checked(kind, bytes),
        Some(kind) => Ok(Payload::trusted_bytes(kind, bytes)),
        None => Ok(match RawJson::new(bytes.clone()) {
            Ok(json) => Payload::raw_json(json),
            Err(_) => Payload::trusted_bytes(BINARY_CONTENT_TYPE, bytes),
        }),
    }
}

fn decode_base64(raw: &str) -> Result<Vec<u8>> {
    let malformed = || {
        Error::new(ErrorKind::Corrupt, "Base64")
            .cause("the payload's base64 is malformed")
            .next("write the standard alphabet of RFC 4648 in a JSON string")
    };
    if !is_text(raw) {
        return Err(malformed());
    }
    BASE64.decode(text_of(raw)?.as_bytes()).map_err(|_| malformed())
}
