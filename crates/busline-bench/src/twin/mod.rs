//! Native twins: the raw client in one loop, storing and reading the same rows.

mod came_to;
#[cfg(feature = "kafka")]
pub(crate) mod kafka;
#[cfg(feature = "kafka")]
mod kafka_read;
#[cfg(any(feature = "nats", feature = "kafka"))]
mod made;
#[cfg(any(feature = "sqlite", feature = "nats", feature = "kafka"))]
mod murmur2;
#[cfg(feature = "nats")]
pub(crate) mod nats;
#[cfg(feature = "nats")]
mod nats_read;
#[cfg(any(feature = "nats", feature = "kafka"))]
mod on_server;
mod reading;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod sqlite_read;

pub(crate) use came_to::TwinRead;
#[cfg(any(feature = "sqlite", feature = "nats", feature = "kafka"))]
pub(crate) use came_to::{Bodies, TwinRun};
#[cfg(any(feature = "nats", feature = "kafka"))]
pub(crate) use made::{Made, Maker};
pub(crate) use reading::read;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::run;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite_read::read as read_file;
