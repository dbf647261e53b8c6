//! A failed sync under the driver: never an ack, a poisoned store, and a file that can be opened again.

use busline_core::Result;

use super::bus::{TOPIC, close, idle, open, plain, publisher, read_all};
use super::vfs::{FileKind, Loss, PowerDisk};
use crate::ledger::{Ledger, Told, dump, envelope};

fn burst(from: u64) -> Vec<busline_core::Envelope> {
    (from..from + 20).map(|number| envelope("p", &format!("key-{}", number % 4), number, 300)).collect()
}

#[tokio::test]
async fn after_a_failed_sync_of_the_log_nothing_is_acked_until_the_file_is_opened_again() -> Result<()> {
    for seed in 0..20 {
        println!("seed {seed}");
        let disk = PowerDisk::new(seed);
        let mut ledger = Ledger::default();
        let bus = open(&disk).await?;
        let orders = publisher(&bus).await?;
        ledger.publish(&orders, burst(0)).await;
        assert_eq!(ledger.count(|told| matches!(told, Told::Acked { .. })), 20);

        idle(&bus).await?;
        disk.fail_next_sync(FileKind::Wal);
        let outcomes = ledger.publish(&orders, burst(20)).await;
        assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
        assert_eq!(outcomes[0].as_ref().unwrap_err().code(), "Unavailable/Io");
        // No reader is in the way of the look-up and nobody else has the file, so it can tell.
        assert_eq!(ledger.count(|told| told == Told::Indeterminate), 0);

        let outcomes = ledger.publish(&orders, burst(40)).await;
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert!(error.is_definite() && matches!(error.reason(), "Poisoned" | "BehindFailed"), "{error}");
        }
        let other = bus.publisher("other").open().await.unwrap_err();
        assert_eq!(other.code(), "Unavailable/Poisoned");
        assert!(other.is_definite());
        close(&bus).await;

        let bus = open(&disk).await?;
        ledger.publish(&publisher(&bus).await?, burst(60)).await;
        assert_eq!(ledger.count(|told| matches!(told, Told::Acked { .. })), 40);
        disk.restart(Loss::Any);
        close(&bus).await;
        let bus = open(&disk).await?;
        let rows = read_all(&bus).await?;
        assert_eq!(rows, dump(&plain(&disk), TOPIC));
        ledger.judge(&rows).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        close(&bus).await;
    }
    Ok(())
}

/// A definite failure is said only once the log that may hold the records cannot come back.
#[tokio::test]
async fn a_failure_after_a_failed_sync_outlasts_the_next_power_loss() -> Result<()> {
    for seed in 0..60 {
        let disk = PowerDisk::new(seed);
        let mut ledger = Ledger::default();
        let bus = open(&disk).await?;
        let orders = publisher(&bus).await?;
        ledger.publish(&orders, burst(0)).await;
        idle(&bus).await?;
        disk.fail_syncs_after_writing(FileKind::Wal, 1);
        ledger.publish(&orders, burst(20)).await;
        assert!(ledger.count(|told| told == Told::Failed) > 0);
        disk.restart(Loss::Any);
        close(&bus).await;
        let bus = open(&disk).await?;
        let rows = read_all(&bus).await?;
        ledger.judge(&rows).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        close(&bus).await;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_reader_keeps_from_being_looked_up_is_indeterminate() -> Result<()> {
    let disk = PowerDisk::new(1);
    let mut ledger = Ledger::default();
    let bus = open(&disk).await?;
    let orders = publisher(&bus).await?;
    ledger.publish(&orders, burst(0)).await;
    let reader = plain(&disk);
    reader.execute_batch("BEGIN; SELECT count(*) FROM records").expect("a snapshot");
    idle(&bus).await?;
    disk.fail_next_sync(FileKind::Wal);
    let outcomes = ledger.publish(&orders, burst(20)).await;
    let first = outcomes[0].as_ref().unwrap_err();
    assert!(!first.is_definite(), "{first}");
    drop(reader);
    close(&bus).await;
    ledger.judge(&dump(&plain(&disk), TOPIC)).unwrap_or_else(|broken| panic!("{broken}"));
    Ok(())
}

/// What a checkpoint could not sync still stands in the log, and the next checkpoint writes it again.
#[tokio::test]
async fn a_failed_sync_of_the_database_costs_nothing_that_was_acked() -> Result<()> {
    for seed in 0..20 {
        println!("seed {seed}");
        let disk = PowerDisk::new(seed);
        let mut ledger = Ledger::default();
        let bus = open(&disk).await?;
        let orders = publisher(&bus).await?;
        for round in 0..6 {
            if round % 2 == 1 {
                disk.fail_next_sync(FileKind::Main);
            }
            ledger.publish(&orders, burst(round * 20)).await;
        }
        assert_eq!(ledger.count(|told| matches!(told, Told::Acked { .. })), 120);
        disk.restart(Loss::Any);
        close(&bus).await;
        ledger.judge(&dump(&plain(&disk), TOPIC)).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    }
    Ok(())
}
