//! How fast the driver is against the client library on the same server, in one run whose parts take turns.
//!
//! ```sh
//! cargo run --release -p busline-nats --example speed -- [records] [rounds] [payload bytes]
//! ```
//!
//! Starts a server on loopback with one stream on file for each part. Publishing: the fast sink, the pipelined sink, and
//! `jetstream::Context::publish` with 4,000 futures in flight, all with the same bytes. Consuming, one partition and a
//! handler that counts: a group, and a pull consumer that acks all of a batch at once and decodes each event. Prints
//! records a second, this process's CPU for each, and the ratios of the medians.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::{self, stream};
use busline_brokers::nats::{Options, Server};
use busline_core::{Bus, Envelope, ParkingPolicy, SubscriptionSettings, TopicName, TopicSpec, Wire, decode};
use busline_nats::{NatsConfig, NatsDriver};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::Notify;

type Failed = Box<dyn Error + Send + Sync>;

/// What the raw publisher keeps in flight.
const IN_FLIGHT: usize = 4_000;

/// Keys that take turns.
const KEYS: u64 = 1_000;

const CLOSE: Duration = Duration::from_secs(10);

/// Seconds and CPU seconds of one part.
struct Lap(Instant, f64);

impl Lap {
    fn start() -> Self {
        Self(Instant::now(), cpu())
    }

    /// Records a second, and microseconds of CPU for each.
    fn end(&self, records: u64) -> (f64, f64) {
        let count = records as f64;
        (count / self.0.elapsed().as_secs_f64(), (cpu() - self.1) * 1e6 / count)
    }
}

/// User and system time of this process in seconds: fields 14 and 15, in hundredths.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

struct Stage {
    server: Server,
    records: u64,
    payload: String,
}

impl Stage {
    fn envelope(&self, number: u64) -> Result<Envelope, Failed> {
        Ok(Envelope::new(format!("key-{}", number % KEYS), "Happened", number + 1).json(&self.payload)?)
    }

    async fn bus(&self, strategy: &str) -> Result<Bus, Failed> {
        let config = NatsConfig::from_url(&format!("{}?strategy={strategy}", self.server.url()))?;
        Ok(Bus::new(Arc::new(NatsDriver::open(config).await?)))
    }

    async fn publish(&self, strategy: &str, topic: &str) -> Result<(f64, f64), Failed> {
        let bus = self.bus(strategy).await?;
        let spec = TopicSpec { partitions: 1, ..TopicSpec::default() };
        bus.driver().create_topic(&TopicName::new(topic)?, &spec).await?;
        let publisher = bus.publisher(topic).open().await?;
        let lap = Lap::start();
        for number in 0..self.records {
            drop(publisher.publish(self.envelope(number)?).await?);
        }
        publisher.flush().await;
        let lap = lap.end(self.records);
        let stats = publisher.stats();
        bus.close(CLOSE).await?;
        if stats.acked == self.records { Ok(lap) } else { Err(format!("not all acked: {stats:?}").into()) }
    }

    async fn raw_publish(&self, subject: &str) -> Result<(f64, f64), Failed> {
        let context = jetstream::new(async_nats::connect(self.server.url()).await?);
        let config = stream::Config { name: subject.into(), subjects: vec![subject.into()], ..Default::default() };
        context.create_stream(config).await?;
        let mut body = Vec::new();
        Wire::default().encode(&self.envelope(0)?, "/busline/speed", &mut body);
        let body = Bytes::from(body);
        let lap = Lap::start();
        let mut waiting: VecDeque<PublishAckFuture> = VecDeque::with_capacity(IN_FLIGHT);
        for _ in 0..self.records {
            if waiting.len() == IN_FLIGHT
                && let Some(oldest) = waiting.pop_front()
            {
                oldest.await?;
            }
            waiting.push_back(context.publish(subject.to_owned(), body.clone()).await?);
        }
        for ack in waiting {
            ack.await?;
        }
        Ok(lap.end(self.records))
    }

    async fn consume(&self, topic: &str, group: &str) -> Result<(f64, f64), Failed> {
        let bus = self.bus("best").await?;
        let (seen, done) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let (count, end, records) = (Arc::clone(&seen), Arc::clone(&done), self.records);
        let settings = SubscriptionSettings { parking: ParkingPolicy::Off, ..SubscriptionSettings::default() };
        let lap = Lap::start();
        let handler = move |_| {
            if count.fetch_add(1, Ordering::AcqRel) + 1 == records {
                end.notify_one();
            }
            std::future::ready(Ok(()))
        };
        let subscription = bus.subscribe(topic, group).settings(settings).handle(handler).await?;
        done.notified().await;
        let lap = lap.end(self.records);
        subscription.close(CLOSE).await?;
        bus.close(CLOSE).await?;
        Ok(lap)
    }

    async fn raw_consume(&self, topic: &str) -> Result<(f64, f64), Failed> {
        let context = jetstream::new(async_nats::connect(self.server.url()).await?);
        let lap = Lap::start();
        let config = pull::Config { ack_policy: AckPolicy::All, max_ack_pending: 100_000, ..Default::default() };
        let consumer = context.get_stream(topic).await?.create_consumer(config).await?;
        let mut messages = consumer.stream().max_messages_per_batch(1_000).messages().await?;
        for number in 1..=self.records {
            let message = messages.next().await.ok_or("the consumer ended")??;
            let read = decode(&message.payload, || "stored".into())?;
            if read.event_version != number {
                return Err(format!("{} instead of {number}", read.event_version).into());
            }
            if number % 500 == 0 || number == self.records {
                message.ack().await?;
            }
        }
        Ok(lap.end(self.records))
    }
}

/// The median by rate.
fn median(laps: &mut [(f64, f64)]) -> (f64, f64) {
    laps.sort_by(|a, b| a.0.total_cmp(&b.0));
    laps[laps.len() / 2]
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failed> {
    let given: Vec<u64> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let number = |at: usize, otherwise| given.get(at).copied().unwrap_or(otherwise);
    let (records, rounds, bytes) = (number(0, 300_000), number(1, 5), number(2, 256));
    let payload = "x".repeat(usize::try_from(bytes)?);
    let stage = Stage { server: Server::start(&Options::default())?, records, payload };
    let mut laps: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for round in 0..rounds {
        let topic = format!("fast-{round}");
        let parts = [
            ("fast", stage.publish("fast", &topic).await?),
            ("raw publish", stage.raw_publish(&format!("raw-{round}")).await?),
            ("pipelined", stage.publish("pipelined", &format!("pipelined-{round}")).await?),
            ("group", stage.consume(&topic, "readers").await?),
            ("raw consume", stage.raw_consume(&topic).await?),
        ];
        for (what, lap) in parts {
            println!("{what}: {:.0}/s, {:.2} µs CPU", lap.0, lap.1);
            laps.entry(what).or_default().push(lap);
        }
        // The next round begins with an empty disk cache of its own size.
        let bus = stage.bus("best").await?;
        for name in [&topic, &format!("pipelined-{round}")] {
            bus.driver().delete_topic(&TopicName::new(name)?).await?;
        }
        bus.close(CLOSE).await?;
        jetstream::new(async_nats::connect(stage.server.url()).await?).delete_stream(format!("raw-{round}")).await?;
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut of = |what: &str| laps.get_mut(what).map_or((0.0, 0.0), |laps| median(laps));
    let (fast, raw, pipelined) = (of("fast"), of("raw publish"), of("pipelined"));
    let (group, raw_group) = (of("group"), of("raw consume"));
    for (what, own, twin) in [("fast", fast, raw), ("pipelined", pipelined, raw), ("group", group, raw_group)] {
        println!("{what}: {:.2} x the twin's rate at {:.2} x its CPU", own.0 / twin.0, own.1 / twin.1);
    }
    println!("load average: {}", load.trim());
    Ok(())
}
