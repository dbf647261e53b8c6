//! Frozen bytes: each envelope is written as its file says, byte for byte, and read back from it.
//!
//! A file that no longer matches is a broken format, not an outdated test: stored records look like it.

use std::path::PathBuf;

use busline_core::{Attribute, Envelope, OccurredAt, Payload, RawJson, Wire, decode};
use bytes::Bytes;

const SOURCE: &str = "/busline/orders";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An event with the least there can be.
fn least() -> Envelope {
    Envelope {
        occurred_at: OccurredAt::parse("2026-11-25T08:00:00Z").expect("time"),
        ..Envelope::new("order-42", "OrderPlaced", 1).with_id("019318a4-6a00-7d3e-8b1f-0123456789ab")
    }
}

fn json(text: &str) -> Payload {
    Payload::raw_json(RawJson::new(text.as_bytes().to_vec()).expect("JSON"))
}

fn bytes(content_type: &str, bytes: &[u8]) -> Payload {
    Payload::bytes_of(content_type, bytes.to_vec()).expect("payload")
}

/// An event in which every field is set.
fn all_fields() -> Envelope {
    let envelope = Envelope {
        schema: Some("https://example.com/order.json".into()),
        source: Some("https://example.com/shop".into()),
        tenant: Some("acme".into()),
        correlation_id: Some("basket-7".into()),
        causation_id: Some("019318a4-0000-7000-8000-000000000000".into()),
        traceparent: Some(TRACEPARENT.into()),
        event_version: u64::MAX,
        ..least()
    };
    let deep = RawJson::new(r#"{"a":[1,2.50]}"#).expect("JSON");
    envelope
        .with_attribute("retries", 3)
        .with_attribute("debt", i64::MIN)
        .with_attribute("rush", true)
        .with_attribute("region", "eu-west")
        .with_attribute("traceid", "0af7651916cd43dd8448eb211c80319c")
        .with_attribute("shape", Attribute::Json(deep))
        .with_attribute("payload", "hidden by a member of the flat form")
        .with_payload(json(r#"{"total":12.50}"#))
}

fn at(time: &str) -> Envelope {
    Envelope { occurred_at: OccurredAt::parse(time).expect("time"), ..least() }
}

/// One vector: the file's name without the form, and the envelope.
fn vectors() -> Vec<(&'static str, Envelope)> {
    let unicode = Envelope { aggregate_id: "Größe 🙂 ~@+ 注文".into(), ..least() };
    let escapes = Envelope { event_type: "a\"b\\c/d\n\t\r\u{8}\u{c}\u{0}\u{1f}\u{7f}\u{2028}".into(), ..least() };
    vec![
        ("least", least()),
        ("json", least().with_payload(json(r#"{"items":["book","pen"],"total":12.50}"#))),
        ("json-null", least().with_payload(json("null"))),
        ("json-as-it-came", least().with_payload(json("{ \"n\" : 1e400,\n\"n\" : \"\\ud800\\/\" }"))),
        ("json-type", least().with_payload(bytes("application/vnd.shop.order+json; v=2", b"[1]"))),
        ("all-fields", all_fields()),
        ("unicode", unicode.with_payload(json(r#""é🙂""#))),
        ("escapes", escapes),
        ("binary", least().with_payload(bytes("application/octet-stream", &[0, 0xff, 0x22, 0x5c]))),
        ("empty", least().with_payload(bytes("application/octet-stream", b""))),
        ("text", least().with_payload(bytes("text/plain", "Grüße\n".as_bytes()))),
        ("offset-east", at("2011-08-01T23:41:24.5+02:00")),
        ("offset-west", at("1969-12-31T23:59:59.000000001-09:30")),
    ]
}

fn read_golden(name: &str, wire: Wire) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.{wire}.json"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn check(name: &str, envelope: &Envelope, wire: Wire) {
    let golden = read_golden(name, wire);
    let mut written = Vec::new();
    wire.encode(envelope, SOURCE, &mut written);
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&golden), "{name} as {wire}");
    let read = decode(&Bytes::from(golden), || unreachable!("it has an id")).expect(name);
    let default_source = (wire == Wire::CloudEvents).then(|| SOURCE.to_string());
    assert_eq!(read, Envelope { source: envelope.source.clone().or(default_source), ..envelope.clone() }, "{name}");
}

#[test]
fn every_vector_is_written_and_read_in_both_forms() {
    for (name, envelope) in vectors() {
        envelope.validate().expect(name);
        check(name, &envelope, Wire::CloudEvents);
        check(name, &envelope, Wire::Flat);
    }
}

#[test]
fn every_golden_file_has_its_vector() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = std::fs::read_dir(folder).expect("the golden folder").count();
    assert_eq!(files, 2 * vectors().len());
}
