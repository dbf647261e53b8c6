//! A run and everything the judges look up in it, gathered in one pass.

mod courses;
mod faults;
mod index;
mod movements;
mod processes;
mod publishes;
mod redelivery;
mod stored;

pub use index::Run;

pub(crate) use courses::{Course, Ending, Running, Settled};
pub(crate) use faults::FaultSpan;
pub(crate) use index::nanos;
pub(crate) use movements::{CommitEnd, Share};
pub(crate) use processes::Closing;
pub(crate) use publishes::{Call, Line, State};
pub(crate) use redelivery::redeliveries;
