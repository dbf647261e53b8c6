//! Two processes that publish to one file, as text for people.

use std::io::{self, Write};

use super::columns::Column::{self, Right};
use super::columns::{heads, row};
use super::folded::folded;
use super::numbers::{grouped, hundredths, mebibytes};
use super::target_lines::targets;
use crate::two_processes::{Sharing, TwoProcessesReport};

const COLUMNS: [Column; 8] = [
    Right("window", 7),
    Right("alone/s", 14),
    Right("together/s", 14),
    Right("ratio", 8),
    Right("share", 8),
    Right("longest wait", 15),
    Right("alone, ms", 17),
    Right("-wal MiB", 14),
];

const NOTE: &str = "Two processes publish to one file; every acked envelope was found. Share: of the one that got fewer. Wait: \
                    longest time without an ack, in milliseconds, of two and of one alone.";

/// Writes how two processes share a file.
///
/// # Errors
/// Those of `out`.
pub fn write_sharing(report: &TwoProcessesReport, out: &mut dyn Write) -> io::Result<()> {
    heads(&COLUMNS, out)?;
    report.sharing.iter().try_for_each(|sharing| row(&COLUMNS, cells(sharing), out))?;
    folded(out, "", NOTE)?;
    targets(&report.targets, out)
}

fn cells(sharing: &Sharing) -> [String; 8] {
    [
        grouped(sharing.window_envelopes as f64),
        grouped(sharing.alone_per_s.median),
        grouped(sharing.together_per_s.median),
        hundredths(sharing.ratio.median),
        hundredths(sharing.smaller_share.median),
        format!("{:.1}", sharing.longest_wait_ms),
        format!("{:.1}", sharing.longest_wait_alone_ms),
        mebibytes(sharing.wal_bytes_max as i64),
    ]
}
