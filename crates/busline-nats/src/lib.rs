//! The NATS JetStream driver of Busline.
//!
//! A topic is a stream (or several), a partition is a subject. Administration goes over the client library's connection;
//! each sink and each reader owns a link of its own, so that nothing of a broken connection is ever sent behind its back.
//!
//! ```text
//!  admin ──── client library ─┐
//!  sinks ──── link, link, … ──┼──→ nats-server 2.12 or later, JetStream
//!  reads ──── link ───────────┘
//! ```
//! Not a NATS client for general use, and not for servers before 2.11.

mod admin;
mod auth;
mod bucket;
mod client;
mod config;
mod cursor;
mod deleted;
mod deletions;
mod denial;
mod dialer;
mod driver;
mod error;
mod groups;
mod held;
mod home;
mod keeper;
mod keys;
mod leases;
mod link;
mod making;
mod member;
mod monitoring;
mod names;
mod offsets;
mod protocol;
mod reader;
mod records;
mod reply;
mod secret;
mod server;
mod shadow;
mod share;
mod sink;
mod source;
mod standing;
mod tls;
mod topics;

pub use config::{Credentials, NatsConfig, SERVERS_MAX, ServerAddress, Strategy, TlsConfig};
pub use driver::NatsDriver;
pub use secret::{Secret, SecretSource};
