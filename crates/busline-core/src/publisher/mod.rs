//! The publishing engine: from an envelope to its outcome, with no task, timer, channel or lock per message.
//!
//! ```text
//!  publish ─ validate, encode ─ window ─→ Line: open batches ─→ Sink (its thread)
//!                                          │   in flight      ←─ settle(outcomes)
//!  Receipt ←─ Cell of the batch ←──────────┘
//!                                          └─→ Keeper: deadlines, failure handler
//! ```

mod batches;
mod broken;
mod builder;
mod cell;
mod encoded;
mod feeding;
mod keeper;
mod line;
mod process;
mod publish;
mod receipt;
mod room;
mod settings;
mod stats;

pub(crate) use publish::Inner as PublisherCore;

pub use builder::PublisherBuilder;
pub use keeper::{Failure, FailureHandler};
pub use publish::{BATCH_ITEMS_MAX, Closed, Publisher, TryPublishError};
pub use receipt::Receipt;
pub use settings::PublisherSettings;
pub use stats::PublisherStats;
