//! The few calls of the C library that its Rust wrapper lacks, each behind a safe function.
//!
//! They are the status of a reported message, messages and reports by the batch in both directions, topic ids, groups as
//! KIP-848 lists and describes them, offsets of groups without members, commits whose end is told, settings that were refused,
//! and why a client is not let in.

mod ask;
mod commit;
mod configs;
mod denied;
mod events;
mod fetched;
mod groups;
mod partition;
mod produce;
mod status;
mod topics;

pub(crate) use ask::{Ask, Native};
pub(crate) use commit::{commit, committed};
pub(crate) use configs::{Resource, Setting, describe_configs};
pub(crate) use denied::denied;
pub(crate) use events::{Event, Events, Reported};
pub(crate) use fetched::Fetched;
pub(crate) use groups::{GroupMember, alter_offsets, delete, group_names, members, offsets};
pub(crate) use partition::PartitionQueue;
pub(crate) use produce::{Message, Target};
pub(crate) use status::{Stored, stored};
pub(crate) use topics::{Described, ask_topics, describe_topics, described};
