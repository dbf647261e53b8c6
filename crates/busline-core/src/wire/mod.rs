//! How an envelope is written into a record's body, and read from it.

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
