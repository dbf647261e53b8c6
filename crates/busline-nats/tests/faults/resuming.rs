//! How soon a group goes on: after the server's return, and when what it reads by has died.
//!
//! Each time is taken from the moment at which the group could go on, to the end of the handler of a record that was
//! stored behind the fault. The bound is 2 s and what the machine itself took away meanwhile: a thread that only sleeps
//! says how much that was.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::Client;
use busline_brokers::nats::{Options, Server};
use busline_conformance::seed;
use busline_core::{Bus, Delivery, Subscription};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::load::driver;
use crate::proxy::Proxy;
use crate::yardstick::Yardstick;

/// The promise.
const RESUMES_WITHIN: Duration = Duration::from_secs(2);

/// Far above it, so that a group which does not go on is told from one that is slow.
const SOON: Duration = Duration::from_secs(60);

const TOPIC: &str = "resuming";

/// Faults of each kind in one run of a test.
fn rounds() -> u64 {
    std::env::var("BUSLINE_RETURNS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// A group of one member that reads through `port`, and a client beside it.
struct Stage {
    bus: Bus,
    subscription: Subscription,
    /// Versions that were handled, and when.
    handled: Arc<Mutex<Vec<(u64, Instant)>>>,
    server: u16,
    stored: u64,
    yardstick: Yardstick,
    worst: Duration,
}

impl Stage {
    async fn open(server: u16, port: u16) -> Self {
        let bus = Bus::new(driver(port, "best").await);
        drop(bus.publisher(TOPIC).open().await.expect("makes the topic"));
        let handled: Arc<Mutex<Vec<(u64, Instant)>>> = Arc::default();
        let notes = Arc::clone(&handled);
        let handler = move |Delivery { envelope, .. }: Delivery| {
            notes.lock().expect("no panic").push((envelope.event_version, Instant::now()));
            std::future::ready(Ok(()))
        };
        let subscription = bus.subscribe(TOPIC, "billing").handle(handler).await.expect("joins");
        let yardstick = Yardstick::start();
        let mut stage = Self { bus, subscription, handled, server, stored: 0, yardstick, worst: Duration::ZERO };
        let start = Instant::now();
        stage.store_and_await(start).await;
        stage
    }

    /// Stores one record as a foreign client does, as soon as it can be, and gives the time from `since` to its handling,
    /// with what the machine took of that.
    async fn store_and_await(&mut self, since: Instant) -> (Duration, Duration) {
        self.stored += 1;
        let (port, version) = (self.server, self.stored);
        let stored = async {
            while store(port, version).await.is_none() {
                sleep(Duration::from_millis(10)).await
            }
        };
        timeout(SOON, stored).await.expect("the server takes a record");
        let at = || self.handled.lock().expect("no panic").iter().find(|(of, _)| *of == version).map(|(_, at)| *at);
        let handled = async {
            loop {
                if let Some(at) = at() {
                    return at;
                }
                sleep(Duration::from_millis(2)).await;
            }
        };
        let handled = timeout(SOON, handled).await.expect("the group goes on");
        (handled.saturating_duration_since(since), self.yardstick.taken_since(since))
    }

    async fn goes_on(&mut self, what: &str, since: Instant) {
        let (took, taken) = self.store_and_await(since).await;
        println!("{what}: {took:?}, of which the machine took {taken:?}");
        self.worst = self.worst.max(took.saturating_sub(taken));
        assert!(took <= RESUMES_WITHIN + taken, "{what}: {took:?}, of which the machine took {taken:?}");
    }

    /// Every record was handled, none before an earlier one of the same key for the first time.
    async fn close(self) {
        println!("worst without the machine's part: {:?}", self.worst);
        self.subscription.close(SOON).await.expect("closes");
        let mut versions: Vec<u64> =
            self.handled.lock().expect("no panic").iter().map(|(version, _)| *version).collect();
        versions.dedup();
        versions.sort_unstable();
        versions.dedup();
        assert_eq!(versions, (1..=self.stored).collect::<Vec<u64>>());
        self.bus.close(SOON).await.expect("closes");
    }
}

async fn client(port: u16) -> Option<Client> {
    let options = async_nats::ConnectOptions::new().connection_timeout(Duration::from_millis(500));
    options.connect(format!("127.0.0.1:{port}")).await.ok()
}

async fn ask(port: u16, subject: String, body: String) -> Option<Value> {
    let client = client(port).await?;
    let answer = timeout(Duration::from_millis(500), client.request(subject, body.into())).await.ok()?.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}

/// One record of one key; `None` if it may not be there.
async fn store(port: u16, version: u64) -> Option<()> {
    let body = json!({
        "event_id": format!("{version}"), "aggregate_id": "a", "event_type": "T", "event_version": version,
        "timestamp": "2024-05-01T00:00:00Z", "payload": {},
    });
    ask(port, format!("{TOPIC}.0"), body.to_string()).await?.get("seq")?.as_u64().filter(|seq| *seq > 0).map(drop)
}

async fn accepts(port: u16) -> Instant {
    let accepted = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            sleep(Duration::from_millis(1)).await
        }
    };
    timeout(SOON, accepted).await.expect("the server comes back");
    Instant::now()
}

/// Lets something befall the group of `port` again and again. It says what it was, and since when the group could go on.
async fn goes_on_after(server: &Server, port: u16, rounds: u64, mut befall: impl AsyncFnMut(u64) -> (String, Instant)) {
    let mut stage = Stage::open(server.port(), port).await;
    for round in 0..rounds {
        let (what, since) = befall(round).await;
        stage.goes_on(&what, since).await;
    }
    stage.close().await;
}

/// How long a fault lasts: by chance within these milliseconds, and in each third round longer than a lease, which is 5 s.
struct Lengths {
    dice: StdRng,
    short: Range<u64>,
    long: u64,
}

impl Lengths {
    fn new(short: Range<u64>, long: u64) -> Self {
        Self { dice: StdRng::seed_from_u64(seed()), short, long }
    }

    async fn sleep(&mut self, round: u64) -> Duration {
        let millis = if round % 3 == 2 { self.long } else { self.dice.random_range(self.short.clone()) };
        let length = Duration::from_millis(millis);
        sleep(length).await;
        length
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_on_within_two_seconds_of_a_killed_servers_return() {
    let server = Server::start(&Options::default()).expect("a server");
    let mut absences = Lengths::new(0..2_500, 7_000);
    let killed = async |round| {
        server.wait_until_ready().expect("it is ready");
        server.kill().expect("it ran");
        let absence = absences.sleep(round).await;
        server.begin_again().expect("it starts");
        (format!("back after {absence:?}"), accepts(server.port()).await)
    };
    goes_on_after(&server, server.port(), rounds(), killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_on_within_two_seconds_of_a_frozen_servers_thaw() {
    let server = Server::start(&Options::default()).expect("a server");
    let mut pauses = Lengths::new(1_000..5_000, 8_000);
    let frozen = async |round| {
        server.pause().expect("it ran");
        let pause = pauses.sleep(round).await;
        let thaw = Instant::now();
        server.resume().expect("it is there");
        (format!("frozen for {pause:?}"), thaw)
    };
    goes_on_after(&server, server.port(), rounds(), frozen).await;
}

/// The server and the connections are well, and what the group reads by is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_on_within_two_seconds_of_the_end_of_its_consumers() {
    let server = Server::start(&Options::default()).expect("a server");
    let port = server.port();
    let deleted = async |_| {
        let names = ask(port, format!("$JS.API.CONSUMER.NAMES.{TOPIC}"), String::new()).await.expect("an answer");
        let begin = Instant::now();
        for name in names["consumers"].as_array().expect("a list") {
            let name = name.as_str().expect("a name");
            ask(port, format!("$JS.API.CONSUMER.DELETE.{TOPIC}.{name}"), String::new()).await.expect("an answer");
        }
        ("consumers deleted".into(), begin)
    };
    goes_on_after(&server, port, rounds(), deleted).await;
}

/// Every connection of the member stays and carries nothing any more: heartbeats are missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_on_within_two_seconds_of_its_connections_falling_silent() {
    let server = Server::start(&Options::default()).expect("a server");
    let proxy = Proxy::start(server.port()).await;
    proxy.leave_half_open(true);
    let silent = async |round: u64| {
        if round.is_multiple_of(2) {
            let begin = Instant::now();
            proxy.cut_all();
            return ("connections silent".into(), begin);
        }
        // The lease is kept over a connection of its own: had that not been found out too, it would be over by then.
        sleep(Duration::from_secs(6)).await;
        ("longer than a lease later".into(), Instant::now())
    };
    goes_on_after(&server, proxy.port(), 2 * rounds(), silent).await;
}
