//! The independent check: what stands in the store after a run, read without the code that wrote it.
//!
//! ```text
//! judge    takes rows in any store's order and says what is missing, doubled or out of order
//! sqlite   gives it the rows of a file by plain SQL
//! driver   gives it the records of every other backend by the driver's own bounded reads
//! ```

mod driver;
mod judge;
#[cfg(feature = "sqlite")]
mod sqlite;

pub(crate) use driver::judge_driver;
pub(crate) use judge::Verdict;
#[cfg(feature = "sqlite")]
pub(crate) use sqlite::{count_records, judge_file};
