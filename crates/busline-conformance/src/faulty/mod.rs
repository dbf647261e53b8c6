//! A driver that passes everything on to another, and on command does to batches what backends do on bad days.
//!
//! ```text
//! publisher ─→ FaultySink: queue ─(held? which fate?)─→ the inner sink
//!                   ↑                                        │
//!  test ─ Faults ───┘        outcomes, mapped by the fate  ←─┘
//! ```
//! It keeps the contract of a sink while it misbehaves: behind a record that is not acked it acks nothing of its key
//! that it had taken by then. A test that finds a broken promise has thus found it in the publisher.

mod control;
mod driver;
mod life;
mod sink;
mod source;

pub use control::{Faults, Shape};
pub use driver::Faulty;
pub(crate) use life::{Moment, Side};
pub(crate) use source::Watch;
