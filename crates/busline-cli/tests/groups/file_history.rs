//! Real events whose handler fails for ever on some aggregates: the others finish, these are parked whole, and after the
//! handler is mended a replay runs them in order.
//!
//! `BUSLINE_FILE_HISTORY=FILE` takes all events of that file (NDJSON, or NDJSON packed by gzip) instead of the 2,000 of
//! the fixture, and 50 failing aggregates instead of 5. `BUSLINE_HANDLED=FILE` writes there what was handled, one line for
//! each event: `live` or `replay`, aggregate, version.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use busline::{Delivery, HandlerError, ParkingHealth, Retry};
use serde_json::Value;

use crate::harness::{EVENTS, Shop};

/// Writes down the id of what it handles.
const HANDLER: &str = "#!/bin/sh
read -r line
id=${line#*'\"id\":\"'}
echo \"${id%%'\"'*}\" >> replayed
";

/// Longest time for all events to be handled or parked.
const ALL_WITHIN: Duration = Duration::from_secs(300);

/// The events as they are published, and where each id belongs.
struct Given {
    text: String,
    /// Aggregate and version of each id.
    places: HashMap<String, (String, u64)>,
    /// Events of each aggregate; their versions are 1, 2, 3 …
    sizes: BTreeMap<String, u64>,
    failing: BTreeSet<String>,
}

impl Given {
    fn read() -> Self {
        let (text, failing) = match std::env::var_os("BUSLINE_FILE_HISTORY") {
            Some(path) => (unpacked(Path::new(&path)), 50),
            None => (EVENTS.to_owned(), 5),
        };
        let (mut places, mut sizes) = (HashMap::new(), BTreeMap::new());
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).expect(line);
            let word = |field: &str| event[field].as_str().expect(field).to_owned();
            let (path, version) = (word("aggregate_id"), event["event_version"].as_u64().expect("a version"));
            *sizes.entry(path.clone()).or_default() += 1;
            assert!(places.insert(word("event_id"), (path, version)).is_none(), "an id stands twice: {line}");
        }
        let failing = chosen(&sizes, failing);
        Self { text, places, sizes, failing }
    }

    fn of(&self, path: &str) -> Vec<u64> {
        (1..=self.sizes[path]).collect()
    }

    fn failing_events(&self) -> u64 {
        self.failing.iter().map(|path| self.sizes[path]).sum()
    }
}

fn unpacked(path: &Path) -> String {
    if path.extension().is_some_and(|extension| extension == "gz") {
        let output = Command::new("gzip").arg("-dc").arg(path).output().expect("gzip");
        assert!(output.status.success(), "gzip -dc {}", path.display());
        return String::from_utf8(output.stdout).expect("UTF-8");
    }
    std::fs::read_to_string(path).expect("a readable file")
}

/// A fifth of them are the busiest aggregates, the others are spread over all.
fn chosen(sizes: &BTreeMap<String, u64>, count: usize) -> BTreeSet<String> {
    let mut paths: Vec<&String> = sizes.keys().collect();
    paths.sort_by_key(|path| std::cmp::Reverse(sizes[*path]));
    let (busiest, others) = paths.split_at(count / 5);
    let spread = others.iter().step_by(others.len() / (count - busiest.len()));
    let chosen = busiest.iter().chain(spread).map(|path| (*path).clone());
    chosen.take(count).collect()
}

/// Runs the group until nothing is left to be handled or parked; gives what was handled, in order, and what is parked.
async fn run_group(url: &str, failing: BTreeSet<String>) -> (Vec<String>, ParkingHealth) {
    let handled: Arc<Mutex<Vec<String>>> = Arc::default();
    let bus = busline::connect(url).await.expect("connects");
    let log = Arc::clone(&handled);
    let handler = move |delivery: Delivery| {
        let fails = failing.contains(&delivery.envelope.aggregate_id);
        if !fails {
            log.lock().expect("no panic").push(delivery.envelope.id.clone());
        }
        std::future::ready(if fails { Err(HandlerError::from("broken for this path")) } else { Ok(()) })
    };
    let retry = Retry::exponential(2).backoff(Duration::from_millis(1), Duration::from_millis(5));
    let builder = bus.subscribe("files", "readers").concurrency(8).retry(retry);
    let subscription = builder.handle(handler).await.expect("subscribes");
    let (group, topic) = ("readers".parse().expect("legal"), "files".parse().expect("legal"));
    let begin = Instant::now();
    loop {
        let lag = bus.driver().lag(&group, &topic).await.expect("a group");
        if lag.iter().all(|lag| lag.records == 0) {
            break;
        }
        assert!(begin.elapsed() < ALL_WITHIN, "progress stays at {lag:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let parking = subscription.parking();
    bus.close(Duration::from_secs(10)).await.expect("closes");
    let handled = handled.lock().expect("no panic").clone();
    (handled, parking)
}

/// Versions of each aggregate, in the order of the ids.
fn versions(given: &Given, ids: &[String]) -> BTreeMap<String, Vec<u64>> {
    let mut versions: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for id in ids {
        let (path, version) = &given.places[id];
        versions.entry(path.clone()).or_default().push(*version);
    }
    versions
}

fn write_down(given: &Given, live: &[String], replayed: &[String]) {
    let Some(file) = std::env::var_os("BUSLINE_HANDLED") else { return };
    let lines = live.iter().map(|id| ("live", id)).chain(replayed.iter().map(|id| ("replay", id)));
    let text: String = lines
        .map(|(how, id)| {
            let (path, version) = &given.places[id];
            format!("{how}\t{path}\t{version}\n")
        })
        .collect();
    std::fs::write(file, text).expect("a writable file");
}

#[test]
fn paths_whose_handler_fails_are_parked_whole_and_replayed_in_order() {
    let (given, shop) = (Given::read(), Shop::new());
    shop.file("events", &given.text);
    shop.file("handler", HANDLER);
    std::fs::set_permissions(shop.path("handler"), PermissionsExt::from_mode(0o755)).expect("a mode");
    let begin = Instant::now();
    let published = shop.run("pub files --file events");
    assert_eq!(published.code, Some(0), "{}", published.stderr);
    println!("{} events of {} paths published in {:.1?}", given.places.len(), given.sizes.len(), begin.elapsed());

    let begin = Instant::now();
    let url = format!("sqlite:{}", shop.path("busline.db").display());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (live, parking) = runtime.block_on(run_group(&url, given.failing.clone()));
    println!("{} handled and {} keys parked in {:.1?}", live.len(), parking.keys, begin.elapsed());
    let of_live = versions(&given, &live);
    for path in given.sizes.keys() {
        let expected = if given.failing.contains(path) { None } else { Some(given.of(path)) };
        assert_eq!(of_live.get(path), expected.as_ref(), "{path}, live");
    }
    assert_eq!((parking.keys, parking.waiting, parking.write_errors), (given.failing.len(), 0, 0));

    let listed = shop.run("parked list --group readers --json").json();
    let listed: BTreeMap<&str, u64> = listed
        .iter()
        .map(|queue| (queue["key"].as_str().expect("a key"), queue["records"].as_u64().expect("a count")))
        .collect();
    let expected: BTreeMap<&str, u64> = given.failing.iter().map(|path| (path.as_str(), given.sizes[path])).collect();
    assert_eq!(listed, expected, "parked whole");
    let shown = shop.run("parked show --group readers --json").json();
    let shown: Vec<String> = shown.iter().map(|event| event["id"].as_str().expect("an id").to_owned()).collect();
    let of_shown = versions(&given, &shown);
    given.failing.iter().for_each(|path| assert_eq!(of_shown[path], given.of(path), "{path}, parked in order"));

    let begin = Instant::now();
    let replay = shop.run("parked replay --group readers --concurrency 8 --exec ./handler --json");
    assert_eq!(replay.code, Some(0), "{}", replay.stderr);
    assert_eq!(replay.json()[0]["replayed"], given.failing_events());
    println!("{} replayed in {:.1?}", given.failing_events(), begin.elapsed());
    let replayed = std::fs::read_to_string(shop.path("replayed")).expect("the handler ran");
    let replayed: Vec<String> = replayed.lines().map(str::to_owned).collect();
    write_down(&given, &live, &replayed);
    let all = versions(&given, &[live, replayed].concat());
    for path in given.sizes.keys() {
        assert_eq!(all[path], given.of(path), "{path}, in all");
    }
    assert!(shop.run("parked list --group readers --json").json().is_empty());
}
