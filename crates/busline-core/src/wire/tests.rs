//! Round trips of arbitrary envelopes, and the fast path held against the slow one.

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::Offset as UtcOffset;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::{Format, Wire, decode, fast, is_own_attribute, key_of, members};
use crate::envelope::{Attribute, Envelope};
use crate::error::{Error, Result};
use crate::occurred_at::OccurredAt;
use crate::payload::{Payload, RawJson};

const DEFAULT_SOURCE: &str = "/busline/orders";

fn raw(json: &str) -> RawJson {
    RawJson::new(json.as_bytes().to_vec()).expect("JSON")
}

/// Text without control characters, mostly plain, so that the fast path is taken often.
fn name(bytes_max: usize) -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z0-9/+~@ -]{1,40}", 1 => "\\PC{1,64}"]
        .prop_filter("too long", move |text: &String| text.len() <= bytes_max && !text.chars().any(char::is_control))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-zA-Z0-9:/-]{0,20}", 1 => any::<String>(), 1 => "[\\x00-\\x22\\\\u0-9]{0,12}"]
}

fn json() -> impl Strategy<Value = RawJson> {
    let leaf = prop_oneof![
        Just("null".to_string()),
        Just("1e400".to_string()),
        Just("-0.50".to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        text().prop_map(|text| serde_json::to_string(&text).expect("JSON")),
    ];
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            vec(inner, 0..4).prop_map(|items| {
                let members: Vec<_> = items.iter().map(|item| format!("\"data\":\n{item}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    tree.prop_map(|json| raw(&json))
}

fn payload() -> impl Strategy<Value = Payload> {
    let kind = prop::sample::select(vec!["application/octet-stream", "text/plain", "image/png"]);
    let bytes = text().prop_map(String::into_bytes);
    prop_oneof![
        1 => Just(Payload::none()),
        4 => json().prop_map(Payload::raw_json),
        1 => json().prop_map(|json| Payload::bytes_of("application/vnd.x+json", json.bytes().clone()).expect("JSON")),
        2 => (kind, bytes).prop_map(|(kind, bytes)| Payload::bytes_of(kind, bytes).expect("bytes")),
    ]
}

/// Values that are read as what they were written: a text as text, whatever JSON it may also be.
fn attribute() -> impl Strategy<Value = Attribute> {
    let other = prop::sample::select(vec!["{\"a\":[1,null]}", "[]", "1.50", "-0", "1e2", "18446744073709551615"]);
    prop_oneof![
        3 => text().prop_map(Attribute::Text),
        1 => any::<i64>().prop_map(Attribute::Integer),
        1 => any::<bool>().prop_map(Attribute::Boolean),
        1 => other.prop_map(|json| Attribute::Json(raw(json))),
    ]
}

fn attribute_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]{1,20}",
        prop::sample::select(vec!["traceid", "payload", "timestamp", "schema", "ext"]).prop_map(str::to_string),
    ]
    .prop_filter("own", |name| !is_own_attribute(name))
}

fn time() -> impl Strategy<Value = OccurredAt> {
    let second = -62_135_500_000_i64..253_402_200_000;
    let nanos = prop_oneof![Just(0_i32), Just(500_000_000), 0..1_000_000_000_i32];
    (second, nanos, prop_oneof![Just(0), -1_439..1_440_i32]).prop_map(|(second, nanos, minutes)| OccurredAt {
        instant: Timestamp::new(second, nanos).expect("in range"),
        offset: UtcOffset::from_seconds(minutes * 60).expect("in range"),
    })
}

prop_compose! {
    fn envelope()(
        id in name(128),
        aggregate_id in name(256),
        event_type in text().prop_filter("empty", |text| !text.is_empty()),
        event_version in prop_oneof![1..100_u64, Just(u64::MAX)],
        [schema, source, tenant, correlation_id, causation_id] in prop::array::uniform5(option::weighted(0.3, text())),
        traced in any::<bool>(),
        occurred_at in time(),
        attributes in btree_map(attribute_name(), attribute(), 0..4),
        payload in payload(),
    ) -> Envelope {
        let mut envelope = Envelope::new(aggregate_id, event_type, event_version).with_id(id).with_payload(payload);
        envelope.traceparent = traced.then(|| "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
        Envelope { schema, source, tenant, correlation_id, causation_id, occurred_at, attributes, ..envelope }
    }
}

fn encoded(wire: Wire, envelope: &Envelope) -> Bytes {
    let mut out = Vec::new();
    wire.encode(envelope, DEFAULT_SOURCE, &mut out);
    out.into()
}

fn stored_id() -> String {
    "orders/0/7".into()
}

/// What can be compared of an outcome.
fn outcome(result: Result<Envelope>) -> std::result::Result<Envelope, String> {
    result.map_err(|error: Error| error.to_string())
}

/// The fast path, where it answers, gives what the slow one gives; returns whether it answered.
fn fast_is_slow(body: &Bytes) -> std::result::Result<bool, TestCaseError> {
    let Ok(text) = members::utf8(body) else { return Ok(false) };
    let slow = outcome(Format::Auto.decode_members(body, text, stored_id));
    prop_assert_eq!(outcome(decode(body, stored_id)), slow.clone());
    let fast = fast::read(body, text);
    let answered = fast.is_some();
    if answered {
        prop_assert_eq!(fast, slow.ok());
    }
    Ok(answered)
}

#[derive(Debug, Clone)]
enum Mutation {
    Replace(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Insert(prop::sample::Index, &'static str),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = any::<prop::sample::Index>;
    let pieces =
        vec!["\"", "\\", "}", ",", ":", " ", "{", "0", "1", "\n", "é", ",\"data\":1", ",\"a\":\"b\"", ",\"id\":\"x\""];
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (place(), 1..30_usize).prop_map(|(at, length)| Mutation::Remove(at, length)),
        (place(), 1..60_usize).prop_map(|(at, length)| Mutation::Repeat(at, length)),
        (place(), prop::sample::select(pieces)).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
    ]
}

fn mutated(body: &[u8], mutations: Vec<Mutation>) -> Bytes {
    let mut bytes = body.to_vec();
    for mutation in mutations {
        if bytes.is_empty() {
            break;
        }
        let until = |at: usize, length: usize| (at + length).min(bytes.len());
        match mutation {
            Mutation::Replace(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Mutation::Remove(at, length) => {
                let at = at.index(bytes.len());
                bytes.drain(at..until(at, length));
            }
            Mutation::Repeat(at, length) => {
                let at = at.index(bytes.len());
                let piece = bytes[at..until(at, length)].to_vec();
                bytes.splice(at..at, piece);
            }
            Mutation::Insert(at, piece) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, piece.bytes());
            }
        }
    }
    bytes.into()
}

proptest! {
    #[test]
    fn every_valid_envelope_survives_both_forms(envelope in envelope()) {
        envelope.validate().expect("a valid envelope");
        let flat = decode(&encoded(Wire::Flat, &envelope), stored_id);
        prop_assert_eq!(outcome(flat), Ok(envelope.clone()));
        let read = decode(&encoded(Wire::CloudEvents, &envelope), stored_id);
        let source = envelope.source.clone().or(Some(DEFAULT_SOURCE.into()));
        prop_assert_eq!(outcome(read), Ok(Envelope { source, ..envelope }));
    }

    #[test]
    fn the_encoded_form_is_json_that_serde_reads(envelope in envelope()) {
        for wire in [Wire::CloudEvents, Wire::Flat] {
            let body = encoded(wire, &envelope);
            let text = std::str::from_utf8(&body).expect("UTF-8");
            prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_one_form_read_the_other_carries(envelope in envelope()) {
        let first = decode(&encoded(Wire::CloudEvents, &envelope), stored_id).expect("own form");
        let second = decode(&encoded(Wire::Flat, &first), stored_id).expect("own form");
        prop_assert_eq!(&second, &first);
        prop_assert_eq!(encoded(Wire::CloudEvents, &second), encoded(Wire::CloudEvents, &envelope));
    }

    #[test]
    fn the_fast_path_equals_the_slow_one_on_own_output(envelope in envelope()) {
        fast_is_slow(&encoded(Wire::CloudEvents, &envelope))?;
    }

    #[test]
    fn the_fast_path_equals_the_slow_one_on_mutated_output(
        envelope in envelope(),
        mutations in vec(mutation(), 1..4),
    ) {
        fast_is_slow(&mutated(&encoded(Wire::CloudEvents, &envelope), mutations))?;
    }

    #[test]
    fn the_key_alone_is_that_of_the_envelope(envelope in envelope(), mutations in vec(mutation(), 0..4)) {
        for wire in [Wire::CloudEvents, Wire::Flat] {
            let body = mutated(&encoded(wire, &envelope), mutations.clone());
            if let Ok(read) = decode(&body, stored_id) {
                prop_assert_eq!(key_of(&body), Some(Bytes::from(read.aggregate_id)));
            }
        }
    }

    #[test]
    fn every_prefix_is_truncated(envelope in envelope()) {
        for wire in [Wire::CloudEvents, Wire::Flat] {
            let body = encoded(wire, &envelope);
            for end in 1..body.len() {
                let error = decode(&body.slice(..end), stored_id).expect_err("a prefix");
                prop_assert_eq!(error.code(), "Corrupt/Truncated", "cut at {}", end);
            }
        }
    }
}

#[test]
fn the_fast_path_takes_what_a_publisher_usually_writes() {
    let mut envelope = Envelope::new("order-42 é", "OrderPlaced", 7).with_attribute("region", "eu");
    envelope.tenant = Some("acme".into());
    envelope.correlation_id = Some("c".into());
    for payload in [Payload::none(), Payload::json(&["a\n"]).expect("JSON")] {
        let body = encoded(Wire::CloudEvents, &envelope.clone().with_payload(payload));
        assert!(fast_is_slow(&body).expect("equal"));
    }
}

#[test]
fn payloads_are_slices_of_the_body() {
    let envelope = Envelope::new("k", "T", 1).json(&["x"]).expect("JSON");
    for wire in [Wire::CloudEvents, Wire::Flat] {
        let body = encoded(wire, &envelope);
        let read = decode(&body, stored_id).expect("own form");
        assert!(body.as_ptr_range().contains(&read.payload.bytes().as_ptr()));
    }
}
