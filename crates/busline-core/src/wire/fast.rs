//! Reads the layout that we write ourselves, without a parser for members.
//!
//! INVARIANT: it answers only where the slow path gives the same envelope; for all else it declines, errors
//! included. `tests` in this folder hold the two against each other.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::cloudevents::{check_delivered, is_own_attribute};
use super::fields::version_of;
use super::json_scan::value_length;
use super::json_text::plain_prefix;
use super::payload;
use crate::envelope::{Attribute, Envelope};
use crate::headers::Headers;
use crate::occurred_at::OccurredAt;
use crate::payload::{Payload, is_json_type};

/// The envelope, if the body has our layout, plain texts and JSON data or none.
pub(super) fn read(body: &Bytes, text: &str) -> Option<Envelope> {
    let mut rest = Rest(text);
    let id = rest.text(r#"{"specversion":"1.0","id":""#)?;
    let source = rest.text(r#","source":""#)?;
    let event_type = rest.text(r#","type":""#)?;
    let aggregate_id = rest.text(r#","subject":""#)?;
    let partition_key = rest.text(r#","partitionkey":""#)?;
    let sequence = rest.text(r#","sequence":""#)?;
    let time = rest.text(r#","time":""#)?;
    let content_type = rest.text(r#","datacontenttype":""#);
    let envelope = Envelope {
        id: id.into(),
        aggregate_id: aggregate_id.into(),
        event_type: event_type.into(),
        event_version: version_of(sequence)?,
        schema: rest.owned(r#","dataschema":""#),
        occurred_at: OccurredAt::read(time).ok()?,
        source: Some(source.into()),
        tenant: rest.owned(r#","tenantid":""#),
        correlation_id: rest.owned(r#","correlationid":""#),
        causation_id: rest.owned(r#","causationid":""#),
        traceparent: rest.owned(r#","traceparent":""#),
        attributes: rest.attributes()?,
        headers: Headers::default(),
        payload: rest.payload(body, content_type)?,
    };
    (partition_key == aggregate_id && check_delivered(&envelope).is_ok()).then_some(envelope)
}

/// The subject, if the body begins as ours do: a second one further on would be an error to every reader.
pub(super) fn key(body: &[u8]) -> Option<&[u8]> {
    let mut rest = body;
    let mut subject = &body[..0];
    for lead in [r#"{"specversion":"1.0","id":""#, r#","source":""#, r#","type":""#, r#","subject":""#] {
        let behind = rest.strip_prefix(lead.as_bytes())?;
        let (text, quote) = behind.split_at_checked(plain_prefix(behind))?;
        rest = quote.strip_prefix(b"\"")?;
        subject = text;
    }
    std::str::from_utf8(subject).ok().map(str::as_bytes)
}

/// What of the body is still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Takes `lead` and the text behind it, up to the closing quote; takes nothing if the text has an escape.
    ///
    /// Always inlined, so that each lead is compared as a constant of its length.
    #[inline(always)]
    fn text(&mut self, lead: &str) -> Option<&'a str> {
        let behind = self.0.strip_prefix(lead)?;
        let (text, rest) = behind.split_at_checked(plain_prefix(behind.as_bytes()))?;
        self.0 = rest.strip_prefix('"')?;
        Some(text)
    }

    #[inline(always)]
    fn owned(&mut self, lead: &str) -> Option<String> {
        self.text(lead).map(Into::into)
    }

    /// Takes further attributes that are texts, in the order of their names, so that none is given twice.
    fn attributes(&mut self) -> Option<BTreeMap<String, Attribute>> {
        let mut attributes = BTreeMap::new();
        let mut last = "";
        while !self.0.starts_with(r#","data":"#) && self.0 != "}" {
            let name = self.text(",\"")?;
            let value = self.text(":\"")?;
            if name <= last || !is_plain_name(name) || is_own_attribute(name) {
                return None;
            }
            attributes.insert(name.into(), Attribute::Text(value.into()));
            last = name;
        }
        Some(attributes)
    }

    /// Takes the data, to the brace that ends the body.
    fn payload(&mut self, body: &Bytes, content_type: Option<&str>) -> Option<Payload> {
        let Some(data) = self.0.strip_prefix(r#","data":"#) else {
            return (content_type.is_none() && self.0 == "}").then(Payload::none);
        };
        let (json, end) = data.split_at_checked(value_length(data)?)?;
        let whole = end == "}" && content_type.is_none_or(is_json_type);
        whole.then(|| payload::json(body, content_type, json.trim_ascii_start()))
    }
}

/// Whether the name is written without a prefix and without escapes.
fn is_plain_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}
