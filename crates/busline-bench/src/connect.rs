//! How a run gets its bus: by the URL, or behind a driver that the caller puts in front.

use std::fmt;
use std::time::Duration;

use busline::{BoxFuture, Bus};

/// Longest wait for the bus of a run to close.
pub(crate) const CLOSE_MAX: Duration = Duration::from_secs(60);

/// Who opens the bus of a URL.
pub trait Connect: Send + Sync + fmt::Debug {
    /// Opens it; called anew for each run.
    ///
    /// # Errors
    /// Those of [`busline::connect`].
    fn connect<'a>(&'a self, url: &'a str) -> BoxFuture<'a, busline::Result<Bus>>;
}

/// The bus itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByUrl;

impl Connect for ByUrl {
    fn connect<'a>(&'a self, url: &'a str) -> BoxFuture<'a, busline::Result<Bus>> {
        Box::pin(busline::connect(url))
    }
}
