//! The promises of Busline as tests that every driver runs.

mod cases;
pub mod consume_close;
pub mod consume_deaths;
pub mod consume_handlers;
mod consume_judged;
pub mod consume_order;
pub mod consume_parking;
pub mod consume_positions;
pub mod consume_progress;
pub mod consume_replay;
mod consume_stage;
mod envelopes;
mod failures;
mod fault_run;
mod faulty;
mod harness;
pub mod health;
mod judged;
pub mod meaning;
mod member_process;
mod members;
pub mod publish_batch;
pub mod publish_cancel;
pub mod publish_close;
pub mod publish_duplicates;
pub mod publish_durability;
pub mod publish_order;
pub mod publish_outcome;
pub mod publish_window;
mod residue;
pub mod retention;
mod seed;
mod stage;
mod stepping;
mod stored;
mod told;
pub mod topics;

#[doc(hidden)]
pub use cases::{run_case, run_case_alone};
pub use fault_run::{FaultRun, fault_records, fault_rounds};
pub use faulty::{Faults, Faulty, Shape};
pub use harness::{Harness, Interruption};
pub use member_process::MemberProcess;
#[doc(hidden)]
pub use member_process::be_a_member;
pub use members::Meeting;
#[doc(hidden)]
pub use members::{a_frozen_member_joins_again, a_killed_member_is_followed, run_members};
pub use seed::seed;
pub use told::assert_told;
