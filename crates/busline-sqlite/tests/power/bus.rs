//! A bus whose file lies on a simulated disk.

use std::sync::Arc;
use std::time::Duration;

use busline_core::{Bus, Offset, Partition, Publisher, ReadRequest, Result, TopicName};
use busline_sqlite::{SqliteConfig, SqliteDriver};
use rusqlite::{Connection, OpenFlags};

use super::vfs::PowerDisk;
use crate::ledger::Row;

/// The one topic of these tests.
pub(crate) const TOPIC: &str = "orders";

const PATH: &str = "/bus/log.db";

/// Tiny limits, so that every test crosses them; and no look at retention in between, whose syncs would take the place of
/// those that are to fail.
pub(crate) fn config(disk: &PowerDisk) -> SqliteConfig {
    SqliteConfig {
        batch_records_max: 6,
        checkpoint_pages: 4,
        vfs: Some(disk.vfs_name().into()),
        patience: Duration::from_secs(1),
        retention_interval: Duration::from_secs(3_600),
        ..SqliteConfig::new(PATH)
    }
}

/// Opens the file with the driver.
pub(crate) async fn open(disk: &PowerDisk) -> Result<Bus> {
    Ok(Bus::new(Arc::new(SqliteDriver::open(config(disk)).await?)))
}

/// Opens a publisher, and makes its topic.
pub(crate) async fn publisher(bus: &Bus) -> Result<Publisher> {
    bus.publisher(TOPIC).deadline(Duration::from_secs(5)).on_failure(drop).open().await
}

/// Waits until the committer has nothing left to do, its checkpoint among it.
pub(crate) async fn idle(bus: &Bus) -> Result<()> {
    let topic = TopicName::new(TOPIC)?;
    let info = bus.driver().topic(&topic).await?;
    bus.driver().update_topic(&topic, &info.spec).await.map(drop)
}

/// Closes a bus whose disk may be gone.
pub(crate) async fn close(bus: &Bus) {
    // What could not be ended is dead with the disk.
    drop(bus.close(Duration::from_secs(1)).await);
}

/// A plain connection to the file.
pub(crate) fn plain(disk: &PowerDisk) -> Connection {
    Connection::open_with_flags_and_vfs(PATH, OpenFlags::SQLITE_OPEN_READ_WRITE, disk.vfs_name()).expect("a file")
}

/// Reads the whole topic through the driver.
pub(crate) async fn read_all(bus: &Bus) -> Result<Vec<Row>> {
    let topic = TopicName::new(TOPIC)?;
    let info = bus.driver().topic(&topic).await?;
    let mut rows = Vec::new();
    for partition in (0..info.spec.partitions).map(Partition) {
        let bounds = bus.driver().bounds(&topic, partition).await?;
        let request =
            ReadRequest { partition, from: bounds.start, to: bounds.end, records_max: 1_000_000, bytes_max: 1 << 30 };
        let records = bus.driver().read(&topic, request).await?;
        assert_eq!(records.len() as u64, bounds.end.0 - bounds.start.0);
        for record in records {
            let envelope = record.envelope(&topic)?;
            let Offset(offset) = record.offset;
            rows.push(Row { partition: partition.0, offset, key: envelope.aggregate_id, id: envelope.id });
        }
    }
    Ok(rows)
}
