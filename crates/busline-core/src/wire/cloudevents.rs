//! The CloudEvents 1.0 form: a structured JSON object that any CloudEvents library reads.
//!
//! Source: CloudEvents 1.0.2, JSON Event Format 1.0.2; extensions `partitionkey`, `sequence`, `traceparent`.

use bytes::Bytes;

use super::attributes::{read_rest, write_attribute};
use super::fields::{take_time, version_of};
use super::json_text::{write_member, write_optional, write_padded};
use super::members::{Members, both, is_text, no_envelope, text_of};
use super::payload;
use crate::envelope::{Envelope, check_id, check_key, check_type};
use crate::error::{Error, ErrorKind, Result, escaped};
use crate::headers::Headers;
use crate::payload::Payload;

/// The version we write and read.
const SPEC_VERSION: &str = "1.0";

/// Whether a field of the envelope is written under this attribute name, so that no further attribute may use it.
pub(crate) fn is_own_attribute(name: &str) -> bool {
    matches!(
        name,
        "specversion"
            | "id"
            | "source"
            | "type"
            | "subject"
            | "partitionkey"
            | "sequence"
            | "time"
            | "datacontenttype"
            | "dataschema"
            | "tenantid"
            | "correlationid"
            | "causationid"
            | "traceparent"
            | "data"
            | "data_base64"
    )
}

/// Appends the envelope; the fast path reads exactly this order of members.
pub(super) fn write(envelope: &Envelope, default_source: &str, out: &mut Vec<u8>) {
    payload::reserve(envelope, out);
    write_member(r#"{"specversion":"1.0","id":""#, &envelope.id, out);
    write_member(r#","source":""#, envelope.source.as_deref().unwrap_or(default_source), out);
    write_member(r#","type":""#, &envelope.event_type, out);
    write_member(r#","subject":""#, &envelope.aggregate_id, out);
    write_member(r#","partitionkey":""#, &envelope.aggregate_id, out);
    out.extend_from_slice(br#","sequence":""#);
    write_padded(envelope.event_version, out);
    out.extend_from_slice(br#"","time":""#);
    envelope.occurred_at.write_to(out);
    out.push(b'"');
    payload::write_content_type(r#","datacontenttype":""#, &envelope.payload, None, out);
    write_optional(r#","dataschema":""#, envelope.schema.as_deref(), out);
    write_optional(r#","tenantid":""#, envelope.tenant.as_deref(), out);
    write_optional(r#","correlationid":""#, envelope.correlation_id.as_deref(), out);
    write_optional(r#","causationid":""#, envelope.causation_id.as_deref(), out);
    write_optional(r#","traceparent":""#, envelope.traceparent.as_deref(), out);
    for (name, value) in &envelope.attributes {
        write_attribute(name, value, is_own_attribute, out);
    }
    write_data(&envelope.payload, out);
    out.push(b'}');
}

fn write_data(payload: &Payload, out: &mut Vec<u8>) {
    if payload.is_json() {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(payload.bytes());
    } else if payload.content_type().is_some() {
        payload::write_base64(r#","data_base64":""#, payload.bytes(), out);
    }
}

/// Reads the members of a CloudEvents object.
///
/// Fields of ours that hold something else in another program's event stay as attributes of the same name.
pub(super) fn read(body: &Bytes, mut members: Members<'_>) -> Result<Envelope> {
    check_version(&mut members)?;
    let envelope = Envelope {
        id: members.take_required("id")?,
        aggregate_id: take_key(&mut members)?,
        event_type: members.take_required("type")?,
        event_version: take_sequence(&mut members)?,
        schema: members.take_if_text("dataschema")?,
        occurred_at: take_time("time", &mut members)?,
        source: members.take_if_text("source")?,
        tenant: members.take_if_text("tenantid")?,
        correlation_id: members.take_if_text("correlationid")?,
        causation_id: members.take_if_text("causationid")?,
        traceparent: members.take_if_text("traceparent")?,
        payload: take_payload(body, &mut members)?,
        attributes: read_rest(body, members, is_own_attribute)?,
        headers: Headers::default(),
    };
    check_delivered(&envelope)?;
    Ok(envelope)
}

/// Checks what delivery relies on, as publishing does; all else is passed on as it came.
pub(super) fn check_delivered(envelope: &Envelope) -> Result<()> {
    check_key(&envelope.aggregate_id)?;
    check_id(&envelope.id)?;
    check_type(&envelope.event_type)
}

fn check_version(members: &mut Members<'_>) -> Result<()> {
    let Some(raw) = members.take_raw("specversion") else {
        return Err(no_envelope("there is no member 'specversion'"));
    };
    if is_text(raw) && text_of(raw)? == SPEC_VERSION {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, "FormatVersion")
        .cause(format!("specversion {}", escaped(raw)))
        .next("write CloudEvents of specversion \"1.0\", or read them with a later busline"))
}

fn take_key(members: &mut Members<'_>) -> Result<String> {
    if let Some(subject) = members.take_text("subject")? {
        take_twin(&subject, members)?;
        return Ok(subject);
    }
    members.take_text("partitionkey")?.ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, "NoKey")
            .cause("neither 'subject' nor 'partitionkey' is given")
            .next("write the aggregate's id as the subject")
    })
}

/// Takes a partition key that says what the subject says; another one stays as an attribute.
fn take_twin(subject: &str, members: &mut Members<'_>) -> Result<()> {
    match members.raw("partitionkey") {
        Some(raw) if is_text(raw) && text_of(raw)? == subject => members.take_raw("partitionkey"),
        _ => None,
    };
    Ok(())
}

/// The event version; 1 if `sequence` is missing or counts otherwise, and then it stays as an attribute.
fn take_sequence(members: &mut Members<'_>) -> Result<u64> {
    let Some(raw) = members.raw("sequence") else { return Ok(1) };
    let digits = if is_text(raw) { text_of(raw)? } else { raw.into() };
    let version = version_of(&digits);
    if version.is_some() {
        members.take_raw("sequence");
    }
    Ok(version.unwrap_or(1))
}

fn take_payload(body: &Bytes, members: &mut Members<'_>) -> Result<Payload> {
    let content_type = members.take_if_text("datacontenttype")?;
    let content_type = content_type.as_deref();
    let binary = members.take_raw("data_base64").filter(|raw| *raw != "null");
    match (members.take_raw("data"), binary) {
        (None, None) => Ok(Payload::none()),
        (Some(raw), None) => payload::data(body, content_type, raw),
        (None | Some("null"), Some(raw)) => payload::binary(content_type, raw),
        (Some(_), Some(_)) => Err(both("data", "data_base64")),
    }
}
