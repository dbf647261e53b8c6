//! `busline sub --group`: one member of a group, which prints each event, or runs a program for it.
//!
//! ```text
//!  workers: handle ─ line ─→ Member::run (the command's thread) ─→ stdout, flushed
//!              ↑                    │
//!              └───── written ──────┘  only then is the event handled, and its progress may be committed
//! ```
//! A slow reader of stdout makes handlers wait, and blocks no thread of the runtime.

mod handler;
mod lines;
mod member;
mod request;

pub(crate) use member::LINES_MAX;
pub(crate) use request::{CLOSE_EXTRA, READER_WAIT_MAX, Request, run};
