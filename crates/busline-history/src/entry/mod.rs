//! The entries of a history: plain data, one JSON object per line.

mod consume;
mod environment;
mod hash;
mod line;
mod nanos;
mod publish;

pub use consume::{Action, Assign, Assignment, Commit, Deliver, Delivered, Delivery, Handler, Progress, StoredAt};
pub use consume::{Revoke, Seek, Settle, Settlement, Sought};
pub use environment::{Crash, Dumped, Fault, FaultEnd, FaultStart, Life, Reached, Sample, Sampled, Target, Tolerance};
pub use environment::{DumpRead, WHOLE_BUS};
pub use hash::ContentHash;
pub use line::{Entry, Op, Process};
pub use publish::{Accept, Accepted, Acked, Batch, BatchCall, BatchEnd, BatchMode, BatchResults, Durability, ItemEnd};
pub use publish::{Medium, NotAcked, Publication, Publish};
