//! How envelopes are published: the bus as it is, and the ways of before that it is compared with.
//!
//! ```text
//! variant   what differs between two runs of one bus: strategy, headers, streams
//! opened    publishes a burst: by the bus's publishers, or raw
//! raw       the native client, with what waits for each ack
//! client    nats or kafka
//! ```

#[cfg(any(feature = "nats", feature = "kafka"))]
mod client;
#[cfg(feature = "kafka")]
mod kafka;
mod name;
#[cfg(feature = "nats")]
mod nats;
mod opened;
#[cfg(any(feature = "nats", feature = "kafka"))]
mod raw;
mod variant;

pub use name::Strategy;
pub(crate) use opened::Opened;
pub(crate) use variant::{Variant, variants};
