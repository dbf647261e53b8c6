//! The benchmark of Busline: the library behind `busline bench`.
//!
//! It publishes bursts to a bus, reads them by groups, runs the native client beside it on the same rows, and says what both came to. A speed
//! is given only if a dump of the store, read without the code that wrote it, shows all envelopes once and in order.
//!
//! ```text
//! request ─→ run ─→ burst_run ─→ publishing      senders, receipts, latency
//!             │  ↑      ├──────→ consuming       groups, handlers, order at the handlers
//!             │ contender: the buses, run by run in turn
//!             │         ├──────→ measure         memory, processor time, what is left
//!             │         └──────→ dump            what stands in the store
//!             ├───────→ strategy                 the ways of before, by raw clients, in place of the bus's publishers
//!             ├ beside → twin                    the raw client in one loop
//!             └─ result ─→ compare ─→ targets, warnings ─→ report
//!                   ├────→ side_by_side ─→ verdict ──────────┤
//!                   └────→ baseline: what got worse ─────────┘
//! ```
//! Results that were recorded before are [reported again](report_recorded), those of several commands as one.
//!
//! What measuring itself costs is measured too ([`Overhead`]), before the first run.
//!
//! An [open load](open_load) is published at a rate instead, and says which rate holds.
//!
//! It is no load generator for a service: every load comes from one process.

mod allocations;
mod arrivals;
mod at_once;
mod baseline;
mod beside;
mod buckets;
mod burst_run;
mod clearing;
mod compare;
mod connect;
mod consuming;
mod contender;
mod dump;
mod durability;
mod extent;
mod header;
#[cfg(feature = "kafka")]
mod kafka_flush;
mod latency;
mod left_behind;
mod limit;
mod measure;
mod memory_watch;
mod one_line;
mod open_load;
mod overhead;
mod place;
mod progress;
mod publishing;
mod recorded;
mod report;
mod request;
mod request_line;
mod result;
mod result_file;
mod run;
mod run_result;
mod runtime;
#[cfg(feature = "sqlite")]
mod scenario;
mod side_by_side;
mod spans;
mod speed;
mod statistics;
mod strategy;
mod targets;
mod topic_plan;
mod twin;
#[cfg(feature = "sqlite")]
mod two_processes;
mod usage;
mod verdict;
mod warnings;
mod workload;

pub use allocations::CountingAllocator;
pub use baseline::{BaselineReport, Change, Trend, check_baseline};
pub use buckets::Buckets;
pub use compare::{Figure, Summary};
pub use connect::{ByUrl, Connect};
pub use extent::Extent;
pub use header::Header;
pub use latency::Percentiles;
pub use left_behind::{LeftBehind, left_behind};
pub use measure::{Leaked, Machine};
pub use memory_watch::MemorySeries;
pub use open_load::{
    BestRate, OpenReport, OpenRequest, Point, RateResult, Rates, Rise, Rises, open_load, open_load_on,
};
pub use overhead::{Overhead, OverheadShare};
pub use progress::{Progress, Quiet};
pub use recorded::report_recorded;
pub use report::{Bar, check_result_file, write_open_load, write_open_page, write_page, write_table};
#[cfg(feature = "sqlite")]
pub use report::{write_scenarios, write_sharing};
pub use request::BenchRequest;
pub use result::{BenchReport, Histograms, PremadeResult, RunResult, TwinResult};
pub use run::{run, run_on};
#[cfg(feature = "sqlite")]
pub use scenario::{Measure, Scenario, ScenarioReport, ScenarioRequest, ScenarioResult, scenarios};
pub use strategy::Strategy;
pub use targets::{Bound, Target, Verdict};
#[cfg(feature = "sqlite")]
pub use two_processes::{Sharing, TwoProcessesReport, TwoProcessesRequest, publish_process, two_processes};
pub use usage::{ThreadUsage, Usage};
pub use workload::{Level, Mode};
