//! The embedded driver of Busline: a durable log in one SQLite file, for any number of processes.
//!
//! Every write of a process goes through one committer thread, which turns what has come together meanwhile into one
//! transaction and one sync (group commit); an outcome is given after `COMMIT` has returned, never before. Readers have
//! connections of their own. Nothing here runs on an async worker thread.
//!
//! ```text
//!  publishers ─ batches ─→ queue ─→ committer ─ turnstile ─ BEGIN IMMEDIATE … COMMIT ─→ file + -wal
//!       ↑                              │                                                  ↑
//!       └───────── outcomes ───────────┘            readers (a thread of the pool) ───────┘
//! ```
//! Beside the database and SQLite's own `-wal` and `-shm` there is one more file while the bus is open:
//! `<file>.lock`, the turnstile that makes several publishing processes take turns.
//!
//! Not for network file systems, and not a server: it scales to one machine.

mod committer;
mod config;
mod connection;
mod driver;
mod error;
mod file_system;
mod fill;
mod group;
mod groups;
mod held;
mod identity;
mod inbox;
mod queue;
mod readers;
mod records;
mod recovery;
mod retention;
mod schema;
mod sink;
mod source;
mod topics;
mod turnstile;
mod upkeep;
mod wake;

pub use config::SqliteConfig;
pub use driver::SqliteDriver;
pub use inbox::Inbox;
/// The client that [`Inbox`] takes transactions of.
pub use rusqlite;
pub use schema::{APPLICATION_ID, SCHEMA_VERSION};
