//! The layer over a driver: it spoils sinks, sources and reads.

use std::sync::Arc;

use busline_core::{
    BoxFuture, Driver, Layer, Layered, ReadRequest, Record, Result, Sink, SinkRequest, Source, SourceLayer,
    SourceRequest, TopicName,
};

use super::control::{Control, Faults, Shape};
use super::life::Side;
use super::sink::FaultySink;
use super::source::FaultySource;

/// Spoils what a driver's sinks and sources do, as a test orders by [`Faults`].
///
/// Without orders it is the driver underneath: it passes the whole suite.
pub struct Faulty(Arc<Control>);

impl Faulty {
    /// Wraps `inner`, with the limits of `shape`, and gives the remote control.
    pub fn wrap(inner: Arc<dyn Driver>, shape: Shape) -> (Arc<dyn Driver>, Faults) {
        let (faults, control) = Faults::new(shape);
        (Arc::new(Layered::new(inner, Self(control))), faults)
    }
}

impl Layer for Faulty {
    fn sink<'a>(&'a self, inner: &'a dyn Driver, request: SinkRequest) -> BoxFuture<'a, Result<Arc<dyn Sink>>> {
        Box::pin(async {
            let inner = inner.sink(request).await?;
            let sink: Arc<dyn Sink> = Arc::new(FaultySink::new(inner, Arc::clone(&self.0)));
            Ok(sink)
        })
    }

    fn source<'a>(&'a self, inner: &'a dyn Driver, request: SourceRequest) -> BoxFuture<'a, Result<Arc<dyn Source>>> {
        Box::pin(async {
            let inner = inner.source(request).await?;
            Ok(FaultySource::new(&self.0).over(inner))
        })
    }

    fn read<'a>(
        &'a self,
        inner: &'a dyn Driver,
        topic: &'a TopicName,
        request: ReadRequest,
    ) -> BoxFuture<'a, Result<Vec<Record>>> {
        Box::pin(async move {
            self.0.life.pass_own(topic, "read", Side::Before).await;
            let mut records = inner.read(topic, request).await?;
            self.0.life.pass_own(topic, "read", Side::After).await;
            if !records.is_empty() && self.0.trims_behind(topic) {
                trim_to_last(inner, topic, request).await?;
            }
            self.0.commits.spoil_read(&mut records);
            Ok(records)
        })
    }
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faulty").finish_non_exhaustive()
    }
}

/// Trims the partition of this request to its last record.
async fn trim_to_last(inner: &dyn Driver, topic: &TopicName, request: ReadRequest) -> Result<()> {
    let (mut from, mut last) = (request.from, None);
    loop {
        let page = inner.read(topic, ReadRequest { from, ..request }).await?;
        let Some(newest) = page.last().map(|record| record.offset) else { break };
        (from, last) = (newest.next(), Some(newest));
    }
    if let Some(last) = last {
        inner.trim(topic, request.partition, last).await?;
    }
    Ok(())
}
