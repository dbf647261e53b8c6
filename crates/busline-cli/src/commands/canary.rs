//! `busline canary`: one small event after the other, published and awaited at a handler, to see whether the bus works now.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use busline::{
    Bus, Deletion, Delivery, Envelope, Error, ErrorKind, ParkingPolicy, Provision, Publisher, Result, Retention, Start,
    Subscription, TopicName, TopicSpec,
};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until, timeout};

use super::Ended;
use super::job::{CLOSE_MAX, close};
use crate::args::Canary;
use crate::interrupt::Stop;
use crate::output::Output;
use crate::target::Target;

/// Keys that take turns, so that every partition of a topic is probed.
const KEYS: u64 = 16;

/// What a probe may take: what the deadline of a publisher may be.
const WITHIN: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3_600);

/// How long the topic keeps probes: nobody reads them later.
const KEPT: Duration = Duration::from_secs(3_600);

/// Probes go no faster: a load is what `bench` is for.
const EVERY_MIN: Duration = Duration::from_millis(10);

/// Longest wait until the group has its partitions.
const JOIN_MAX: Duration = Duration::from_secs(30);

/// Time between two looks at them.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) struct Request {
    bus: Target,
    topic: TopicName,
    every: Duration,
    count: u64,
    within: Duration,
}

impl Request {
    /// # Errors
    /// Those of a topic name; `Invalid/Range` for probes that are to come too fast, or within a time that no publisher has.
    pub(crate) fn new(args: Canary, bus: Target) -> Result<Self> {
        let Canary { topic, every, count, within } = args;
        let wrong =
            |what: String, next: &'static str| Error::invalid("Range").cause(what).next(next).at("canary", &topic);
        if every < EVERY_MIN {
            let next = "use a longer time; 'busline bench --rate' publishes faster";
            return Err(wrong(format!("--every {every:?} is below {EVERY_MIN:?}"), next));
        }
        if !WITHIN.contains(&within) {
            let next = "use a time from 100ms to 1h";
            return Err(wrong(format!("--within {within:?} is out of its range"), next));
        }
        Ok(Self { bus, topic: TopicName::new(&topic)?, every, count: count.unwrap_or(u64::MAX), within })
    }
}

pub(crate) async fn run(request: Request, output: &mut Output, stop: Stop) -> Result<Ended> {
    let bus = request.bus.connect().await?;
    let outcome = probe_on(&bus, &request, output, stop).await;
    close(&bus, outcome).await
}

async fn probe_on(bus: &Bus, request: &Request, output: &mut Output, stop: Stop) -> Result<Ended> {
    let Request { topic, within, .. } = request;
    let retention = Retention { age_max: Some(KEPT), ..Retention::default() };
    let spec = TopicSpec { retention, ..TopicSpec::default() };
    // As it is, if it is there.
    let publisher =
        bus.publisher(topic.as_str()).provision(Provision::CreateOnly(spec)).deadline(*within).open().await?;
    // A name that no other canary has: each is to see all of its own probes.
    let group = format!("canary-{}", Envelope::new("", "", 0).id);
    let (arrived, arrivals) = mpsc::channel(ARRIVALS_MAX);
    let handler = move |delivery: Delivery| {
        let (arrived, at) = (arrived.clone(), Instant::now());
        async move {
            // One that nobody awaits any more is only acked.
            drop(arrived.try_send(Arrival { id: delivery.envelope.id.clone(), at }));
            Ok(())
        }
    };
    let subscription =
        bus.subscribe(topic.as_str(), &group).start(Start::Latest).parking(ParkingPolicy::Off).handle(handler).await?;
    let partitions = publisher.topic().spec.partitions as usize;
    let mut canary = Canaries { request, publisher, arrivals, told: Told::default() };
    let mut ended = stop.clone();
    let joined = tokio::select! {
        joined = joined(&subscription, partitions, request) => joined,
        // There is nothing to probe then.
        () = ended.requested() => Ok(()),
    };
    let probed = match joined {
        Ok(()) => canary.probe_all(output, stop).await,
        Err(error) => Err(error),
    };
    let closed = subscription.close(CLOSE_MAX).await;
    let forgotten = bus.delete_group(&group, topic.as_str(), Deletion::default()).await;
    probed.and(closed.map(drop)).and(forgotten.map(drop))?;
    output.say(&format!("{topic}: {}", canary.told));
    Ok(if canary.told.failed == 0 { Ended::Done } else { Ended::SomeFailed })
}

/// Arrivals that may wait to be looked at: only those of earlier probes can, while one is awaited.
const ARRIVALS_MAX: usize = 1_024;

/// A probe at the handler.
struct Arrival {
    id: String,
    at: Instant,
}

/// Waits until the group reads every partition: from then on no probe is missed.
async fn joined(subscription: &Subscription, partitions: usize, request: &Request) -> Result<()> {
    let until = Instant::now() + JOIN_MAX;
    while subscription.partitions().len() < partitions {
        if Instant::now() >= until {
            return Err(Error::new(ErrorKind::Unavailable, "Joining")
                .cause(format!("its group did not get the {partitions} partitions within {JOIN_MAX:?}"))
                .next("see 'busline doctor' and the server's log")
                .at("canary", &request.topic));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// Everything that probes need.
struct Canaries<'r> {
    request: &'r Request,
    publisher: Publisher,
    arrivals: mpsc::Receiver<Arrival>,
    told: Told,
}

impl Canaries<'_> {
    async fn probe_all(&mut self, output: &mut Output, mut stop: Stop) -> Result<()> {
        for number in 1..=self.request.count {
            if stop.is_requested() {
                break;
            }
            let next = Instant::now() + self.request.every;
            let probe = self.probe(number).await;
            self.told.note(&probe);
            output.data(&probe)?;
            output.flush()?;
            if output.is_gone() || number == self.request.count {
                break;
            }
            tokio::select! {
                () = sleep_until(next.into()) => {}
                () = stop.requested() => {}
            }
        }
        Ok(())
    }

    async fn probe(&mut self, number: u64) -> Probe {
        let key = format!("canary-{}", (number - 1) % KEYS);
        let envelope = Envelope::new(key.as_str(), "CanaryProbe", (number - 1) / KEYS + 1);
        let id = envelope.id.clone();
        let mut probe = Probe { probe: number, key, ..Probe::default() };
        let called = Instant::now();
        let outcome = match self.publisher.publish_sync(envelope).await {
            Ok(ack) => {
                probe.acked_ms = Some(millis(called.elapsed()));
                probe.durability = Some(ack.durability.to_string());
                let left = self.request.within.saturating_sub(called.elapsed());
                self.arrival(&id, left).await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(at) => probe.handled_ms = Some(millis(at.saturating_duration_since(called))),
            Err(error) => (probe.error, probe.message) = (Some(error.code()), Some(error.to_string())),
        }
        probe
    }

    /// When this probe came to the handler.
    async fn arrival(&mut self, id: &str, within: Duration) -> Result<Instant> {
        let awaited = async {
            while let Some(arrival) = self.arrivals.recv().await {
                if arrival.id == id {
                    return Some(arrival.at);
                }
            }
            None
        };
        timeout(within, awaited).await.ok().flatten().ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "Late")
                .cause(format!("acked, and not at the handler within {:?} of the call", self.request.within))
                .next("see 'busline doctor', the server's log and its load")
                .at("canary", &self.request.topic)
        })
    }
}

fn millis(time: Duration) -> f64 {
    // Microseconds are as fine as anybody looks.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// What came of one probe.
#[derive(Debug, Default, Serialize)]
struct Probe {
    probe: u64,
    key: String,
    /// From the call to the ack.
    acked_ms: Option<f64>,
    /// What the ack attests.
    durability: Option<String>,
    /// From the call to the handler.
    handled_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { probe, key, acked_ms, durability, handled_ms, message, .. } = self;
        write!(f, "probe {probe}  {key}")?;
        if let Some((acked, durability)) = acked_ms.zip(durability.as_ref()) {
            write!(f, "  acked in {acked:.3} ms ({durability})")?;
        }
        if let Some(handled) = handled_ms {
            write!(f, "  at the handler in {handled:.3} ms")?;
        }
        message.as_ref().map_or(Ok(()), |message| write!(f, "  FAILED: {message}"))
    }
}

/// What came of all of them.
#[derive(Debug, Default)]
struct Told {
    probes: u64,
    failed: u64,
    slowest_ack_ms: f64,
    slowest_handler_ms: f64,
}

impl Told {
    fn note(&mut self, probe: &Probe) {
        self.probes += 1;
        self.failed += u64::from(probe.error.is_some());
        self.slowest_ack_ms = self.slowest_ack_ms.max(probe.acked_ms.unwrap_or(0.0));
        self.slowest_handler_ms = self.slowest_handler_ms.max(probe.handled_ms.unwrap_or(0.0));
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { probes, failed, slowest_ack_ms, slowest_handler_ms } = self;
        write!(
            f,
            "{probes} probes, {failed} failed; the slowest took {slowest_ack_ms:.3} ms to the ack, {slowest_handler_ms:.3} \
             ms to the handler"
        )
    }
}
