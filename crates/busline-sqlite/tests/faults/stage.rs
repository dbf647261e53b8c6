//! A folder with a bus file in it, and the driver over it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use busline_core::{Bus, Partition, Publisher, ReadRequest, Record, Result, TopicName};
use busline_sqlite::{SqliteConfig, SqliteDriver};
use rusqlite::Connection;
use tempfile::TempDir;

/// The one topic of most tests.
pub(crate) const TOPIC: &str = "orders";

/// A folder that goes with the test.
pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) config: SqliteConfig,
}

impl Stage {
    /// No file yet; tiny limits, so that every test crosses them.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let config = SqliteConfig {
            batch_records_max: 16,
            checkpoint_pages: 8,
            ..SqliteConfig::new(folder.path().join("bus.db"))
        };
        Self { folder, config }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.config.path.clone()
    }

    /// A file beside the database, by what is appended to its name.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.config.path.clone().into_os_string();
        path.push(suffix);
        path.into()
    }

    pub(crate) async fn open(&self) -> Result<Bus> {
        Ok(Bus::new(Arc::new(SqliteDriver::open(self.config.clone()).await?)))
    }

    /// A plain connection to the file.
    pub(crate) fn plain(&self) -> Connection {
        Connection::open(&self.config.path).expect("a file")
    }

    /// Names of all files in the folder, in order.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).expect("the folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

pub(crate) async fn publisher(bus: &Bus, deadline: Duration) -> Result<Publisher> {
    bus.publisher(TOPIC).deadline(deadline).on_failure(drop).open().await
}

pub(crate) fn topic() -> TopicName {
    TopicName::new(TOPIC).expect("a legal name")
}

/// Reads one partition as far as it goes.
pub(crate) async fn read(bus: &Bus, partition: u32) -> Result<Vec<Record>> {
    let partition = Partition(partition);
    let bounds = bus.driver().bounds(&topic(), partition).await?;
    let request =
        ReadRequest { partition, from: bounds.start, to: bounds.end, records_max: 10_000, bytes_max: 1 << 30 };
    bus.driver().read(&topic(), request).await
}

pub(crate) async fn close(bus: &Bus) {
    bus.close(Duration::from_secs(5)).await.expect("an orderly end");
}
