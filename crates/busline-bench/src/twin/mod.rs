//! Native twins: the raw client in one loop, storing the same rows.

#[cfg(feature = "sqlite")]
mod murmur2;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "sqlite")]
pub(crate) use sqlite::{Bodies, run};
