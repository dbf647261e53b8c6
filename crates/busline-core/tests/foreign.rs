//! What other programs wrote, and what is damaged: read as the format's description says, or a named error.

use busline_core::{Attribute, Envelope, Error, Format, OccurredAt, Wire, decode};
use bytes::Bytes;

const STORED_ID: &str = "orders/3/17";

fn read(body: impl AsRef<[u8]>) -> Result<Envelope, Error> {
    decode(&Bytes::copy_from_slice(body.as_ref()), || STORED_ID.into())
}

/// A CloudEvent with what the specification asks for, and more members behind.
fn event(more: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"T","subject":"k"{more}}}"#)
}

fn flat(more: &str) -> String {
    format!(r#"{{"aggregate_id":"k","event_type":"T"{more}}}"#)
}

#[track_caller]
fn legal(body: &str) -> Envelope {
    read(body).unwrap_or_else(|error| panic!("{body}: {error}"))
}

#[track_caller]
fn refused(body: impl AsRef<[u8]>, code: &str) {
    let error = read(body.as_ref()).expect_err(code);
    let shown = error.to_string();
    assert_eq!(error.code(), code, "{shown}");
    assert!(error.is_definite() && !shown.contains('\n') && shown.contains("; "), "{shown}");
    assert!(!shown.contains("secret") && !format!("{error:?}").contains("secret"), "{shown}");
}

fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

fn rewritten(envelope: &Envelope, wire: Wire) -> String {
    let mut out = Vec::new();
    wire.encode(envelope, "/default", &mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn the_least_of_each_form_is_read_with_documented_defaults() {
    let envelope = legal(&event(""));
    assert_eq!((envelope.id.as_str(), envelope.aggregate_id.as_str(), envelope.event_version), ("1", "k", 1));
    assert_eq!(envelope.occurred_at, OccurredAt::parse("1970-01-01T00:00:00Z").expect("time"));
    assert_eq!((envelope.source.as_deref(), envelope.payload.content_type()), (Some("/s"), None));
    for more in ["", r#","event_id":null"#, r#","event_id":"","tenant_id":null"#] {
        let envelope = legal(&flat(more));
        assert_eq!((envelope.id.as_str(), envelope.event_version), (STORED_ID, 1));
        assert_eq!((envelope.tenant, envelope.source), (None, None));
    }
}

#[test]
fn a_stored_id_may_be_longer_than_a_published_one() {
    let long = "t".repeat(200);
    let envelope = decode(&Bytes::from(flat("")), || format!("{long}/0/1")).expect("legal");
    assert_eq!(envelope.id.len(), 204);
}

#[test]
fn real_flat_records_are_read_and_written_back() {
    let mut lines = 0;
    for line in include_str!("fixtures/file-history.ndjson").lines() {
        let envelope = legal(line);
        envelope.validate().expect("real events can be published");
        assert_eq!(rewritten(&envelope, Wire::Flat), line.replace("+00:00\"", "Z\""));
        assert_eq!(legal(&rewritten(&envelope, Wire::CloudEvents)).payload, envelope.payload);
        lines += 1;
    }
    assert!(lines > 100);
}

#[test]
fn members_of_any_order_spacing_and_escaping_are_read() {
    let envelope = legal(
        "\r\n{ \"data\" : [ 1 ] , \"\\u0074ype\" : \"\\u0054\\ud83d\\ude42\" ,\n\"subject\":\"k\\/\", \"source\":\"/\", \
         \"id\":\"1\",\t\"specversion\":\"1\\u002e0\" } \n",
    );
    assert_eq!((envelope.event_type.as_str(), envelope.aggregate_id.as_str()), ("T🙂", "k/"));
    assert_eq!(envelope.payload.bytes(), "[ 1 ]");
}

#[test]
fn the_key_is_the_subject_or_else_the_partition_key() {
    let other = r#"{"specversion":"1.0","id":"1","source":"/","type":"T","partitionkey":"p"}"#;
    assert_eq!(legal(other).aggregate_id, "p");
    assert_eq!(legal(&event(r#","partitionkey":"k""#)).attributes.len(), 0);
    let both = legal(&event(r#","partitionkey":"p""#));
    assert_eq!((both.aggregate_id.as_str(), both.attributes.get("partitionkey")), ("k", Some(&"p".into())));
    refused(other.replace("partitionkey", "other"), "Corrupt/NoKey");
}

#[test]
fn a_sequence_that_counts_otherwise_is_version_one_and_kept() {
    for (sequence, version) in [(r#""00000000000000000042""#, 42), (r#""7""#, 7), ("7", 7)] {
        let envelope = legal(&event(&format!(r#","sequence":{sequence}"#)));
        assert_eq!((envelope.event_version, envelope.attributes.len()), (version, 0));
    }
    for kept in [r#""0""#, r#""-1""#, r#""+1""#, r#""00a""#, r#""""#, "0", "1.5", r#""18446744073709551616""#] {
        let envelope = legal(&event(&format!(r#","sequence":{kept}"#)));
        assert_eq!((envelope.event_version, envelope.attributes.len()), (1, 1), "{kept}");
        let again = rewritten(&envelope, Wire::CloudEvents);
        assert!(again.contains(&format!(r#","attribute_sequence":{kept}"#)), "{again}");
        assert_eq!(legal(&again).attributes, envelope.attributes);
    }
}

#[test]
fn unknown_members_survive_both_forms_as_they_came() {
    let more = concat!(
        r#","text":"a\"b","whole":-5,"truth":false,"half":1.50,"large":12345678901234567890,"minus":-0,"#,
        r#""deep":{"a":[1e400, null]},"myExt":"x","a_b":"y","attribute_x":"z","":"empty","unset":null"#
    );
    for body in [event(more), flat(more)] {
        let envelope = legal(&body);
        assert_eq!(envelope.attributes.len(), 11);
        assert_eq!(envelope.attributes["text"], Attribute::Text("a\"b".into()));
        assert_eq!(envelope.attributes["whole"], Attribute::Integer(-5));
        assert_eq!(envelope.attributes["truth"], Attribute::Boolean(false));
        for (name, json) in [("half", "1.50"), ("large", "12345678901234567890"), ("deep", r#"{"a":[1e400, null]}"#)] {
            assert!(matches!(&envelope.attributes[name], Attribute::Json(raw) if raw.bytes() == json));
        }
        for wire in [Wire::CloudEvents, Wire::Flat] {
            assert_eq!(legal(&rewritten(&envelope, wire)).attributes, envelope.attributes);
        }
    }
}

#[test]
fn a_member_with_the_name_of_the_other_forms_field_stays_itself() {
    let envelope = legal(&flat(r#","id":"inner","data":{"x":1},"sequence":"9","attribute_id":"y","payload":2"#));
    assert_eq!((envelope.id.as_str(), envelope.event_version), (STORED_ID, 1));
    let again = rewritten(&envelope, Wire::CloudEvents);
    assert!(
        again.contains(r#""attribute_id":"inner""#) && again.contains(r#""attribute_attribute_id":"y""#),
        "{again}"
    );
    let source = Some("/default".into());
    assert_eq!(legal(&again), Envelope { source, ..envelope });
}

#[test]
fn fields_of_another_type_stay_as_attributes_where_an_event_can_do_without() {
    let envelope = legal(&event(r#","tenantid":5,"correlationid":{"a":1},"dataschema":null,"traceparent":"junk""#));
    assert_eq!((&envelope.tenant, &envelope.correlation_id, &envelope.schema), (&None, &None, &None));
    assert_eq!(envelope.attributes["tenantid"], Attribute::Integer(5));
    assert_eq!(envelope.attributes.len(), 2);
    assert_eq!(envelope.traceparent.as_deref(), Some("junk"));
    for member in ["id", "type", "subject"] {
        let wrong = event("").replace(&format!(r#""{member}":""#), &format!(r#""{member}":7,"x":""#));
        refused(wrong, "Invalid/Type");
    }
    refused(event(r#","time":5"#), "Invalid/Type");
    refused(flat(r#","event_id":5"#), "Invalid/Type");
}

#[test]
fn a_trace_id_is_an_attribute_as_it_came() {
    for value in [r#""abc""#, r#""""#, "5", r#"{"a":1}"#] {
        let envelope = legal(&flat(&format!(r#","trace_id":{value}"#)));
        assert_eq!(envelope.attributes.keys().collect::<Vec<_>>(), ["traceid"]);
        assert!(rewritten(&envelope, Wire::Flat).contains(&format!(r#""trace_id":{value}"#)));
        assert!(rewritten(&envelope, Wire::CloudEvents).contains(&format!(r#""traceid":{value}"#)));
    }
    assert!(legal(&flat(r#","trace_id":null"#)).attributes.is_empty());
    refused(flat(r#","trace_id":"a","traceid":"b""#), "Invalid/DuplicateKey");
}

#[track_caller]
fn has_payload(body: &str, content_type: &str, bytes: impl AsRef<[u8]>) {
    let payload = legal(body).payload;
    assert_eq!((payload.content_type(), payload.bytes().as_ref()), (Some(content_type), bytes.as_ref()), "{body}");
}

#[test]
fn data_is_json_text_or_bytes_as_its_content_type_says() {
    has_payload(&event(r#","data":{"a": 1e400}"#), "application/json", r#"{"a": 1e400}"#);
    has_payload(&event(r#","data":null"#), "application/json", "null");
    has_payload(&event(r#","datacontenttype":"Application/JSON","data":"a\n""#), "Application/JSON", r#""a\n""#);
    has_payload(&event(r#","datacontenttype":"text/xml","data":"<a b=\"1\"/>""#), "text/xml", r#"<a b="1"/>"#);
    has_payload(&event(r#","datacontenttype":"text/xml","data":"<a/>""#), "text/xml", "<a/>");
    has_payload(&event(r#","datacontenttype":"text/xml","data":[1, 2]"#), "text/xml", "[1, 2]");
    has_payload(&event(r#","datacontenttype":"text/plain","data_base64":"/w==""#), "text/plain", [0xff]);
    has_payload(&event(r#","datacontenttype":"image/png","data_base64":"AA","data":null"#), "image/png", [0]);
    has_payload(&event(r#","datacontenttype":"application/json","data_base64":"WzFd""#), "application/json", "[1]");
    has_payload(&event(r#","data_base64":"WzFd""#), "application/json", "[1]");
    has_payload(&event(r#","data_base64":"\/w==""#), "application/octet-stream", [0xff]);
    has_payload(&flat(r#","payload":"x","content_type":"text/plain""#), "application/json", r#""x""#);
    has_payload(&flat(r#","payload_base64":"eA","content_type":"text/plain""#), "text/plain", "x");
    assert_eq!(legal(&event(r#","datacontenttype":"text/xml""#)).payload.content_type(), None);
    assert_eq!(legal(&flat(r#","payload":1,"content_type":"order""#)).attributes["content_type"], "order".into());
}

#[test]
fn data_that_cannot_be_what_it_claims_is_refused() {
    for body in [r#","data":1,"data_base64":"AA==""#, r#","data":"secret","data_base64":"secret""#] {
        refused(event(body), "Invalid/DuplicateKey");
    }
    for base64 in [r#""secret!""#, r#""A""#, "5", "{}", r#""__--""#] {
        refused(event(&format!(r#","data_base64":{base64}"#)), "Corrupt/Base64");
        refused(flat(&format!(r#","payload_base64":{base64}"#)), "Corrupt/Base64");
    }
    refused(event(r#","datacontenttype":"application/json","data_base64":"ew==""#), "Invalid/PayloadNotJson");
    refused(event(r#","datacontenttype":"application/json","data_base64":"/w==""#), "Invalid/PayloadNotUtf8");
    refused(event(r#","datacontenttype":"text/plain","data":"secret\ud800""#), "Corrupt/NotJson");
}

#[test]
fn deep_payloads_are_kept_raw_and_deep_envelopes_are_too_large() {
    for levels in [64, 65, 10_000] {
        let deep = nested(levels);
        assert_eq!(legal(&event(&format!(r#","data":{deep}"#))).payload.bytes(), &deep);
        assert_eq!(legal(&flat(&format!(r#","payload":{deep}"#))).payload.bytes(), &deep);
    }
    legal(&event(&format!(r#","x":{},"brackets":"{}""#, nested(64), "[".repeat(100))));
    for body in [event(&format!(r#","x":{}"#, nested(65))), flat(&format!(r#","x":{}"#, nested(10_000)))] {
        refused(body, "TooLarge/JsonDepth");
    }
    refused(nested(10_000), "TooLarge/JsonDepth");
    refused("[".repeat(1_000_000), "TooLarge/JsonDepth");
    refused(r#"{"a":"#.repeat(10_000), "Corrupt/Truncated");
}

#[test]
fn numbers_and_duplicates_of_the_envelope_are_refused_those_of_the_payload_kept() {
    refused(event(r#","x":1e400"#), "Invalid/Number");
    refused(flat(&format!(r#","x":-{}"#, "9".repeat(100_000))), "Invalid/Number");
    refused(event(r#","x":1,"x":"secret""#), "Invalid/DuplicateKey");
    refused(event(r#","\u0069d":"2""#), "Invalid/DuplicateKey");
    refused(event(r#","tenantid":5,"attribute_tenantid":6"#), "Invalid/DuplicateKey");
    refused(flat(r#","payload":1,"payload":2"#), "Invalid/DuplicateKey");
    legal(&event(r#","data":{"a":1e400,"a":2}"#));
}

#[test]
fn what_is_no_envelope_or_damaged_is_named() {
    for body in
        ["", " \n", "null", "5", "\"secret\"", "[1]", "secret", "{}", r#"{"data":"secret"}"#, "\u{feff}{}", "\0"]
    {
        refused(body, "Corrupt/NoEnvelope");
    }
    refused(b"\xff\xfe", "Corrupt/NoEnvelope");
    refused(b"{\"a\":\"\xff\"}", "Corrupt/NotUtf8");
    refused(b"{\"a\":\"\xc3", "Corrupt/Truncated");
    for behind in ["{}", "x", "\0", ",", "}", "\u{a0}"] {
        refused(format!("{}{behind}", event("")), "Corrupt/TrailingBytes");
    }
    for broken in [r#","#, r#","x""#, r#","x":}"#, r#","x":01"#, ",\"x\":\"\t\"", r#","x":"\q""#, r#","x":"\ud800""#] {
        refused(event(broken), "Corrupt/NotJson");
    }
    refused("{'specversion':'1.0'}", "Corrupt/NotJson");
}

#[test]
fn other_versions_of_cloudevents_are_unsupported() {
    for version in [r#""1.1""#, r#""2.0""#, r#""0.3""#, r#""""#, "1.0", "null", "{}"] {
        let body = event("").replace(r#""1.0""#, version);
        refused(body, "Unsupported/FormatVersion");
    }
}

#[test]
fn names_that_delivery_relies_on_are_checked_as_in_publishing() {
    for (key, code) in [
        (String::new(), "Invalid/EmptyKey"),
        ("k".repeat(257), "Invalid/KeyTooLong"),
        ("\\n".into(), "Invalid/KeyCharacter"),
        ("\\u0085".into(), "Invalid/KeyCharacter"),
    ] {
        refused(event("").replace(r#""k""#, &format!("\"{key}\"")), code);
        refused(flat("").replace(r#""k""#, &format!("\"{key}\"")), code);
    }
    for (id, code) in [
        (String::new(), "Invalid/EmptyField"),
        ("i".repeat(129), "Invalid/IdTooLong"),
        ("\\u001b".into(), "Invalid/IdCharacter"),
    ] {
        refused(event("").replace(r#""1","#, &format!("\"{id}\",")), code);
    }
    refused(flat(r#","event_id":"\u0000""#), "Invalid/IdCharacter");
    refused(event("").replace(r#""id":"1","#, ""), "Invalid/EmptyField");
    refused(event("").replace(r#""T""#, r#""""#), "Invalid/EmptyField");
    refused(flat("").replace(r#","event_type":"T""#, ""), "Invalid/EmptyField");
}

#[test]
fn event_versions_and_times_of_flat_records_are_checked() {
    assert_eq!(legal(&flat(r#","event_version":18446744073709551615"#)).event_version, u64::MAX);
    for version in ["0", "-1", "1.0", "1e1", r#""1""#, "true", "18446744073709551616"] {
        refused(flat(&format!(r#","event_version":{version}"#)), "Invalid/EventVersion");
    }
    for time in ["2026-11-25T08:00:00", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "-1", "NaN"] {
        refused(flat(&format!(r#","timestamp":"{time}""#)), "Invalid/Time");
        refused(event(&format!(r#","time":"{time}""#)), "Invalid/Time");
    }
}

#[test]
fn a_form_can_be_insisted_on() {
    let as_form = |format: &str, body: String| {
        let format: Format = format.parse().expect("a format");
        format.decode(&body.into(), || STORED_ID.into())
    };
    for (format, body) in [("auto", event("")), ("cloudevents", event("")), ("auto", flat("")), ("flat", flat(""))] {
        as_form(format, body).expect(format);
    }
    for (format, body) in [("flat", event("")), ("cloudevents", flat(""))] {
        assert_eq!(as_form(format, body).expect_err(format).code(), "Corrupt/NoEnvelope");
    }
    let both = event(r#","aggregate_id":"a","event_type":"E""#);
    assert_eq!(as_form("auto", both.clone()).expect("CloudEvents").aggregate_id, "k");
    let flat_with_version = as_form("flat", both).expect("flat");
    assert_eq!(flat_with_version.aggregate_id, "a");
    assert_eq!(legal(&rewritten(&flat_with_version, Wire::Flat)).aggregate_id, "a");
    assert_eq!("Flat".parse::<Wire>().expect_err("case").code(), "Invalid/Value");
    assert_eq!("xml".parse::<Format>().expect_err("unknown").code(), "Invalid/Value");
    assert_eq!((Wire::default().to_string(), Format::default().to_string()), ("cloudevents".into(), "auto".into()));
}

#[test]
fn publishing_refuses_what_could_not_be_read_back() {
    let json = |text: String| Attribute::Json(busline_core::RawJson::new(text).expect("JSON"));
    for (value, code) in [(json("1e400".into()), "Invalid/Number"), (json(nested(65)), "TooLarge/JsonDepth")] {
        let error = Envelope::new("k", "T", 1).with_attribute("x", value).validate().expect_err(code);
        assert_eq!(error.code(), code);
    }
}
