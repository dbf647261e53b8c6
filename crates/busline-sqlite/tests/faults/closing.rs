//! What an ended driver leaves behind: the one file, and nothing in the process.
//!
//! Descriptors and threads are those of the whole process, so this is one test, and it runs in a process of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use busline_core::{Bus, Result};

use crate::ledger::{Ledger, Told, dump, envelope};
use crate::processes::{Child, role};
use crate::stage::{Stage, TOPIC, close, publisher, read};

#[test]
fn a_closed_bus_leaves_one_file_and_no_descriptor_or_thread() {
    let status = Child::start("closing::in_a_process_of_its_own", &[("BUSLINE_ROLE", "closing")]).wait();
    assert!(status.success(), "{status}");
}

#[test]
fn in_a_process_of_its_own() -> Result<()> {
    if role().as_deref() != Some("closing") {
        return Ok(());
    }
    // Before there is a pool: one of its threads bears the name of this one until it has taken its own.
    let threads = threads();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stage = Stage::new();
        cycle(&stage).await?;
        let descriptors = descriptors();
        for _ in 0..200 {
            cycle(&stage).await?;
            assert_eq!(stage.files(), ["bus.db"]);
            assert_eq!(self::descriptors(), descriptors);
        }
        // A joined thread may stand in /proc for a moment more.
        let patience = Instant::now() + Duration::from_secs(1);
        while self::threads() != threads && Instant::now() < patience {
            tokio::task::yield_now().await;
        }
        assert_eq!(self::threads(), threads);
        dropped_without_a_close(&stage, &threads).await
    })
}

async fn cycle(stage: &Stage) -> Result<()> {
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(10)).await?;
    orders.publish_sync(envelope("p", "key", 0, 10)).await?;
    read(&bus, 0).await?;
    close(&bus).await;
    bus.close(Duration::from_secs(1)).await?;
    assert_eq!(bus.driver().probe().await.expect_err("closed").code(), "Closed/Bus");
    Ok(())
}

/// The thread of a driver that was only dropped ends by itself, and then nothing is left either.
async fn dropped_without_a_close(stage: &Stage, threads: &BTreeMap<String, usize>) -> Result<()> {
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(10)).await?;
    orders.publish_sync(envelope("p", "key", 0, 10)).await?;
    read(&bus, 0).await?;
    drop((orders, bus));
    let patience = Instant::now() + Duration::from_secs(5);
    while (self::threads() != *threads || stage.files() != ["bus.db"]) && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(stage.files(), ["bus.db"]);
    assert_eq!(&self::threads(), threads);
    Ok(())
}

fn descriptors() -> BTreeMap<String, usize> {
    let links = std::fs::read_dir("/proc/self/fd").expect("/proc").filter_map(|entry| {
        let target = std::fs::read_link(entry.ok()?.path()).ok()?;
        Some(target.to_string_lossy().into_owned())
    });
    // The listing itself is open too, under a number of its own.
    counted(links.filter(|link| !link.starts_with("/proc/")))
}

/// Names of all threads but those of the runtime's pool, which come and go with the load.
fn threads() -> BTreeMap<String, usize> {
    let names = std::fs::read_dir("/proc/self/task").expect("/proc").filter_map(|entry| {
        let name = std::fs::read_to_string(entry.ok()?.path().join("comm")).ok()?;
        Some(name.trim_end().to_owned())
    });
    counted(names.filter(|name| !name.starts_with("tokio-")))
}

fn counted(names: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn two_drivers_of_one_process_share_a_file() -> Result<()> {
    let stage = Stage::new();
    let (one, two): (Bus, Bus) = (stage.open().await?, stage.open().await?);
    let publishers = (publisher(&one, Duration::from_secs(10)).await?, publisher(&two, Duration::from_secs(10)).await?);
    let burst = |name: &str| (0..500).map(|n| envelope(name, &format!("{name}-{}", n % 5), n, 50)).collect();
    let (mut first, mut second) = (Ledger::default(), Ledger::default());
    tokio::join!(first.publish(&publishers.0, burst("one")), second.publish(&publishers.1, burst("two")));
    first.0.extend(second.0);
    assert_eq!(first.count(|told| matches!(told, Told::Acked { .. })), 1_000);
    close(&one).await;
    // Its descriptors are closed; if that had dropped the locks of the other, a plain writer could now get in between.
    let mut third = Ledger::default();
    third.publish(&publishers.1, burst("three")).await;
    assert_eq!(third.count(|told| matches!(told, Told::Acked { .. })), 500);
    close(&two).await;
    assert_eq!(stage.files(), ["bus.db"]);
    first.0.extend(third.0);
    first.judge(&dump(&stage.plain(), TOPIC)).unwrap_or_else(|broken| panic!("{broken}"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_runs_while_the_bus_closes_keeps_nothing_open() -> Result<()> {
    for _ in 0..30 {
        let stage = Stage::new();
        let bus = stage.open().await?;
        let orders = publisher(&bus, Duration::from_secs(10)).await?;
        orders.publish_sync(envelope("p", "key", 0, 10)).await?;
        // More than are kept idle, one call after another, so that some are running whenever the bus closes.
        let reads: Vec<_> = (0..8)
            .map(|_| {
                let driver = std::sync::Arc::clone(bus.driver());
                let read_on = async move {
                    loop {
                        if let Err(error) = driver.topics().await {
                            return error;
                        }
                    }
                };
                tokio::runtime::Handle::current().spawn(read_on)
            })
            .collect();
        orders.publish_sync(envelope("p", "key", 1, 10)).await?;
        close(&bus).await;
        assert_eq!(stage.files(), ["bus.db"]);
        for read in reads {
            assert_eq!(read.await.expect("no panic").code(), "Closed/Bus");
        }
    }
    Ok(())
}
