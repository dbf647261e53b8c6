//! T4, B2 and B3: the same call means the same on every backend; errors are definite, one line, and hold no secret.

use busline_core::{
    AckPositions, Driver, Envelope, GroupName, OccurredAt, Offset, Partition, Payload, PublisherSettings,
    RECORD_BYTES_MAX, ReadRequest, SourceRequest, Start, TryPublishError, Wire,
};
use std::time::Duration;

use crate::envelopes::{accept, acked, envelope, failed, outcome, refused};
use crate::failures::Failures;
use crate::harness::Harness;
use crate::stage::{Stage, skip, within};
use crate::stepping::Stepped;

/// Envelopes of every legal shape are read back as they were published, in both stored forms.
pub async fn what_is_published_is_read_back(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    for wire in [Wire::CloudEvents, Wire::Flat] {
        let topic = crate::stage::fresh_topic();
        let publisher = stage.bus.publisher(&topic).wire(wire).open().await.expect("opens");
        let name = publisher.topic().name.clone();
        for mut sent in shapes() {
            sent.source = Some(format!("/busline/{topic}"));
            if wire == Wire::Flat && !fits_flat(&sent) {
                continue;
            }
            let ack = acked(accept(&publisher, sent.clone())).await;
            let stored = crate::stored::Stored::read(&**stage.driver(), &name).await;
            let record = stored.records().iter().rfind(|record| record.key == sent.aggregate_id.as_bytes());
            let record = record.expect("stored under its key");
            let mut found = stored.envelope(record);
            if wire == Wire::Flat {
                found.source.clone_from(&sent.source);
            }
            assert_eq!(found, sent, "read back as published, acked at {ack:?}");
        }
    }
    stage.close().await;
}

/// The flat form carries fewer fields.
fn fits_flat(envelope: &Envelope) -> bool {
    envelope.attributes.is_empty() && envelope.schema.is_none() && envelope.payload.is_json()
}

fn shapes() -> Vec<Envelope> {
    let mut shapes: Vec<_> = ["a b+~@é🙂", "ключ", &"k".repeat(256)].iter().map(|key| envelope(key, 1)).collect();
    shapes.push(envelope("id", 1).with_id("i".repeat(128)));
    shapes.push(envelope("headers", 1).with_header("a", "1").with_header("b", "").with_header("a", vec![0x80, 0xff]));
    shapes.push(envelope("ten", 1));
    for n in 0..10 {
        let last = shapes.pop().expect("just pushed");
        shapes.push(last.with_header(format!("h{n}"), vec![b'!' + n; 100]));
    }
    shapes.push(envelope("large version", u64::MAX));
    for time in [
        "2011-08-01T23:41:24+02:00",
        "1969-12-31T23:59:59.5Z",
        "9999-12-30T22:00:00Z",
        "2026-11-25T08:00:00.123456789-09:30",
    ] {
        let mut at = envelope(time, 1);
        at.occurred_at = OccurredAt::parse(time).expect("legal");
        shapes.push(at);
    }
    let json = |text: &str| Payload::bytes_of("application/json", text.to_owned()).expect("JSON");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (key, text) in [("null", "null"), ("number", "1e400"), ("twice", r#"{"a":1,"a":2}"#), ("deep", &*deep)] {
        shapes.push(Envelope::new(key, "Tested", 1).with_payload(json(text)));
    }
    let odd = Payload::bytes_of("application/octet-stream", Vec::from_iter(0..=255)).expect("bytes");
    shapes.push(Envelope::new("empty", "Tested", 1).with_payload(binary(0)));
    shapes.push(Envelope::new("odd bytes", "Tested", 1).with_payload(odd));
    let mut full =
        envelope("full", 3).with_attribute("region", "eu").with_attribute("count", 7).with_attribute("hot", true);
    full.schema = Some("https://example.org/schema/1".into());
    full.tenant = Some("t1".into());
    full.correlation_id = Some("c1".into());
    full.causation_id = Some("e0".into());
    full.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    shapes.push(full);
    shapes
}

/// A record of exactly the limit is stored; one byte more is refused with size and limit, wherever the byte is.
pub async fn the_record_limit_is_exact(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let limit = 4_096;
    let settings = PublisherSettings { record_bytes_max: limit, ..PublisherSettings::default() };
    let publisher = stage.builder().settings(settings).open().await.expect("opens");
    let probe = envelope("k", 1).with_header("pad", Vec::new());
    acked(accept(&publisher, probe.clone())).await;
    let stored = stage.stored().await;
    let record = &stored.records()[0];
    // Each header costs its lengths too: 2 bytes for the name's, 4 for the value's.
    let headers: usize = record.headers.iter().map(|header| 6 + header.name.len() + header.value.len()).sum();
    let rest = limit - (record.key.len() + headers + record.body.len());
    let padded = |bytes: usize| {
        let mut padded = envelope("k", 1).with_header("pad", vec![b'x'; bytes]);
        (padded.occurred_at, padded.id) = (probe.occurred_at, probe.id.clone());
        padded
    };
    acked(accept(&publisher, padded(rest))).await;
    let error = refused(publisher.publish(padded(rest + 1)).await, "TooLarge/Record");
    let text = error.to_string();
    assert!(text.contains("4097") && text.contains("4096"), "size and limit are named: {text}");
    assert_eq!(stage.stored().await.len(), 2, "the one over the limit is not stored");
    stage.close().await;
}

/// The largest record of the bus fits every backend.
pub async fn the_largest_record_is_stored(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    let filled = |bytes| Payload::json(&"x".repeat(bytes)).expect("JSON");
    let probe = Envelope::new("k", "Tested", 1).with_payload(filled(1_000));
    acked(accept(&publisher, probe.clone())).await;
    let overhead = stage.stored().await.records()[0].body.len() + 1 - 1_000;
    let largest = probe.clone().with_payload(filled(RECORD_BYTES_MAX - overhead));
    acked(accept(&publisher, largest.clone())).await;
    let over = probe.with_payload(filled(RECORD_BYTES_MAX - overhead + 1));
    refused(publisher.publish(over).await, "TooLarge/Record");
    let stored = stage.stored().await;
    assert_eq!(stored.envelopes()[1].payload, largest.payload);
    stage.close().await;
}

/// Each bad envelope is refused by name through every way of publishing; nothing is accepted, nothing is stored.
pub async fn bad_envelopes_are_refused_by_name(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    for (entry, code, bad) in bad_envelopes() {
        let error = refused(publisher.publish(bad.clone()).await, code);
        crate::assert_told(&format!("{error}"), code);
        match publisher.try_publish(bad.clone()) {
            Err(TryPublishError::Refused(error)) => assert_eq!(error.code(), code, "{entry}"),
            other => panic!("{entry}: {code} must be refused, got {other:?}"),
        }
        refused(publisher.publish_batch(vec![bad.clone()]).await.expect("one outcome").remove(0), code);
        if stage.driver().capabilities().atomic_batch_max > 0 {
            assert_eq!(publisher.publish_atomic(vec![bad]).await.expect_err("refused").code(), code);
        }
    }
    assert_eq!(publisher.stats().accepted, 0);
    assert_eq!(stage.stored().await.len(), 0);
    acked(accept(&publisher, envelope("k", 1))).await;
    stage.close().await;
}

/// Each with its entry in the list of bad inputs.
fn bad_envelopes() -> Vec<(u32, &'static str, Envelope)> {
    let good = || envelope("k", 1);
    let mut bad = vec![
        (32, "Invalid/EmptyKey", envelope("", 1)),
        (33, "Invalid/KeyTooLong", envelope(&"k".repeat(257), 1)),
        (33, "Invalid/KeyTooLong", envelope(&"k".repeat(65_536), 1)),
        (35, "Invalid/EmptyField", good().with_id("")),
        (35, "Invalid/EmptyField", Envelope::new("k", "", 1)),
        (35, "Invalid/EventVersion", envelope("k", 0)),
        (37, "Invalid/IdTooLong", good().with_id("i".repeat(129))),
        (37, "Invalid/IdTooLong", good().with_id("i".repeat(10_240))),
        (37, "Invalid/IdCharacter", good().with_id("i\n")),
        (38, "Invalid/HeaderName", good().with_header("", "v")),
        (38, "Invalid/HeaderName", good().with_header("a:b", "v")),
        (38, "Invalid/HeaderName", good().with_header("a b", "v")),
        (38, "Invalid/HeaderName", good().with_header("é", "v")),
        (39, "Invalid/HeaderValue", good().with_header("a", "v\r")),
        (39, "Invalid/HeaderValue", good().with_header("a", "v\n")),
        (39, "Invalid/HeaderValue", good().with_header("a", "v\0")),
        (40, "TooLarge/HeaderBytes", good().with_header("a", vec![b'v'; 65_536])),
        (42, "Invalid/ReservedHeader", good().with_header("Nats-Msg-Id", "v")),
        (42, "Invalid/ReservedHeader", good().with_header("Nats-Rollup", "v")),
        (42, "Invalid/ReservedHeader", good().with_header("Nats-Expected-Last-Sequence", "v")),
        (42, "Invalid/ReservedHeader", good().with_header("ce-id", "v")),
        (42, "Invalid/ReservedHeader", good().with_header("busline-x", "v")),
        (42, "Invalid/AttributeName", good().with_attribute("Upper", "v")),
        (47, "TooLarge/Record", good().with_payload(Payload::json(&"x".repeat(RECORD_BYTES_MAX)).expect("JSON"))),
        // Under the limit as bytes, over it only after headers or as base64.
        (48, "TooLarge/Record", good().with_payload(binary(RECORD_BYTES_MAX - 200_000))),
        (48, "TooLarge/Record", good().with_payload(binary(720_000)).with_header("a", vec![b'v'; 60_000])),
        (54, "TooLarge/Record", good().with_payload(digits(10_000_000))),
    ];
    for key in ["k\0", "k\n", "k\t", "k\u{1b}", "k\u{7f}", "k\u{85}"] {
        bad.push((34, "Invalid/KeyCharacter", envelope(key, 1)));
    }
    let many = (0..10_000).fold(good(), |envelope, _| envelope.with_header("a", "v"));
    bad.push((40, "TooLarge/HeaderCount", many));
    let mut traced = good();
    traced.traceparent = Some("00-0-0-1".into());
    bad.push((44, "Invalid/TraceContext", traced));
    bad
}

fn binary(bytes: usize) -> Payload {
    Payload::bytes_of("application/octet-stream", vec![0; bytes]).expect("bytes")
}

fn digits(count: usize) -> Payload {
    Payload::bytes_of("application/json", "9".repeat(count)).expect("one number")
}

/// Settings out of their range are refused at open, all of them at once, and the backend's own limit holds.
pub async fn bad_settings_are_refused_at_open(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let settings = PublisherSettings {
        window_envelopes_max: 0,
        window_bytes_max: 0,
        deadline: Duration::ZERO,
        record_bytes_max: 0,
        ..PublisherSettings::default()
    };
    let text = refused(stage.builder().settings(settings).open().await, "Invalid/Range").to_string();
    for field in ["window_envelopes_max", "window_bytes_max", "deadline", "record_bytes_max"] {
        assert!(text.contains(field), "every wrong field is named: {text}");
    }
    refused(stage.builder().deadline(Duration::from_secs(3_601)).open().await, "Invalid/Range");
    refused(stage.builder().window(1_000_001, 8 << 20).open().await, "Invalid/Range");
    refused(stage.builder().window(1, 1_000).open().await, "Invalid/Range");
    stage.close().await;
}

/// Opening outside a runtime is an error, not a panic.
pub async fn opening_needs_a_runtime(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let builder = stage.builder();
    let thread = std::thread::spawn(move || Stepped::new(builder.open()).step());
    let joined = tokio::task::spawn_blocking(move || thread.join()).await.expect("joins");
    match joined.expect("no panic outside a runtime") {
        std::task::Poll::Ready(opened) => refused(opened, "Invalid/NoRuntime"),
        std::task::Poll::Pending => panic!("the runtime is asked for first"),
    };
    stage.close().await;
}

/// What the capabilities say, the sink's offer keeps.
pub async fn an_offer_agrees_with_the_capabilities(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let offer = stage.publisher().await.offer();
    let capabilities = stage.driver().capabilities();
    assert!(!capabilities.backend.is_empty());
    assert!(capabilities.record_bytes_max >= RECORD_BYTES_MAX, "every backend holds the default largest record");
    assert!(
        offer.batches_in_flight_max >= 1 && offer.batch_records_max >= 1 && offer.batch_bytes_max >= 1,
        "{offer:?}"
    );
    assert!(offer.durability.copies >= 1, "an ack is at least one copy: {offer:?}");
    match capabilities.ack_positions {
        AckPositions::Always => assert_eq!(offer.positions, AckPositions::Always, "{offer:?}"),
        AckPositions::Never => assert_eq!(offer.positions, AckPositions::Never, "{offer:?}"),
        AckPositions::Sometimes => {}
    }
    within("a sign of life", stage.driver().probe()).await.expect("the backend lives");
    stage.close().await;
}

/// Without groups every call about them says so.
pub async fn groups_are_offered_or_unsupported(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let info = stage.publisher().await.topic().clone();
    let driver = stage.driver();
    let group = GroupName::new("conformance").expect("legal");
    if driver.capabilities().groups {
        driver.groups().await.expect("groups are offered");
        let committed = driver.committed(&group, &info.name).await.expect("groups are offered");
        assert_eq!(committed, vec![None; info.spec.partitions as usize], "nobody has committed anything");
        stage.close().await;
        return;
    }
    let (member, start, lease) = ("m".into(), Start::default(), Duration::from_secs(5));
    let request = SourceRequest { group: group.clone(), topic: info.clone(), member, start, lease };
    refused(driver.source(request).await.map(drop), "Unsupported/Groups");
    refused(driver.groups().await, "Unsupported/Groups");
    refused(driver.committed(&group, &info.name).await, "Unsupported/Groups");
    refused(driver.members(&group, &info.name).await, "Unsupported/Groups");
    refused(driver.lag(&group, &info.name).await, "Unsupported/Groups");
    refused(driver.delete_group(&group, &info.name).await, "Unsupported/Groups");
    refused(driver.move_committed(&group, &info.name, &[(Partition(0), Offset(0))]).await, "Unsupported/Groups");
    skip("this backend has no groups");
    stage.close().await;
}

/// A bounded read gives records in order, at least one if there is one, never more than asked for, and never waits.
pub async fn a_read_keeps_its_bounds(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    let partition = acked(accept(&publisher, envelope("k", 1))).await.partition;
    for version in 2..=20 {
        acked(accept(&publisher, envelope("k", version))).await;
    }
    let (driver, name) = (stage.driver(), stage.name());
    let bounds = driver.bounds(&name, partition).await.expect("bounds");
    let request = ReadRequest { partition, from: bounds.start, to: bounds.end, records_max: 100, bytes_max: 1 << 20 };
    let all = driver.read(&name, request).await.expect("all");
    assert_eq!(all.len(), 20);
    assert!(all.is_sorted_by_key(|record| record.offset), "in order of their offsets");
    assert_eq!((all[0].offset, all[19].offset.next()), (bounds.start, bounds.end), "bounds are those of the records");
    let read = async |request| driver.read(&name, request).await.expect("a legal read");
    assert_eq!(read(ReadRequest { records_max: 3, ..request }).await, all[..3], "at most as many as asked for");
    assert_eq!(read(ReadRequest { bytes_max: 1, ..request }).await, all[..1], "one, whatever its size");
    assert_eq!(read(ReadRequest { from: all[5].offset, ..request }).await, all[5..], "from is inclusive");
    assert_eq!(read(ReadRequest { to: all[5].offset, ..request }).await, all[..5], "to is exclusive");
    assert!(read(ReadRequest { to: bounds.start, ..request }).await.is_empty(), "an empty range holds none");
    let beyond = Offset(bounds.end.0 + 1_000);
    assert!(read(ReadRequest { from: bounds.end, to: beyond, ..request }).await.is_empty(), "never waits for records");
    assert_eq!(read(ReadRequest { to: Offset(u64::MAX), ..request }).await, all, "to the end, however far");
    let other = Partition(publisher.topic().spec.partitions);
    refused(driver.read(&name, ReadRequest { partition: other, ..request }).await, "NotFound/Partition");
    refused(driver.bounds(&name, other).await, "NotFound/Partition");
    let absent = busline_core::TopicName::new(&crate::stage::fresh_topic()).expect("legal");
    refused(driver.read(&absent, request).await, "NotFound/Topic");
    refused(driver.bounds(&absent, partition).await, "NotFound/Topic");
    stage.close().await;
}

/// Trim deletes below an offset and no more, gives the start afterwards, and never goes back.
pub async fn trim_deletes_below_its_offset(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    let mut offsets = Vec::new();
    let mut partition = Partition(0);
    for version in 1..=10 {
        partition = acked(accept(&publisher, envelope("k", version))).await.partition;
    }
    let (driver, name) = (stage.driver(), stage.name());
    offsets.extend(stage.stored().await.records().iter().map(|record| record.offset));
    assert_eq!(driver.trim(&name, partition, offsets[4]).await.expect("trimmed"), offsets[4], "the start afterwards");
    let bounds = driver.bounds(&name, partition).await.expect("bounds");
    assert_eq!((bounds.start, bounds.end), (offsets[4], offsets[9].next()), "the start follows, the end stays");
    assert_eq!(driver.trim(&name, partition, offsets[2]).await.expect("nothing to do"), offsets[4]);
    let versions: Vec<_> = stage.stored().await.envelopes().iter().map(|stored| stored.event_version).collect();
    assert_eq!(versions, [5, 6, 7, 8, 9, 10]);
    assert_eq!(driver.trim(&name, partition, bounds.end).await.expect("all"), bounds.end);
    let empty = driver.bounds(&name, partition).await.expect("bounds");
    assert_eq!(empty.start, empty.end, "equal means empty");
    let ack = acked(accept(&publisher, envelope("k", 11))).await;
    assert!(ack.offset.is_none_or(|offset| offset >= bounds.end), "offsets are never used again");
    refused(driver.trim(&name, Partition(99), Offset(0)).await, "NotFound/Partition");
    stage.close().await;
}

/// A time leads to the first record stored at or after it.
pub async fn a_time_leads_to_an_offset(harness: impl Harness) {
    let stage = Stage::open(&harness).await;
    let publisher = stage.publisher().await;
    let partition = acked(accept(&publisher, envelope("k", 1))).await.partition;
    tokio::time::sleep(Duration::from_millis(20)).await;
    acked(accept(&publisher, envelope("k", 2))).await;
    let stored = stage.stored().await;
    let (first, second) = (&stored.records()[0], &stored.records()[1]);
    assert!(first.time <= second.time, "stored later, so not earlier");
    let (driver, name) = (stage.driver(), stage.name());
    let at = async |time| driver.offset_at(&name, partition, time).await.expect("a time");
    assert_eq!(at(OccurredAt::parse("1970-01-01T00:00:00Z").expect("legal").instant).await, first.offset);
    assert_eq!(at(first.time).await, first.offset, "at the time is included");
    assert_eq!(at(second.time).await, second.offset);
    let end = driver.bounds(&name, partition).await.expect("bounds").end;
    assert_eq!(
        at(OccurredAt::parse("9999-12-30T22:00:00Z").expect("legal").instant).await,
        end,
        "later than all: the end"
    );
    stage.close().await;
}

/// No byte of a payload or header value stands in an error, a `Debug` form or a handler's error.
pub async fn no_payload_is_printed(harness: impl Harness) {
    const CANARY: &str = "canary-7d1f";
    let (stage, faults) = Stage::faulty(&harness).await;
    let failures = Failures::new();
    let publisher = stage.builder().on_failure(failures.handler()).open().await.expect("opens");
    let secret = Envelope::new("k", "Tested", 1).json(CANARY).expect("JSON");
    faults.hold();
    let receipt = accept(&publisher, secret.clone());
    let mut texts = vec![format!("{receipt:?} {publisher:?} {:?} {:?} {secret:?}", stage.bus, stage.driver())];
    faults.swallow_next(1);
    faults.release();
    let error = outcome(receipt).await.expect_err("no answer");
    texts.push(format!("{error} {error:?}"));
    faults.fail_next(1);
    let error = failed(accept(&publisher, secret.clone()), "Injected").await;
    texts.push(format!("{error} {error:?}"));
    texts.push(format!("{:?}", failures.at_least(2).await));
    let mut bad = secret.clone();
    bad.event_version = 0;
    texts.push(refused(publisher.publish(bad).await, "Invalid/EventVersion").to_string());
    let error = Payload::bytes_of("application/json", format!("{{{CANARY}")).expect_err("no JSON");
    texts.push(format!("{error} {error:?}"));
    for text in texts {
        assert!(!text.contains(CANARY), "a payload is printed: {text}");
    }
    stage.close().await;
}

/// Errors say what the caller can do: definite or not, worth a retry or not.
pub async fn errors_say_what_the_caller_can_do(harness: impl Harness) {
    let (stage, faults) = Stage::faulty(&harness).await;
    let publisher = stage.builder().on_failure(drop).open().await.expect("opens");
    let invalid = publisher.publish(envelope("", 1)).await.expect_err("refused");
    assert!(invalid.is_definite() && !invalid.is_retryable(), "the same call fails again: {invalid}");
    faults.fail_next(1);
    let unavailable = failed(accept(&publisher, envelope("k", 1)), "Injected").await;
    assert!(unavailable.is_retryable(), "the same call may succeed later: {unavailable}");
    faults.swallow_next(1);
    let lost = outcome(accept(&publisher, envelope("k", 2))).await.expect_err("no answer");
    assert!(!lost.is_definite() && lost.to_string().contains("perhaps stored"), "{lost}");
    for error in [&invalid, &unavailable, &lost] {
        let text = error.to_string();
        assert!(!text.contains('\n') && text.contains(&error.code()) && text.contains("; "), "{text}");
    }
    let driver: &dyn Driver = &**stage.driver();
    let absent = busline_core::TopicName::new(&crate::stage::fresh_topic()).expect("legal");
    let error = refused(driver.topic(&absent).await, "NotFound/Topic");
    assert!(error.to_string().contains(absent.as_str()), "the subject is named: {error}");
    stage.close().await;
}
