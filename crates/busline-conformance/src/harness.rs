//! What a driver's tests give the suite.

use std::sync::Arc;

use busline_core::{Driver, Result};

/// One place where a backend keeps its topics, fresh for each case.
///
/// The suite makes a harness for each case, connects once or several times, closes what it connected, and drops the
/// harness. A broker that all cases share is fine: topics have names of their own.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use busline_conformance::{Harness, Interruption};
/// use busline_core::{Driver, MemoryDriver, Result};
///
/// struct Memory;
///
/// impl Harness for Memory {
///     async fn connect(&self) -> Result<Arc<dyn Driver>> {
///         Ok(Arc::new(MemoryDriver::new()))
///     }
///
///     async fn interrupt(&self) -> Option<Interruption> {
///         None
///     }
/// }
/// ```
pub trait Harness: Send + Sync {
    /// Opens the backend. Where it is persistent, a later call finds what an earlier one stored.
    fn connect(&self) -> impl Future<Output = Result<Arc<dyn Driver>>> + Send;

    /// Takes the backend away from everybody until it is healed, if this harness can: a broker is stopped, a file is
    /// locked by a foreign program. The suite heals within 2 s.
    fn interrupt(&self) -> impl Future<Output = Option<Interruption>> + Send;
}

/// A backend that does not answer at the moment.
pub struct Interruption {
    /// What was done, in words.
    pub what: &'static str,
    /// Gives the backend back.
    pub heal: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Interruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interruption").field("what", &self.what).finish_non_exhaustive()
    }
}
