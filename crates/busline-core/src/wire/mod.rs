//! How an envelope is written into a record's body, and read from it.

use bytes::Bytes;

use crate::envelope::Envelope;
use crate::error::Result;

/// Attribute names that a field of the envelope carries, so that no further attribute may use them.
const OWN_ATTRIBUTES: [&str; 14] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "partitionkey",
    "sequence",
    "tenantid",
    "correlationid",
    "causationid",
    "traceparent",
];

/// Whether a field of the envelope is written under this attribute name.
pub(crate) fn is_own_attribute(name: &str) -> bool {
    matches!(name, "data") || OWN_ATTRIBUTES.contains(&name)
}

/// TEMPORARY until the codec branch lands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wire {
    /// ce
    #[default]
    CloudEvents,
    /// flat
    Flat,
}

impl Wire {
    /// encode
    pub fn encode(self, envelope: &Envelope, _default_source: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(envelope.id.as_bytes());
    }
}

/// decode
pub fn decode(_body: &Bytes, stored_id: impl FnOnce() -> String) -> Result<Envelope> {
    Ok(Envelope::new("k", "T", 1).with_id(stored_id()))
}
