//! What the broken buses of these tests put in front of a driver: everything goes straight through but sinks, sources and
//! reads.

use std::fmt;
use std::sync::Arc;

use busline::{
    BoxFuture, Bus, Driver, Layer, Layered, ReadRequest, Record, Result, Sink, SinkRequest, Source, SourceRequest,
    TopicName,
};

/// What a wrapper does to what passes; nothing where it does not say.
pub(crate) trait Wrap: Send + Sync + fmt::Debug + Sized + 'static {
    /// Puts something in front of a sink.
    fn sink(&self, inner: Arc<dyn Sink>) -> Arc<dyn Sink> {
        inner
    }

    /// Puts something in front of a source.
    fn source(&self, inner: Arc<dyn Source>) -> Arc<dyn Source> {
        inner
    }

    /// Changes what was read without a group.
    fn read(&self, _records: &mut Vec<Record>) {}

    /// A bus over this driver, behind it.
    fn bus(self, inner: Arc<dyn Driver>) -> Bus {
        Bus::new(Arc::new(Layered::new(inner, Wrapped(self))))
    }
}

/// A wrapper as a layer.
#[derive(Debug)]
struct Wrapped<W>(W);

impl<W: Wrap> Layer for Wrapped<W> {
    fn sink<'a>(&'a self, inner: &'a dyn Driver, request: SinkRequest) -> BoxFuture<'a, Result<Arc<dyn Sink>>> {
        Box::pin(async { Ok(self.0.sink(inner.sink(request).await?)) })
    }

    fn source<'a>(&'a self, inner: &'a dyn Driver, request: SourceRequest) -> BoxFuture<'a, Result<Arc<dyn Source>>> {
        Box::pin(async { Ok(self.0.source(inner.source(request).await?)) })
    }

    fn read<'a>(
        &'a self,
        inner: &'a dyn Driver,
        topic: &'a TopicName,
        request: ReadRequest,
    ) -> BoxFuture<'a, Result<Vec<Record>>> {
        Box::pin(async move {
            let mut records = inner.read(topic, request).await?;
            self.0.read(&mut records);
            Ok(records)
        })
    }
}
