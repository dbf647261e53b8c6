//! Damage inside a file of ours: seen on reading or writing, named with its place, never handed over as a record.

use std::time::Duration;

use busline_core::{Bus, Delivery, GroupName, Offset, Partition, ReadRequest, Result};

use crate::ledger::{dump, envelope};
use crate::stage::{Stage, TOPIC, close, publisher, read, topic};

/// A file with ten records of one key; gives their partition.
async fn ten_records(stage: &Stage) -> Result<u32> {
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(10)).await?;
    let mut partition = 0;
    for number in 0..10 {
        partition = orders.publish_sync(envelope("p", "key", number, 400)).await?.partition.0;
    }
    close(&bus).await;
    Ok(partition)
}

/// Number 57.
#[tokio::test]
async fn a_flipped_byte_of_a_payload_is_named_with_topic_partition_and_offset() -> Result<()> {
    let stage = Stage::new();
    let partition = ten_records(&stage).await?;
    let mut bytes = std::fs::read(stage.path()).expect("a file");
    let id = br#""p:key:4""#;
    let place = bytes.windows(id.len()).position(|window| window == id).expect("the fifth record");
    bytes[place + 3] ^= 1;
    std::fs::write(stage.path(), bytes).expect("a writable file");

    let bus = stage.open().await?;
    assert_eq!(read(&bus, partition).await?.len(), 4, "the whole ones before it");
    let error = read_from(&bus, partition, 4).await.expect_err("damaged");
    assert_eq!(error.code(), "Corrupt/Checksum");
    let text = error.to_string();
    assert!(text.contains(&format!("{TOPIC}/{partition}")) && text.contains("offset 4"), "{text}");
    assert!(!text.contains("xxx"), "a payload in an error: {text}");
    assert_eq!(read_from(&bus, partition, 5).await?.len(), 5, "whoever decides so can read on behind it");
    close(&bus).await;
    Ok(())
}

/// Number 85.
#[tokio::test]
async fn a_missing_record_is_damage_and_not_skipped() -> Result<()> {
    let stage = Stage::new();
    let partition = ten_records(&stage).await?;
    for (gone, first_error) in [(4, 4), (9, 9), (0, 0)] {
        stage
            .plain()
            .execute("DELETE FROM records WHERE position & 0xffffffffff = ?1", [gone])
            .expect("a writable file");
        let bus = stage.open().await?;
        let error = read_from(&bus, partition, first_error).await.expect_err("a hole");
        assert_eq!(error.code(), "Corrupt/Store");
        assert!(error.to_string().contains(&format!("offset {gone} is missing")), "{error}");
        close(&bus).await;
    }
    Ok(())
}

/// Number 85.
#[tokio::test]
async fn a_record_past_the_end_refuses_the_publish_definitely() -> Result<()> {
    let stage = Stage::new();
    let partition = ten_records(&stage).await?;
    let ends = "UPDATE partitions SET end_offset = end_offset - 1 WHERE number = ?1";
    stage.plain().execute(ends, [partition]).expect("a writable file");
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(10)).await?;
    let error = orders.publish_sync(envelope("p", "key", 10, 10)).await.expect_err("the place is taken");
    assert_eq!(error.code(), "Corrupt/Store");
    assert!(error.is_definite(), "{error}");
    close(&bus).await;
    let count: i64 =
        stage.plain().query_row("SELECT count(*) FROM records", [], |row| row.get(0)).expect("a file of ours");
    assert_eq!(count, 10);
    Ok(())
}

/// Number 85: the ends of a partition in the wrong order. Nothing counts from them, and the committer outlives it.
#[tokio::test]
async fn a_partition_that_ends_before_it_begins_is_damage() -> Result<()> {
    let stage = Stage::new();
    let partition = Partition(ten_records(&stage).await?);
    for (start, end) in [(20, 10), (0, 1_i64 << 41)] {
        let ends = "UPDATE partitions SET start_offset = ?1, end_offset = ?2 WHERE number = ?3";
        stage.plain().execute(ends, rusqlite::params![start, end, partition.0]).expect("a writable file");
        let bus = stage.open().await?;
        let driver = bus.driver();
        for damaged in [
            driver.bounds(&topic(), partition).await.map(drop),
            driver.lag(&GroupName::new("billing")?, &topic()).await.map(drop),
            driver.trim(&topic(), partition, Offset(3)).await.map(drop),
        ] {
            let error = damaged.expect_err("damage");
            assert_eq!(error.code(), "Corrupt/Store", "{error}");
            assert!(error.to_string().contains(&format!("offset {start} and ends at {end}")), "{error}");
        }
        // The trim has met the damage while writing, after which nothing more is written; and that is told at once.
        let orders = publisher(&bus, Duration::from_secs(10)).await?;
        let error = orders.publish_sync(envelope("p", "key", 11, 10)).await.expect_err("nothing is written");
        assert_eq!((error.code(), error.is_definite()), ("Unavailable/Poisoned".into(), true), "{error}");
        close(&bus).await;
    }
    Ok(())
}

/// Number 85: the head of a partition below what a group has finished.
#[tokio::test]
async fn a_group_that_has_finished_more_than_there_is_is_damage() -> Result<()> {
    let stage = Stage::new();
    let partition = ten_records(&stage).await?;
    let bus = stage.open().await?;
    let (group, all) = (GroupName::new("billing")?, [(Partition(partition), Offset(10))]);
    bus.driver().move_committed(&group, &topic(), &all).await?;
    let beyond = [(Partition(partition), Offset(11))];
    let error = bus.driver().move_committed(&group, &topic(), &beyond).await.expect_err("beyond the end");
    assert_eq!(error.code(), "Invalid/Offset", "nobody makes it so: {error}");
    close(&bus).await;
    let ends = "UPDATE partitions SET end_offset = 7 WHERE number = ?1";
    stage.plain().execute(ends, [partition]).expect("a writable file");

    let bus = stage.open().await?;
    let handler = |_: Delivery| async { Ok(()) };
    let joined = bus.subscribe(TOPIC, "billing").handle(handler).await.expect_err("nothing tells what is missing");
    let looked = bus.driver().lag(&group, &topic()).await.expect_err("the same");
    for error in [joined, looked] {
        assert_eq!(error.code(), "Corrupt/Store");
        let text = error.to_string();
        assert!(text.contains(&format!("{TOPIC}/{partition} up to offset 10, and it ends at 7")), "{text}");
    }
    close(&bus).await;
    Ok(())
}

/// Number 85.
#[tokio::test]
async fn a_topic_without_one_of_its_partitions_opens_no_publisher() -> Result<()> {
    let stage = Stage::new();
    ten_records(&stage).await?;
    stage.plain().execute("DELETE FROM partitions WHERE number = 3", []).expect("a writable file");
    let bus = stage.open().await?;
    let error = publisher(&bus, Duration::from_secs(10)).await.expect_err("damaged");
    assert_eq!(error.code(), "Corrupt/Store");
    assert!(error.to_string().contains("3 partitions of orders where its spec says 4"), "{error}");
    close(&bus).await;
    Ok(())
}

#[tokio::test]
async fn a_partition_never_grows_into_the_next_one() -> Result<()> {
    let mut stage = Stage::new();
    stage.config.batch_records_max = 1_000;
    let partition = ten_records(&stage).await?;
    let last = (1_u64 << 40) - 20;
    let ends = "UPDATE partitions SET start_offset = ?1, end_offset = ?1 WHERE number = ?2";
    let connection = stage.plain();
    connection.execute("DELETE FROM records", []).expect("a writable file");
    connection.execute(ends, (last, partition)).expect("a writable file");
    drop(connection);
    let bus = stage.open().await?;
    // Behind a foreign lock the batches of several publishers come together in one transaction: 8 records each.
    let foreign = stage.plain();
    foreign.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
    let mut publishers = Vec::new();
    for _ in 0..4 {
        publishers.push(publisher(&bus, Duration::from_secs(10)).await?);
    }
    let batch = |place: u64| (0..8).map(|number| envelope("p", "key", place * 8 + number, 10)).collect();
    let release = async {
        while publishers.iter().any(|orders| orders.stats().batches == 0) {
            tokio::task::yield_now().await;
        }
        foreign.execute_batch("COMMIT").expect("the lock is ours");
    };
    let (first, second, third, fourth, ()) = tokio::join!(
        publishers[0].publish_atomic(batch(0)),
        publishers[1].publish_atomic(batch(1)),
        publishers[2].publish_atomic(batch(2)),
        publishers[3].publish_atomic(batch(3)),
        release,
    );
    assert!(first.is_ok() && second.is_ok(), "{first:?}, {second:?}");
    for full in [third, fourth] {
        assert_eq!(full.expect_err("no room").code(), "Unavailable/PartitionFull");
    }
    close(&bus).await;
    let elsewhere: i64 = stage
        .plain()
        .query_row("SELECT count(DISTINCT position >> 40) FROM records", [], |row| row.get(0))
        .expect("a file of ours");
    assert!(elsewhere <= 1, "records stand in {elsewhere} partitions");
    Ok(())
}

#[tokio::test]
async fn records_and_bounds_fit_together_while_others_trim() -> Result<()> {
    let stage = Stage::new();
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(10)).await?;
    let mut partition = 0;
    for number in 0..300 {
        partition = orders.publish_sync(envelope("p", "key", number, 10)).await?.partition.0;
    }
    let trims = async {
        for below in 0..=300 {
            bus.driver().trim(&topic(), Partition(partition), Offset(below)).await.expect("a trim");
        }
    };
    let reads = async {
        for _ in 0..300 {
            let records = read_from(&bus, partition, 0).await.expect("no hole");
            let Some(first) = records.first() else { break };
            assert_eq!(first.offset.0 + records.len() as u64, 300);
        }
    };
    tokio::join!(trims, reads);
    close(&bus).await;
    assert!(dump(&stage.plain(), TOPIC).is_empty());
    Ok(())
}

async fn read_from(bus: &Bus, partition: u32, from: u64) -> Result<Vec<busline_core::Record>> {
    let request = ReadRequest {
        partition: Partition(partition),
        from: Offset(from),
        to: Offset(u64::MAX),
        records_max: 10_000,
        bytes_max: 1 << 30,
    };
    bus.driver().read(&topic(), request).await
}
