//! Native twins: the raw client in one loop, storing and reading the same rows.

#[cfg(feature = "sqlite")]
mod murmur2;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod sqlite_read;

#[cfg(feature = "sqlite")]
pub(crate) use sqlite::{Bodies, run};
#[cfg(feature = "sqlite")]
pub(crate) use sqlite_read::{TwinRead, read};
