use std::collections::HashMap;
use std::path::Path;

use crate::entry::{Entry, Life, Op, Process};
use crate::reader::{ReadError, read_file};

/// What happened in a run: the entries of all its processes in the order of the machine's monotonic clock.
///
/// Entries of one instant stay in the order of their process's `idx`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    entries: Vec<Entry>,
}

impl History {
    /// Reads and merges the files of a run, one per process, in any order.
    ///
    /// # Errors
    /// As [`read_file`], for the first file that fails.
    pub fn read<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> Result<Self, ReadError> {
        let mut entries = Vec::new();
        for file in files {
            entries.append(&mut read_file(file)?);
        }
        Ok(Self::merge(entries))
    }

    /// Orders entries of any processes. The clock shift that a process declared at its opening is taken off first.
    pub fn merge(mut entries: Vec<Entry>) -> Self {
        let shifts = mono_shifts(&entries);
        if !shifts.is_empty() {
            for entry in &mut entries {
                let shift = shifts.get(&entry.process()).copied().unwrap_or_default();
                entry.mono_ns = entry.mono_ns.saturating_add_signed(shift.saturating_neg());
            }
        }
        // Threads write their lines out of order, so the order within a file is no order of time.
        entries.sort_by_key(|entry| (entry.mono_ns, entry.pid, entry.epoch, entry.idx));
        Self { entries }
    }

    /// Its entries, earliest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

fn mono_shifts(entries: &[Entry]) -> HashMap<Process, i64> {
    entries
        .iter()
        .filter_map(|entry| match entry.op {
            Op::Life(Life::Open { mono_shift_ns, .. }) if mono_shift_ns != 0 => Some((entry.process(), mono_shift_ns)),
            _ => None,
        })
        .collect()
}
