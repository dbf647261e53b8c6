//! The SQLite driver keeps the promises.

use std::sync::Arc;

use busline_conformance::{Harness, Interruption};
use busline_core::{Driver, Result};
use busline_sqlite::{SqliteConfig, SqliteDriver};
use rusqlite::Connection;
use tempfile::TempDir;

/// A file of its own for each case. Its interruption is a foreign program that keeps the file locked.
struct File {
    folder: TempDir,
}

impl File {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder for temporary files") }
    }

    fn config(&self) -> SqliteConfig {
        SqliteConfig::new(self.folder.path().join("bus.db"))
    }
}

impl Harness for File {
    async fn connect(&self) -> Result<Arc<dyn Driver>> {
        Ok(Arc::new(SqliteDriver::open(self.config()).await?))
    }

    async fn interrupt(&self) -> Option<Interruption> {
        let foreign = Connection::open(self.config().path).expect("a file");
        foreign.busy_timeout(std::time::Duration::from_secs(10)).expect("a timeout");
        foreign.execute_batch("BEGIN IMMEDIATE").expect("the lock is free now and then");
        let heal = move || foreign.execute_batch("COMMIT").expect("the lock is ours");
        Some(Interruption { what: "a foreign program keeps the file locked", heal: Box::new(heal) })
    }
}

busline_conformance::conformance!(File::new());
