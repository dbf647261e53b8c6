//! The events that every side publishes, and their stored form.

use busline_core::{Envelope, Partition, Payload, RawJson, Result, Wire, partition_of};

use crate::PARTITIONS;

const KEYS: usize = 64;

/// A body and where it goes.
pub(crate) struct Made {
    pub(crate) partition: Partition,
    pub(crate) key: String,
    pub(crate) body: Vec<u8>,
}

/// Envelopes with a payload of so many bytes of JSON.
pub(crate) fn envelopes(count: usize, bytes: usize) -> Result<Vec<Envelope>> {
    let frame = r#"{"value":42,"unit":""}"#;
    let text = format!(r#"{{"value":42,"unit":"{}"}}"#, "x".repeat(bytes.saturating_sub(frame.len())));
    let payload = Payload::raw_json(RawJson::new(text)?);
    Ok((0..count).map(|number| envelope(number, &payload)).collect())
}

fn envelope(number: usize, payload: &Payload) -> Envelope {
    let version = (number / KEYS) as u64 + 1;
    Envelope::new(format!("key-{}", number % KEYS), "Happened", version).with_payload(payload.clone())
}

/// What the bus would store of this envelope, into memory that is used again.
pub(crate) fn encode(envelope: &Envelope, source: &str, body: &mut Vec<u8>) -> Result<Partition> {
    envelope.validate()?;
    body.clear();
    Wire::CloudEvents.encode(envelope, source, body);
    Ok(partition_of(envelope.aggregate_id.as_bytes(), PARTITIONS))
}

/// The source that the bus writes for a topic.
pub(crate) fn source(topic: &str) -> String {
    format!("/busline/{topic}")
}

/// The stored form of all these.
pub(crate) fn made(envelopes: &[Envelope], topic: &str) -> Result<Vec<Made>> {
    let source = source(topic);
    let make = |envelope: &Envelope| {
        let mut body = Vec::new();
        let partition = encode(envelope, &source, &mut body)?;
        Ok(Made { partition, key: envelope.aggregate_id.clone(), body })
    };
    envelopes.iter().map(make).collect()
}
