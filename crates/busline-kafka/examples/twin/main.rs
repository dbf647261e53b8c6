//! The bus and plain clients of the same library, in turns on the same broker: publishing and consuming.
//!
//! `BUSLINE_TEST_KAFKA=HOST:PORT cargo run --release -p busline-kafka --example twin [EVENTS] [ROUNDS]`
//!
//! The plain producer sends bodies that the bus has stored before, so both send the same bytes: it encodes nothing. The
//! plain consumer decodes each envelope, as the bus does, and commits asynchronously. A line is a run; the last lines are
//! medians and their ratios.

mod bus;
mod plain;
mod run;

use std::error::Error;
use std::sync::Arc;

use busline_core::{Bus, Partition, TopicSpec};
use busline_kafka::{KafkaConfig, KafkaDriver};

use run::{Run, median};

const PARTITIONS: u32 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap = std::env::var("BUSLINE_TEST_KAFKA").map_err(|_| "BUSLINE_TEST_KAFKA names no broker")?;
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<usize>());
    let (events, rounds) = (number(300_000)?, number(5)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{events} events of 256 bytes of payload, {PARTITIONS} partitions, load {}", load.trim_end());
    let bus = runtime.block_on(async {
        let driver = KafkaDriver::open(KafkaConfig::new([bootstrap.as_str()])).await?;
        Ok::<_, busline_core::Error>(Bus::new(Arc::new(driver)))
    })?;
    let mut runs: Vec<(&str, Vec<Run>)> = Vec::new();
    let mut note = |name: &'static str, run: Run| {
        println!("{name:<16} {run}");
        match runs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, of_name)) => of_name.push(run),
            None => runs.push((name, vec![run])),
        }
    };
    for round in 0..rounds {
        let [first, second] = ["bus", "plain"].map(|kind| format!("twin-{kind}-{:x}-{round}", std::process::id()));
        for topic in [&first, &second] {
            let spec = TopicSpec { partitions: PARTITIONS, ..TopicSpec::default() };
            runtime.block_on(bus.driver().create_topic(&topic.parse()?, &spec))?;
        }
        note("publish bus", runtime.block_on(bus::publish(&bus, &first, events))?);
        let records = runtime.block_on(bus::stored(&bus, &first, (0..PARTITIONS).map(Partition)))?;
        note("publish plain", plain::publish(&bootstrap, &second, &records, events)?);
        note("consume bus", runtime.block_on(bus::consume(&bus, &first, events))?);
        note("consume plain", plain::consume(&bootstrap, &first, events)?);
        for topic in [&first, &second] {
            runtime.block_on(bus.driver().delete_topic(&topic.parse()?))?;
        }
    }
    for pair in runs.chunks(2) {
        let [(name, ours), (_, theirs)] = pair else { continue };
        let (ours, theirs) = (median(ours), median(theirs));
        println!("{name} / plain: {:.2} x events/s, {:.2} x CPU", ours.rate / theirs.rate, ours.cpu / theirs.cpu);
    }
    runtime.block_on(bus.close(std::time::Duration::from_secs(10)))?;
    Ok(())
}
