//! The file of an earlier benchmark.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::measure::Machine;
use crate::result_file;
use crate::workload::{Level, Mode};

/// An earlier benchmark, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Earlier {
    pub(crate) machine: Machine,
    pub(crate) results: Vec<EarlierRun>,
}

/// One of its runs. Fields that are not compared are not read, so files of older versions stay legible.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct EarlierRun {
    pub(crate) bus: String,
    pub(crate) strategy: String,
    pub(crate) level: Level,
    pub(crate) mode: Mode,
    pub(crate) envelopes: u64,
    pub(crate) payload_bytes: usize,
    pub(crate) topics: usize,
    pub(crate) senders: usize,
    pub(crate) window_envelopes: usize,
    pub(crate) durability: String,
    pub(crate) transactions: Option<u64>,
    pub(crate) twin: Option<EarlierTwin>,
}

/// Its ratios to the twin beside it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct EarlierTwin {
    pub(crate) ratio_acked: Option<f64>,
    pub(crate) ratio_cpu: Option<f64>,
    pub(crate) ratio_p50: Option<f64>,
    pub(crate) ratio_consumed: Option<f64>,
    pub(crate) ratio_consume_cpu: Option<f64>,
}

/// Whether this file can be a baseline of this program.
///
/// # Errors
/// A file that cannot be read, is of another schema, holds no runs, or is of another kind of build.
pub fn check_baseline(file: &Path) -> Result<()> {
    Earlier::read(file).map(drop)
}

impl Earlier {
    /// # Errors
    /// A file that cannot be read, is of another schema, holds no runs, or is of a debug build while this one is not.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let name = file.display();
        let text = result_file::text(file, "the baseline")?;
        let earlier: Self = serde_json::from_str(&text).with_context(|| format!("read the baseline {name}"))?;
        ensure!(!earlier.results.is_empty(), "the baseline {name} holds no run");
        let debug = |build: bool| if build { "a debug build" } else { "a release build" };
        let is_debug = cfg!(debug_assertions);
        ensure!(
            earlier.machine.debug_build == is_debug,
            "the baseline {name} is of {}, and this is {}: compare builds of one kind",
            debug(earlier.machine.debug_build),
            debug(is_debug)
        );
        Ok(earlier)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::report::sample;

    #[track_caller]
    fn refused(text: &str, wanted: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("baseline.json");
        fs::write(&file, text).expect("written");
        let error = format!("{:#}", Earlier::read(&file).expect_err("refused"));
        assert!(error.contains(wanted), "{wanted} in {error}");
    }

    #[test]
    fn what_cannot_be_compared_is_refused_by_name() {
        refused("{}", "is no result of");
        refused("level,mode", "is no result of");
        refused(r#"{"schema":99,"new":true}"#, "has schema 99, and this version reads 1");
        refused(&serde_json::to_string(&sample::open_load()).expect("json"), "is of an open load");
        let mut report = sample::report();
        report.header.machine.debug_build = !cfg!(debug_assertions);
        refused(&serde_json::to_string(&report).expect("json"), "compare builds of one kind");
        report.results.clear();
        refused(&serde_json::to_string(&report).expect("json"), "holds no run");
        assert!(Earlier::read(Path::new("/no/such.json")).is_err());
    }

    #[test]
    fn what_this_version_writes_is_read() {
        let mut report = sample::report();
        report.header.machine.debug_build = cfg!(debug_assertions);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("baseline.json");
        crate::report::json::write(&file, &report).expect("written");
        let read = Earlier::read(&file).expect("read");
        assert_eq!(read.machine, report.header.machine);
        assert_eq!(read.results[0].twin.expect("a twin").ratio_cpu, Some(1.2));
    }
}
