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
    while bus.driver().probe().await.is_ok() {
        let left: i64 = stage
            .plain()
            .query_row("SELECT (SELECT count(*) FROM records) + (SELECT count(*) FROM dropped)", [], |row| row.get(0))
            .expect("a file of ours");
        if left == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    close(&bus).await;
    let after = std::fs::metadata(stage.path()).map_or(0, |file| file.len());
    assert!(after < empty + 64 * 8_192, "{empty} bytes when empty, {after} after the topic was deleted");
    Ok(())
}
