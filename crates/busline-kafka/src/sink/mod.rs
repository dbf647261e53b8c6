//! The writing end of a topic.
//!
//! ```text
//! publisher ─→ writer ─(records, explicit partition)─→ client ─→ brokers
//!    ↑            │ table: which record has which outcome      │
//!    └─ settle ───┴───────── keeper's thread: polls ←─ reports ┘
//! ```
//! One client is one *incarnation*. Any failed report ends it: everything it holds is reported first, and only then does
//! the next one send what is certainly not stored, in order.

mod flight;
mod keeper;
#[cfg(test)]
mod mocked;
mod producer;
mod table;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use writer::{KafkaSink, SinkTopic, durability_of};
