//! The bus and plain clients of the same library, in turns on the same broker.
//!
//! `BUSLINE_TEST_KAFKA=HOST:PORT cargo run --release -p busline-kafka --example twin [WHAT] [EVENTS] [ROUNDS] [BYTES]`
//!
//! WHAT is `publish`, `sync` or `consume`, or one side of it as `publish/bus`. All sides publish the same envelopes with
//! BYTES of payload to a new topic of three partitions. The sides of `publish`:
//!
//! - `bus`: `Publisher::publish`, receipts dropped, at the end `flush`.
//! - `plain`: `ThreadedProducer`, which counts its reports.
//! - `futures`: `FutureProducer::send_result`; 10,000 futures in a queue of which the oldest is awaited. Nothing is woken
//!   for the others, so this is the cheapest way to use that producer.
//! - `unordered`: `FutureProducer::send` in a stream with `buffer_unordered(10_000)`, which most programs use: each
//!   report wakes the task, and whichever future is ready is taken.
//!
//! They encode each envelope while time is taken, as the bus does. `made`, `futures-made` and `unordered-made` send bodies
//! that were encoded before. The plain consumer decodes each envelope, as the bus does, and commits asynchronously.
//! `BUSLINE_TEST_KAFKA_PID` names the broker's process, whose CPU is then shown too. A line is a run, with how far memory
//! rose at most and at the end; the last lines are medians of the rounds' ratios, each with half its spread.

mod bus;
mod events;
mod futures;
mod plain;
mod run;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use busline_core::{Bus, TopicSpec};
use busline_kafka::{KafkaConfig, KafkaDriver};
use tokio::runtime::Runtime;

use events::Made;
use run::{Broker, Run, middle};

const PARTITIONS: u32 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap = std::env::var("BUSLINE_TEST_KAFKA").map_err(|_| "BUSLINE_TEST_KAFKA names no broker")?;
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_else(|| "publish".into());
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<usize>());
    let (events, rounds, bytes) = (number(300_000)?, number(5)?, number(256)?);
    let (what, only) = what.split_once('/').map_or((what.as_str(), None), |(what, side)| (what, Some(side)));
    let mut sides = match what {
        "publish" => vec!["bus", "plain", "made", "futures", "futures-made", "unordered", "unordered-made"],
        "sync" | "consume" => vec!["bus", "plain"],
        _ => return Err("WHAT is publish, sync or consume".into()),
    };
    sides.retain(|side| only.is_none_or(|only| only == *side));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{what}: {events} events of {bytes} bytes of payload, {PARTITIONS} partitions, load {}", load.trim_end());
    let stage = Stage::open(bootstrap, events, bytes)?;
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); sides.len()];
    for round in 0..rounds {
        let filled = if what == "consume" { Some(stage.fill(round)?) } else { None };
        // Another one begins each time, since what ran before leaves the machine in another state.
        for turn in 0..sides.len() {
            let turn = (turn + round) % sides.len();
            let side = sides[turn];
            let run = match &filled {
                Some(topic) => stage.consume(side, topic)?,
                None => stage.publish(what, side, round)?,
            };
            println!("{side:<14} {run}");
            runs[turn].push(run);
        }
        if let Some(topic) = filled {
            stage.delete(&topic)?;
        }
    }
    for (side, theirs) in sides.iter().zip(&runs).skip(1) {
        let ratio = |of: fn(&Run) -> f64| {
            let (ratio, spread) = middle(runs[0].iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs)));
            format!("{ratio:.2} x ± {:.0} %", spread * 100.0)
        };
        let (rate, cpu, broker) = (ratio(|run| run.rate), ratio(|run| run.cpu), ratio(|run| run.broker_cpu));
        println!("bus / {side}: events/s {rate}, CPU {cpu}, broker CPU {broker}");
        if what == "sync" {
            println!("bus / {side}: p50 {}", ratio(|run| run.p50));
        }
    }
    stage.close()
}

struct Stage {
    runtime: Runtime,
    bus: Bus,
    bootstrap: String,
    broker: Broker,
    events: usize,
    bytes: usize,
}

impl Stage {
    fn open(bootstrap: String, events: usize, bytes: usize) -> Result<Self, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let driver = runtime.block_on(KafkaDriver::open(KafkaConfig::new([bootstrap.as_str()])))?;
        let process = std::env::var("BUSLINE_TEST_KAFKA_PID").ok().map(|text| text.parse()).transpose()?;
        Ok(Self { bus: Bus::new(Arc::new(driver)), runtime, bootstrap, broker: Broker(process), events, bytes })
    }

    fn topic(&self, side: &str, round: usize) -> Result<String, Box<dyn Error>> {
        let topic = format!("twin-{side}-{:x}-{round}", std::process::id());
        let spec = TopicSpec { partitions: PARTITIONS, ..TopicSpec::default() };
        self.runtime.block_on(self.bus.driver().create_topic(&topic.parse()?, &spec))?;
        Ok(topic)
    }

    fn delete(&self, topic: &str) -> Result<(), Box<dyn Error>> {
        Ok(self.runtime.block_on(self.bus.driver().delete_topic(&topic.parse()?))?)
    }

    fn publish(&self, what: &str, side: &str, round: usize) -> Result<Run, Box<dyn Error>> {
        let topic = self.topic(side, round)?;
        let envelopes = events::envelopes(self.events, self.bytes)?;
        let (bootstrap, broker) = (self.bootstrap.as_str(), self.broker);
        let run = match (what, side) {
            ("sync", "bus") => self.runtime.block_on(bus::publish_sync(&self.bus, broker, &topic, envelopes))?,
            ("sync", _) => plain::publish_sync(bootstrap, broker, &topic, envelopes)?,
            (_, "bus") => self.runtime.block_on(bus::publish(&self.bus, broker, &topic, envelopes))?,
            (_, "plain") => plain::publish(bootstrap, broker, &topic, envelopes)?,
            (_, "futures") => self.runtime.block_on(futures::publish(bootstrap, broker, &topic, envelopes))?,
            (_, "unordered") => {
                self.runtime.block_on(futures::publish_unordered(bootstrap, broker, &topic, envelopes))?
            }
            _ => self.publish_made(side, &topic, &events::made(&envelopes, &topic)?)?,
        };
        self.delete(&topic)?;
        Ok(run)
    }

    fn publish_made(&self, side: &str, topic: &str, made: &[Made]) -> Result<Run, Box<dyn Error>> {
        let (bootstrap, broker) = (self.bootstrap.as_str(), self.broker);
        match side {
            "made" => plain::publish_made(bootstrap, broker, topic, made),
            "futures-made" => self.runtime.block_on(futures::publish_made(bootstrap, broker, topic, made)),
            _ => self.runtime.block_on(futures::publish_unordered_made(bootstrap, broker, topic, made)),
        }
    }

    /// A topic with everything that is consumed.
    fn fill(&self, round: usize) -> Result<String, Box<dyn Error>> {
        let topic = self.topic("read", round)?;
        let envelopes = events::envelopes(self.events, self.bytes)?;
        self.runtime.block_on(bus::publish(&self.bus, Broker(None), &topic, envelopes))?;
        Ok(topic)
    }

    fn consume(&self, side: &str, topic: &str) -> Result<Run, Box<dyn Error>> {
        match side {
            "bus" => Ok(self.runtime.block_on(bus::consume(&self.bus, self.broker, topic, self.events))?),
            _ => plain::consume(&self.bootstrap, self.broker, topic, self.events),
        }
    }

    fn close(self) -> Result<(), Box<dyn Error>> {
        self.runtime.block_on(self.bus.close(Duration::from_secs(10)))?;
        Ok(())
    }
}
