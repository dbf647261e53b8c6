//! The writing end of a topic.

use std::sync::Arc;

use busline_core::{Error, ErrorKind, Result, Sink, SinkRequest};

use crate::admin::Admin;
use crate::config::Strategy;
use crate::dialer::Dialer;
use crate::server::Server;

/// Most records of one atomic batch, a limit of the server.
pub(crate) const ATOMIC_RECORDS_MAX: usize = 1_000;

/// Opens the sink that fits the request and the server.
///
/// # Errors
/// `Unsupported/Publish`.
#[expect(clippy::unused_async, reason = "opening a sink connects once there is one")]
pub(crate) async fn open(
    _admin: &Admin,
    _dialer: &Arc<Dialer>,
    _server: &Server,
    _strategy: Strategy,
    request: SinkRequest,
) -> Result<Arc<dyn Sink>> {
    Err(Error::new(ErrorKind::Unsupported, "Publish")
        .cause("this version reads only")
        .next("publish with another backend")
        .at("open a sink", request.topic.name))
}
