//! Other programs on the same topics: the plain Python client of NATS, and the official SDK of CloudEvents.

mod plain;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_core::{Ack, Attribute, Bus, Delivery, Envelope, OccurredAt, Payload, TopicSpec, Wire, partition_of};
use busline_nats::{NatsConfig, NatsDriver};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::plain::Plain;

const SOON: Duration = Duration::from_secs(60);
const PARTITIONS: u32 = 4;
const TOPIC: &str = "shop.orders";

async fn open(server: &Server) -> Bus {
    let config = NatsConfig::from_url(&server.url()).expect("a legal URL");
    let bus = Bus::new(Arc::new(NatsDriver::open(config).await.expect("opens")));
    let spec = TopicSpec { partitions: PARTITIONS, ..TopicSpec::default() };
    bus.driver().create_topic(&TOPIC.parse().expect("legal"), &spec).await.expect("a new topic");
    bus
}

fn server() -> Server {
    Server::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// One envelope of each shape that the wire knows.
fn envelopes() -> Vec<Envelope> {
    let at =
        |envelope: Envelope, time: &str| Envelope { occurred_at: OccurredAt::parse(time).expect("a time"), ..envelope };
    let mut rich = Envelope::new("order-42", "OrderPlaced", 1).json(&json!({ "total": 12.5, "items": ["ä", "\"q\""] }));
    if let Ok(rich) = &mut rich {
        rich.schema = Some("https://example.com/order.json".into());
        rich.source = Some("https://example.com/shop".into());
        rich.tenant = Some("acme".into());
        rich.correlation_id = Some("basket-7".into());
        rich.causation_id = Some("click-1".into());
        rich.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    }
    let rich = rich.expect("JSON").with_attribute("region", "eu-west").with_attribute("retries", Attribute::Integer(3));
    vec![
        at(rich.with_attribute("rush", Attribute::Boolean(true)), "2026-11-25T09:00:00.123456+01:00"),
        at(Envelope::new("Bestellung/ä–ö", "Bezahlt", 2).json(&[1, 2]).expect("JSON"), "2011-08-01T23:41:24Z"),
        Envelope::new("order-43", "Scanned", 3)
            .with_payload(Payload::bytes_of("image/png", vec![0_u8, 255, 10]).expect("legal")),
        Envelope::new("order-44", "Noted", 4).with_payload(Payload::bytes_of("text/plain", "a line\n").expect("legal")),
        Envelope::new("order-45", "Closed", 5),
    ]
}

async fn publish(bus: &Bus, wire: Wire, envelopes: &[Envelope]) -> Vec<Ack> {
    let publisher = bus.publisher(TOPIC).wire(wire).open().await.expect("opens");
    let mut acks = Vec::new();
    for envelope in envelopes {
        acks.push(publisher.publish_sync(envelope.clone()).await.expect("acked"));
    }
    acks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_is_read_by_the_plain_client_and_the_official_sdk() {
    let plain = Plain::installed();
    let server = server();
    let bus = open(&server).await;
    let (events, flat) = (envelopes(), envelopes());
    let acks = [publish(&bus, Wire::CloudEvents, &events).await, publish(&bus, Wire::Flat, &flat).await].concat();
    let read = plain.read(&server.url(), "shop=orders", "shop.orders.*", acks.len());
    let bound = |subject: &str, seq: &Value| (subject.to_owned(), seq.as_u64().expect("a number"));
    let mut places: HashMap<(String, u64), &Value> =
        read.iter().map(|said| (bound(said["subject"].as_str().expect("a text"), &said["seq"]), said)).collect();
    for (envelope, ack) in events.iter().chain(&flat).zip(&acks) {
        let offset = ack.offset.expect("publish_sync gives it").0;
        let said = places.remove(&(format!("{TOPIC}.{}", ack.partition), offset)).expect("it is where its ack says");
        match said["form"].as_str() {
            Some("cloudevents") => assert_is_event(&said["attributes"], &said["data"], envelope),
            _ => assert_is_flat(&said["record"], envelope),
        }
    }
    assert!(places.is_empty(), "{places:?}");
    assert_eq!(read.iter().filter(|said| said["form"] == "flat").count(), flat.len());
    bus.close(SOON).await.expect("closes");
}

/// What the SDK understood is what was published.
fn assert_is_event(attributes: &Value, data: &Value, envelope: &Envelope) {
    let source = envelope.source.clone().unwrap_or_else(|| format!("/busline/{TOPIC}"));
    let mut expected = json!({
        "specversion": "1.0", "id": envelope.id, "source": source, "type": envelope.event_type,
        "subject": envelope.aggregate_id, "partitionkey": envelope.aggregate_id,
        "sequence": format!("{:020}", envelope.event_version),
    });
    let optional = [
        ("dataschema", envelope.schema.clone()),
        ("tenantid", envelope.tenant.clone()),
        ("correlationid", envelope.correlation_id.clone()),
        ("causationid", envelope.causation_id.clone()),
        ("traceparent", envelope.traceparent.clone()),
        ("datacontenttype", envelope.payload.content_type().map(str::to_owned)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            expected[name] = value.into();
        }
    }
    if envelope.aggregate_id == "order-42" {
        for (name, value) in [("region", json!("eu-west")), ("retries", json!(3)), ("rush", json!(true))] {
            expected[name] = value;
        }
    }
    let mut attributes = attributes.clone();
    let time = attributes.as_object_mut().expect("an object").remove("time").expect("a time");
    assert_eq!(attributes, expected);
    let time = OccurredAt::parse(time.as_str().expect("a text")).expect("a time");
    // Python keeps microseconds.
    assert_eq!(time.instant.as_microsecond(), envelope.occurred_at.instant.as_microsecond());
    match envelope.payload.content_type() {
        None => assert!(data.is_null(), "{data}"),
        Some("image/png") => assert_eq!(data["bytes"], "AP8K"),
        Some("text/plain") => assert_eq!(data["bytes"], "YSBsaW5lCg=="),
        Some(_) => assert_eq!(*data, envelope.payload.parse::<Value>().expect("JSON")),
    }
}

fn assert_is_flat(record: &Value, envelope: &Envelope) {
    assert_eq!(record["event_id"], *envelope.id);
    assert_eq!(record["aggregate_id"], *envelope.aggregate_id);
    assert_eq!(record["event_type"], *envelope.event_type);
    assert_eq!(record["event_version"], envelope.event_version);
    let time = OccurredAt::parse(record["timestamp"].as_str().expect("a text")).expect("a time");
    assert_eq!(time.instant, envelope.occurred_at.instant);
    for (name, value) in [
        ("tenant_id", &envelope.tenant),
        ("correlation_id", &envelope.correlation_id),
        ("causation_id", &envelope.causation_id),
        ("source", &envelope.source),
        ("schema", &envelope.schema),
    ] {
        assert_eq!(record[name].as_str(), value.as_deref(), "{name}");
    }
    if envelope.payload.is_json() {
        assert_eq!(record["payload"], envelope.payload.parse::<Value>().expect("JSON"));
    }
}

/// Events of three keys, in both forms by turns, in the order of their versions.
fn foreign_events() -> Vec<Value> {
    let keys = ["order-1", "Bestellung/ä–ö", "k"];
    let event = |number: usize| {
        let (key, version) = (keys[number % 3], number / 3 + 1);
        let time = "2026-11-25T08:00:00Z";
        let payload = json!({ "number": number });
        if number.is_multiple_of(2) {
            let record = json!({
                "event_id": format!("flat-{number}"), "aggregate_id": key, "event_type": "Happened",
                "event_version": version, "timestamp": time, "trace_id": "t1", "tenant_id": "acme", "payload": payload,
            });
            return json!({ "form": "flat", "key": key, "record": record });
        }
        let attributes = json!({
            "id": format!("event-{number}"), "source": "https://example.com/legacy", "type": "Happened", "subject": key,
            "sequence": version.to_string(), "datacontenttype": "application/json", "region": "eu",
        });
        json!({ "form": "cloudevents", "key": key, "attributes": attributes, "data": payload })
    };
    (0..30).map(event).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_plain_client_publishes_is_handled_in_order() {
    let plain = Plain::installed();
    let server = server();
    let bus = open(&server).await;
    let events = foreign_events();
    let acks = plain.write(&server.url(), TOPIC, PARTITIONS, &events);
    for (event, ack) in events.iter().zip(&acks) {
        let partition = partition_of(event["key"].as_str().expect("a text").as_bytes(), PARTITIONS);
        assert_eq!(ack["partition"], partition.0, "the plain client chooses the partition as we do");
    }
    // Ours come behind theirs, on the same keys.
    publish(&bus, Wire::Flat, &[Envelope::new("order-1", "Happened", 11), Envelope::new("k", "Happened", 11)]).await;

    let handled: Arc<Mutex<Vec<Delivery>>> = Arc::default();
    let notes = Arc::clone(&handled);
    let handler = move |delivery: Delivery| {
        notes.lock().expect("no panic").push(delivery);
        std::future::ready(Ok(()))
    };
    let subscription = bus.subscribe(TOPIC, "billing").handle(handler).await.expect("joins");
    let end = Instant::now() + SOON;
    while handled.lock().expect("no panic").len() < events.len() + 2 {
        assert!(Instant::now() < end, "all come: {:?}", subscription.trouble());
        sleep(Duration::from_millis(10)).await;
    }
    let handled = handled.lock().expect("no panic").clone();
    let mut versions: HashMap<&str, Vec<u64>> = HashMap::new();
    for Delivery { envelope, .. } in &handled {
        versions.entry(&envelope.aggregate_id).or_default().push(envelope.event_version);
    }
    assert_eq!(versions.len(), 3);
    for (key, versions) in versions {
        let last = if key == "Bestellung/ä–ö" { 10 } else { 11 };
        assert_eq!(versions, (1..=last).collect::<Vec<u64>>(), "{key}");
    }
    for envelope in handled.iter().map(|delivery| &delivery.envelope).filter(|envelope| envelope.event_version < 11) {
        let number = envelope.payload.parse::<Value>().expect("JSON")["number"].as_u64().expect("a number");
        if number.is_multiple_of(2) {
            assert_eq!((&*envelope.id, envelope.tenant.as_deref()), (&*format!("flat-{number}"), Some("acme")));
            assert_eq!(envelope.attributes["traceid"], Attribute::Text("t1".into()));
        } else {
            let source = Some("https://example.com/legacy");
            assert_eq!((&*envelope.id, envelope.source.as_deref()), (&*format!("event-{number}"), source));
            assert_eq!(envelope.attributes["region"], Attribute::Text("eu".into()));
        }
    }
    subscription.close(SOON).await.expect("closes");
    bus.close(SOON).await.expect("closes");
}
