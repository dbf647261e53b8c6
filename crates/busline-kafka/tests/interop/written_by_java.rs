//! A group handles flat records that a foreign producer wrote.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use busline_core::{Delivery, Envelope};

use crate::bus_with;
use crate::java::console_producer;

/// Events of a program that knows nothing of the bus.
const EVENTS: &str = include_str!("../../../busline-core/tests/fixtures/file-history.ndjson");
const EVENTS_MAX: usize = 120;

fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!(r#""{name}":"#)).expect(name);
    rest.split([',', '}']).next().expect("a value").trim_matches('"')
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_handles_flat_records_of_javas_producer_in_order() {
    let (bus, topic) = bus_with("java-writes", 3).await;
    let lines: Vec<&str> = EVENTS.lines().take(EVENTS_MAX).filter(|line| !line.contains('|')).collect();
    console_producer(topic.as_str(), lines.iter().map(|line| (field(line, "aggregate_id"), *line)));
    let handled: Arc<Mutex<HashMap<String, Vec<Envelope>>>> = Arc::default();
    let seen = Arc::clone(&handled);
    let handler = move |delivery: Delivery| {
        let envelope = delivery.envelope;
        seen.lock().expect("no panic").entry(envelope.aggregate_id.clone()).or_default().push(envelope);
        std::future::ready(Ok(()))
    };
    let subscription = bus.subscribe(topic.as_str(), "readers").handle(handler).await.expect("subscribes");
    until("every record", || count_of(&handled.lock().expect("no panic")) >= lines.len()).await;
    subscription.close(Duration::from_secs(10)).await.expect("closes");
    bus.close(Duration::from_secs(10)).await.expect("closes");
    let handled = handled.lock().expect("no panic");
    let mut places: HashMap<&str, usize> = HashMap::new();
    for line in &lines {
        let key = field(line, "aggregate_id");
        let place = places.entry(key).or_default();
        let envelope = &handled[key][*place];
        *place += 1;
        assert_eq!(envelope.id, field(line, "event_id"), "{key}");
        assert_eq!(envelope.event_type, field(line, "event_type"), "{key}");
        assert_eq!(envelope.event_version.to_string(), field(line, "event_version"), "{key}");
        let (_, payload) = line.split_once(r#""payload":"#).expect("a payload");
        let body = std::str::from_utf8(envelope.payload.bytes()).expect("UTF-8");
        assert_eq!(body, &payload[..payload.len() - 1], "{key}");
    }
    assert_eq!(count_of(&handled), lines.len(), "nothing twice");
}

fn count_of(handled: &HashMap<String, Vec<Envelope>>) -> usize {
    handled.values().map(Vec::len).sum()
}
