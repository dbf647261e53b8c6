//! What happened in a run of an event bus, and the judges of it.
//!
//! A test of a bus under faults ends with a question: was anything lost, doubled, reordered or promised falsely? This
//! crate answers it from what was *recorded*. While a run goes on, each of its processes writes a **history**: what it
//! called and how that ended, what it was handed and what became of it, which faults were made. Afterwards another
//! client reads the topics: the **dump**. The **judges** are pure functions that compare the two with the promises.
//!
//! It is not a test harness: it starts nothing, kills nothing and reads no store. It is not part of the bus and links
//! nothing of it, so that a mistake of the bus cannot hide in the judgement.
//!
//! ```text
//! publisher process ─ Recorder ─ file ─┐
//! consumer process  ─ Recorder ─ file ─┼─ History ─┐
//! harness, faults   ─ Recorder ─ file ─┘           │
//! another client reads the topics ──────── Dump ───┼─ Run ── judges ── Report: numbers, violations, verdict
//! what the run was meant to be ─────────── Plan ───┘
//! ```
//!
//! # Recording
//! A [`Recorder`] writes one JSON object per line, each by one `write` and nothing buffered: SIGKILL takes at most the
//! line being written. The invoke of a call is written before it, the end after it. [`Op`] is the list of entries.

mod dump;
mod entry;
mod history;
mod reader;
mod recorder;

pub use dump::{Content, Dump, ParkedRow, Row};
pub use entry::{
    Accept, Accepted, Acked, Action, Assign, Assignment, Batch, BatchCall, BatchEnd, BatchMode, BatchResults, Commit,
    ContentHash, Crash, Deliver, Delivered, Delivery, DumpRead, Dumped, Durability, Entry, Fault, FaultEnd, FaultStart,
    Handler, ItemEnd, Life, Medium, NotAcked, Op, Process, Progress, Publication, Publish, Reached, Revoke, Sample,
    Sampled, Seek, Settle, Settlement, Sought, StoredAt, Target, Tolerance, WHOLE_BUS,
};
pub use history::History;
pub use reader::{ReadError, read_file};
pub use recorder::Recorder;
