//! Builds that were slowed on purpose.

use std::sync::Arc;
use std::time::Duration;

use busline::{Batch, BoxFuture, Bus, Driver, Error, Result, Sink, SinkOffer, SqliteConfig, SqliteDriver};
use busline_bench::Connect;

use super::wrapped::Wrap;

/// How a build is slower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slowed {
    /// Not at all.
    Not,
    /// It waits before each batch.
    Waits,
    /// It has lost its batching.
    OneByOne,
}

/// Opens SQLite files behind it.
#[derive(Debug)]
pub(crate) struct SlowedBuses(pub(crate) Slowed);

impl Connect for SlowedBuses {
    fn connect<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Bus>> {
        Box::pin(async {
            let path = url.strip_prefix("sqlite:").expect("a temporary file");
            let inner: Arc<dyn Driver> = Arc::new(SqliteDriver::open(SqliteConfig::new(path)).await?);
            Ok(self.0.bus(inner))
        })
    }
}

impl Wrap for Slowed {
    fn sink(&self, inner: Arc<dyn Sink>) -> Arc<dyn Sink> {
        Arc::new(SlowedSink { inner, slowed: *self })
    }
}

#[derive(Debug)]
struct SlowedSink {
    inner: Arc<dyn Sink>,
    slowed: Slowed,
}

/// Several times what the whole burst takes otherwise, so that a busy machine cannot hide it.
const WAIT: Duration = Duration::from_millis(150);

impl Sink for SlowedSink {
    fn offer(&self) -> SinkOffer {
        let offer = self.inner.offer();
        let batch_records_max = if self.slowed == Slowed::OneByOne { 1 } else { offer.batch_records_max };
        SinkOffer { batch_records_max, ..offer }
    }

    fn publish(&self, batch: Batch) {
        #[expect(clippy::disallowed_methods, reason = "a build that is slower for no good reason")]
        if self.slowed == Slowed::Waits {
            std::thread::sleep(WAIT);
        }
        self.inner.publish(batch);
    }

    fn trouble(&self) -> Option<Error> {
        self.inner.trouble()
    }

    fn close(&self, deadline: tokio::time::Instant) -> BoxFuture<'_, Result<()>> {
        self.inner.close(deadline)
    }
}
