//! The promises of Busline as tests that every driver runs.

mod cases;
mod envelopes;
mod failures;
mod faulty;
mod harness;
mod judged;
pub mod publish_order;
mod residue;
mod stage;
mod stepping;
mod stored;

#[doc(hidden)]
pub use cases::{run_case, run_case_alone};
pub use faulty::{Faults, Faulty, Shape};
pub use harness::{Harness, Interruption};
