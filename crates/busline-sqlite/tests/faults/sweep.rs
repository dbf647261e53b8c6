//! What a deleted topic leaves is deleted bit by bit, and the file becomes shorter.

use std::time::Duration;

use busline_core::Result;

use crate::ledger::envelope;
use crate::stage::{Stage, close, publisher, topic};

#[tokio::test]
async fn the_file_of_a_deleted_topic_becomes_shorter() -> Result<()> {
    let stage = Stage::new();
    let bus = stage.open().await?;
    let orders = publisher(&bus, Duration::from_secs(10)).await?;
    let empty = std::fs::metadata(stage.path()).map_or(0, |file| file.len());
    let mut receipts = Vec::new();
    for number in 0..400 {
        receipts.push(orders.publish(envelope("p", &format!("key-{}", number % 9), number, 4_000)).await?);
    }
    for receipt in receipts {
        receipt.await?;
    }
    bus.driver().delete_topic(&topic()).await?;
    let length = || std::fs::metadata(stage.path()).map_or(0, |file| file.len());
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while length() >= empty + 64 * 8_192 {
        let left = || -> i64 {
            let sql = "SELECT (SELECT count(*) FROM records) + (SELECT count(*) FROM dropped)";
            stage.plain().query_row(sql, [], |row| row.get(0)).expect("a file of ours")
        };
        let now = std::time::Instant::now();
        assert!(now < end, "{empty} bytes when empty, {} after the topic was deleted; {} rows", length(), left());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    close(&bus).await;
    Ok(())
}
