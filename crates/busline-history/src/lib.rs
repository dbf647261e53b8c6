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
//!
//! # Judging
//! [`History::read`] merges the files of one machine by its monotonic clock; files of different machines cannot be
//! judged together. [`Run::new`] looks everything up once, [`Report::of`] asks every judge of [`JUDGES`]. What is unknown
//! is never an accusation: without a dump of a topic nothing is lost in it, without a drain nothing is late, and where
//! the order of two entries may be that of the writing threads, [`Plan::report_lag`] is granted.
//!
//! Cross-tenant reads (A22) have no judge: a tenant is an attribute of the envelope and nothing separates by it, so
//! there is no rule to break. A half-stored atomic batch has no number in the list of anomalies and goes by its promise,
//! P6.
//!
//! # Examples
//! ```
//! use std::time::Duration;
//! use busline_history::{
//!     Acked, ContentHash, Dump, Durability, History, Medium, Plan, Publication, Recorder, Report, Row, Run,
//!     Verdict,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("publisher.ndjson");
//! // In the publishing process: one file, and an actor for each sender.
//! let recorder = Recorder::create(&file, 0)?.actor("sender-1");
//! let written = Durability { medium: Medium::Written, copies: 1 };
//! let hash = ContentHash::of(b"p1:order-42:1", []);
//! recorder.publish_invoke(Publication {
//!     id: "e1".into(),
//!     topic: "orders".into(),
//!     key: "order-42".into(),
//!     publisher: "p1".into(),
//!     kseq: 1,
//!     size: 13,
//!     hash,
//!     durability: written,
//!     deadline: Duration::from_secs(30),
//! })?;
//! // … publish here …
//! recorder.accept("e1")?;
//! recorder.publish_ok(Acked {
//!     id: "e1".into(),
//!     partition: 0,
//!     offset: Some(0),
//!     duplicate: false,
//!     durability: written,
//! })?;
//!
//! // After the run: the files, what another client found, and what was planned.
//! let history = History::read([&file])?;
//! let dump = Dump::of(["orders"], Vec::<Row>::new());
//! let plan = Plan { acked_min: 1, effective_faults_min: 0, ..Plan::default() };
//! let report = Report::of(&Run::new(&history, &dump, &plan));
//!
//! assert_eq!(report.verdict, Verdict::Red);
//! assert_eq!(
//!     report.violations[0].to_string(),
//!     "A2 lost at broker: e1 (key order-42) was acked written x 1 at orders/0@0 and is not in the dump",
//! );
//! # Ok(())
//! # }
//! ```

mod dump;
mod entry;
mod history;
mod judges;
mod plan;
mod position;
mod reader;
mod recorder;
mod report;
mod run;
mod summary;
mod violation;

pub use dump::{Content, Dump, ParkedRow, Row};
pub use entry::{
    Accept, Accepted, Acked, Action, Assign, Assignment, Batch, BatchCall, BatchEnd, BatchMode, BatchResults, Commit,
    ContentHash, Crash, Deliver, Delivered, Delivery, DumpRead, Dumped, Durability, Entry, Fault, FaultEnd, FaultStart,
    Handler, ItemEnd, Life, Medium, NotAcked, Op, Process, Progress, Publication, Publish, Reached, Revoke, Sample,
    Sampled, Seek, Settle, Settlement, Sought, StoredAt, Target, Tolerance, WHOLE_BUS,
};
pub use history::History;
pub use judges::{JUDGES, Judge, judge};
pub use plan::{Deduplication, Effects, Gaps, GroupPlan, Order, Parked, Plan};
pub use reader::{ReadError, read_file};
pub use recorder::Recorder;
pub use report::{Report, Verdict};
pub use run::Run;
pub use summary::{FaultCount, Summary};
pub use violation::{Anomaly, Severity, Violation};
