//! The flat form: one JSON object with the event's fields under plain names.

use std::collections::btree_map::Entry;

use bytes::Bytes;

use super::attributes::{read_rest, read_value, write_attribute, write_value};
use super::fields::{take_time, version_of};
use super::json_text::{write_member, write_number, write_optional};
use super::members::{Members, both, duplicate, no_envelope, text_of};
use super::payload;
use crate::envelope::{Envelope, check_id, check_key, check_type};
use crate::error::{Error, Result};
use crate::headers::Headers;
use crate::payload::{JSON_CONTENT_TYPE, Payload, is_json_type};

/// The further attribute that `trace_id` is.
const TRACE_ATTRIBUTE: &str = "traceid";

/// Whether the form, or the choice between the forms, gives this member a meaning.
fn is_member(name: &str) -> bool {
    matches!(
        name,
        "specversion"
            | "event_id"
            | "aggregate_id"
            | "event_type"
            | "event_version"
            | "timestamp"
            | "trace_id"
            | "correlation_id"
            | "tenant_id"
            | "source"
            | "schema"
            | "causation_id"
            | "traceparent"
            | "content_type"
            | "payload"
            | "payload_base64"
    )
}

/// Appends the envelope.
pub(super) fn write(envelope: &Envelope, out: &mut Vec<u8>) {
    payload::reserve(envelope, out);
    write_member(r#"{"event_id":""#, &envelope.id, out);
    write_member(r#","aggregate_id":""#, &envelope.aggregate_id, out);
    write_member(r#","event_type":""#, &envelope.event_type, out);
    out.extend_from_slice(br#","event_version":"#);
    write_number(envelope.event_version, out);
    out.extend_from_slice(br#","timestamp":""#);
    envelope.occurred_at.write_to(out);
    out.push(b'"');
    if let Some(trace) = envelope.attributes.get(TRACE_ATTRIBUTE) {
        out.extend_from_slice(br#","trace_id":"#);
        write_value(trace, out);
    }
    write_optional(r#","correlation_id":""#, envelope.correlation_id.as_deref(), out);
    write_optional(r#","tenant_id":""#, envelope.tenant.as_deref(), out);
    write_optional(r#","source":""#, envelope.source.as_deref(), out);
    write_optional(r#","schema":""#, envelope.schema.as_deref(), out);
    write_optional(r#","causation_id":""#, envelope.causation_id.as_deref(), out);
    write_optional(r#","traceparent":""#, envelope.traceparent.as_deref(), out);
    payload::write_content_type(r#","content_type":""#, &envelope.payload, Some(JSON_CONTENT_TYPE), out);
    for (name, value) in envelope.attributes.iter().filter(|(name, _)| *name != TRACE_ATTRIBUTE) {
        write_attribute(name, value, is_member, out);
    }
    write_payload(&envelope.payload, out);
    out.push(b'}');
}

fn write_payload(payload: &Payload, out: &mut Vec<u8>) {
    if payload.is_json() {
        out.extend_from_slice(br#","payload":"#);
        out.extend_from_slice(payload.bytes());
    } else if payload.content_type().is_some() {
        payload::write_base64(r#","payload_base64":""#, payload.bytes(), out);
    }
}

/// Reads the members of a flat object; `stored_id` is asked for an event without an id.
pub(super) fn read(body: &Bytes, mut members: Members<'_>, stored_id: impl FnOnce() -> String) -> Result<Envelope> {
    if !members.has("aggregate_id") {
        return Err(no_envelope("there is no member 'aggregate_id'"));
    }
    let trace = members.take_raw("trace_id");
    let mut envelope = Envelope {
        id: take_id(&mut members, stored_id)?,
        aggregate_id: members.take_required("aggregate_id")?,
        event_type: members.take_required("event_type")?,
        event_version: take_version(&mut members)?,
        schema: members.take_if_text("schema")?,
        occurred_at: take_time("timestamp", &mut members)?,
        source: members.take_if_text("source")?,
        tenant: members.take_if_text("tenant_id")?,
        correlation_id: members.take_if_text("correlation_id")?,
        causation_id: members.take_if_text("causation_id")?,
        traceparent: members.take_if_text("traceparent")?,
        payload: take_payload(body, &mut members)?,
        attributes: read_rest(body, members, is_member)?,
        headers: Headers::default(),
    };
    if let Some(raw) = trace {
        add_trace(body, raw, &mut envelope)?;
    }
    check_key(&envelope.aggregate_id)?;
    check_type(&envelope.event_type)?;
    Ok(envelope)
}

/// The id given, or the stored one, which no limit holds for: a topic's name alone may be longer than an id.
fn take_id(members: &mut Members<'_>, stored_id: impl FnOnce() -> String) -> Result<String> {
    match members.take_text("event_id")?.filter(|id| !id.is_empty()) {
        Some(id) => check_id(&id).map(|()| id),
        None => Ok(stored_id()),
    }
}

fn add_trace(body: &Bytes, raw: &str, envelope: &mut Envelope) -> Result<()> {
    let Some(value) = read_value(body, "trace_id", raw)? else { return Ok(()) };
    match envelope.attributes.entry(TRACE_ATTRIBUTE.into()) {
        Entry::Vacant(place) => {
            place.insert(value);
            Ok(())
        }
        Entry::Occupied(_) => Err(duplicate(TRACE_ATTRIBUTE)),
    }
}

fn take_version(members: &mut Members<'_>) -> Result<u64> {
    match members.take_raw("event_version") {
        None | Some("null") => Ok(1),
        Some(raw) => version_of(raw).ok_or_else(|| {
            Error::invalid("EventVersion")
                .cause("event_version is no whole number from 1 to 2^64 - 1")
                .next("count the events of an aggregate from 1")
        }),
    }
}

/// `payload` is JSON whatever the content type says; one that does not say JSON then stays as an attribute.
fn take_payload(body: &Bytes, members: &mut Members<'_>) -> Result<Payload> {
    let binary = members.take_raw("payload_base64").filter(|raw| *raw != "null");
    match (members.take_raw("payload"), binary) {
        (None, None) => Ok(Payload::none()),
        (None | Some("null"), Some(raw)) => payload::binary(members.take_if_text("content_type")?.as_deref(), raw),
        (Some(raw), None) => {
            let content_type = take_json_type(members)?;
            Ok(payload::json(body, content_type.as_deref(), raw))
        }
        (Some(_), Some(_)) => Err(both("payload", "payload_base64")),
    }
}

fn take_json_type(members: &mut Members<'_>) -> Result<Option<String>> {
    match members.raw("content_type") {
        Some(raw) if is_json_type(&text_of(raw)?) => members.take_if_text("content_type"),
        _ => Ok(None),
    }
}
