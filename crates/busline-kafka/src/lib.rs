//! Busline driver for Apache Kafka, through librdkafka.
//!
//! It keeps the bus's promises on Kafka 4 brokers: no hole and no change of order within a key, an outcome for every
//! envelope that says what is really stored, and groups whose members hand partitions over only after their handlers have
//! ended. It is not a client for everything that Kafka can do.
//!
//! ```text
//! KafkaDriver ─ clients ── topics           (one admin client, calls on threads that may block)
//!      │            ├───── readers          (a few consumers without a group)
//!      │            └───── groups           (one client for questions to their coordinators)
//!      ├─ sink: writer ─ table ─ keeper's thread ─ one producing client at a time
//!      └─ source: member's thread ─ one consuming client in a group of (topic, group)
//! ```
//! The build compiles the C library; the feature `tls` adds TLS and SCRAM and needs OpenSSL's headers.

mod broker;
mod clients;
mod config;
mod coordinators;
mod deletion;
mod driver;
mod error;
mod facts;
mod groups;
mod identity;
mod native;
mod properties;
mod readers;
mod records;
mod sink;
mod source;
mod topics;

pub use config::{GroupProtocol, KafkaConfig, Secret};
pub use driver::KafkaDriver;
