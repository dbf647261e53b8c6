//! What is measured besides the levels: consuming under one condition each.
//!
//! ```text
//! consume       a store read again and again, each time beside the twin
//! sleep         handlers that sleep 1 ms on 64 keys
//! wake          what another process publishes reaches an idle subscription
//! failing_keys  the healthy keys while 1 % of the keys are tried again and again
//! slow          memory while handlers are slower than the store
//! ```

mod consume;
mod failing_keys;
mod outcome;
mod sleep;
mod slow;
mod stage;
mod steps;
mod wake;

pub use outcome::{Measure, Scenario, ScenarioReport, ScenarioRequest, ScenarioResult, scenarios};
pub(crate) use wake::publish_events;
