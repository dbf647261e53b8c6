//! How fast the driver is against the client library on the same server, in one run whose parts take turns.
//!
//! ```sh
//! cargo run --release -p busline-nats --example speed -- SCENE [records] [rounds] [payload bytes] [premade]
//! ```
//!
//! Starts a server on loopback and gives each part a stream on file of its own. Scenes:
//!
//! | Scene | Parts |
//! |---|---|
//! | `fast` | the fast sink; raw fast ingest; `jetstream::Context::publish` with 4,000 futures in flight |
//! | `pipelined` | the pipelined sink; an own inbox with numbers for tokens and the same window and ids |
//! | `sync` | `publish_sync`, microseconds at the median; one raw request |
//! | `consume` | a group of one partition with a handler that counts; a pull consumer with all acked at once |
//! | `streams` | the fast sink on 4 streams; on one |
//! | `memory` | resident memory that a burst adds at its peak and after the bus is closed |
//!
//! A twin encodes each envelope in its own loop by the bus's code; with `premade` it sends one body over and over.
//! Prints for each part records a second, and for each record the CPU of this process and of the server, as median and range
//! over the rounds.

use busline_brokers::nats::{Options, Server};
use busline_core::TopicSpec;

mod lap;
mod memory;
mod own;
mod raw;
mod stage;

use lap::Laps;
use memory::Memory;
use stage::{Failed, Stage};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failed> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise| given.get(at).map_or(Ok(otherwise), |text| text.parse::<u64>());
    let stage = Stage {
        server: Server::start(&Options::default())?,
        records: number(1, 300_000)?,
        payload: "x".repeat(usize::try_from(number(3, 256)?)?),
        premade: given.get(4).is_some_and(|word| word == "premade"),
    };
    let rounds = number(2, 5)?;
    match given.first().map_or("fast", String::as_str) {
        "fast" => fast(&stage, rounds).await,
        "pipelined" => pipelined(&stage, rounds).await,
        "sync" => sync(&stage, rounds).await,
        "consume" => consume(&stage, rounds).await,
        "streams" => streams(&stage, rounds).await,
        "memory" => memory(&stage, rounds).await,
        other => Err(format!("no scene {other}: fast, pipelined, sync, consume, streams or memory").into()),
    }
}

async fn fast(stage: &Stage, rounds: u64) -> Result<(), Failed> {
    let mut laps = Laps::default();
    for _ in 0..rounds {
        laps.add("fast", own::publish(stage, "fast", "own", &own::one_partition()).await?);
        own::delete(stage, "own").await?;
        laps.add("raw fast ingest", raw::fast(stage, "raw").await?);
        own::delete(stage, "raw").await?;
        laps.add("Context::publish", raw::futures(stage, "raw").await?);
        own::delete(stage, "raw").await?;
    }
    laps.print("records/s");
    Ok(())
}

async fn pipelined(stage: &Stage, rounds: u64) -> Result<(), Failed> {
    let mut laps = Laps::default();
    for _ in 0..rounds {
        laps.add("pipelined", own::publish(stage, "pipelined", "own", &own::one_partition()).await?);
        own::delete(stage, "own").await?;
        laps.add("own inbox", raw::own_inbox(stage, "raw").await?);
        own::delete(stage, "raw").await?;
    }
    laps.print("records/s");
    Ok(())
}

async fn sync(stage: &Stage, rounds: u64) -> Result<(), Failed> {
    let mut laps = Laps::default();
    for _ in 0..rounds {
        laps.add("publish_sync", own::publish_sync(stage, "best", "own").await?);
        own::delete(stage, "own").await?;
        laps.add("raw request", raw::request(stage, "raw").await?);
        own::delete(stage, "raw").await?;
    }
    laps.print("µs at the median");
    Ok(())
}

async fn consume(stage: &Stage, rounds: u64) -> Result<(), Failed> {
    let mut laps = Laps::default();
    own::publish(stage, "best", "own", &own::one_partition()).await?;
    for round in 0..rounds {
        laps.add("group", own::consume(stage, "own", &format!("readers-{round}")).await?);
        laps.add("raw pull", raw::consume(stage, "own").await?);
    }
    laps.print("records/s");
    Ok(())
}

async fn streams(stage: &Stage, rounds: u64) -> Result<(), Failed> {
    let mut laps = Laps::default();
    for _ in 0..rounds {
        for (part, streams) in [("4 streams", 4), ("1 stream", 1)] {
            let spec = TopicSpec { partitions: 4, streams, ..TopicSpec::default() };
            laps.add(part, own::publish(stage, "fast", "own", &spec).await?);
            own::delete(stage, "own").await?;
        }
    }
    laps.print("records/s");
    Ok(())
}

async fn memory(stage: &Stage, rounds: u64) -> Result<(), Failed> {
    // The first burst makes what stays for good: threads, certificates, the allocator's arenas.
    own::publish(stage, "best", "own", &own::one_partition()).await?;
    own::delete(stage, "own").await?;
    for round in 0..rounds {
        let memory = Memory::watch()?;
        own::publish(stage, "best", "own", &own::one_partition()).await?;
        let (peak, kept) = memory.grown()?;
        println!("round {round}: {} KiB at the peak, {} KiB kept", peak >> 10, kept >> 10);
        own::delete(stage, "own").await?;
    }
    Ok(())
}
