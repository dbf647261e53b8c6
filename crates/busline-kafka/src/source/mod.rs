//! The reading end: one member of a group.
//!
//! A thread of the member's own polls the client: the group's changes from one queue, records from a queue for each
//! partition, which is left alone while enough is read ahead. So the member answers its group however slow handlers are,
//! and handlers that block every thread of the runtime cannot stop it.

mod agreement;
mod ahead;
mod bell;
mod commits;
mod consumer;
mod member;
mod piece;
mod places;
mod poller;
mod start;

pub(crate) use member::KafkaSource;
