//! The embedded log at work, seen through plain SQLite.

use std::sync::Arc;
use std::time::Duration;

use busline_core::{Bus, Durability, Envelope, Medium, Offset};
use busline_sqlite::{SqliteConfig, SqliteDriver};
use rusqlite::Connection;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acked_stands_in_the_file_in_order() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bus.db");
    let bus = Bus::new(Arc::new(SqliteDriver::open(SqliteConfig::new(&path)).await?));
    let orders = bus.publisher("orders").open().await?;
    let mut receipts = Vec::new();
    for version in 1..=10_000 {
        receipts.push(orders.publish(Envelope::new(format!("order-{}", version % 7), "Placed", version)).await?);
    }
    for receipt in receipts {
        assert_eq!(receipt.await?.durability, Durability::one(Medium::Synced));
    }
    let again = orders.publish_sync(Envelope::new("order-1", "Placed", 10_001)).await?;
    assert!(again.offset > Some(Offset(0)));
    bus.close(Duration::from_secs(5)).await?;

    let dump = Connection::open(&path)?;
    let count: i64 = dump.query_row("SELECT count(*) FROM records", [], |row| row.get(0))?;
    assert_eq!(count, 10_001);
    let left: Vec<String> = std::fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, std::io::Error>>()?;
    assert!(left.iter().all(|name| name.starts_with("bus.db")), "{left:?}");
    assert!(!left.contains(&"bus.db.lock".into()), "{left:?}");
    Ok(())
}
