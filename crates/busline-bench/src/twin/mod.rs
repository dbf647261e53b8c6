//! Native twins: the raw client in one loop, storing and reading the same rows.

#[cfg(any(feature = "sqlite", feature = "nats"))]
mod came_to;
#[cfg(any(feature = "sqlite", feature = "nats"))]
mod murmur2;
#[cfg(feature = "nats")]
pub(crate) mod nats;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod sqlite_read;

#[cfg(any(feature = "sqlite", feature = "nats"))]
pub(crate) use came_to::{Bodies, TwinRun};
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::run;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite_read::{TwinRead, read};
