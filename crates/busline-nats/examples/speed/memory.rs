//! What a burst takes of this process's memory, and what it keeps.

use std::fs;

/// Resident memory from a moment on.
pub(crate) struct Memory {
    before: u64,
}

impl Memory {
    /// Begins: the peak counts from what is resident at this moment.
    pub(crate) fn watch() -> std::io::Result<Self> {
        fs::write("/proc/self/clear_refs", "5")?;
        Ok(Self { before: resident("VmRSS:")? })
    }

    /// Bytes above the beginning: at the peak, and resident by this moment.
    pub(crate) fn grown(&self) -> std::io::Result<(u64, u64)> {
        let above = |name| Ok::<_, std::io::Error>(resident(name)?.saturating_sub(self.before));
        Ok((above("VmHWM:")?, above("VmRSS:")?))
    }
}

/// Bytes under this name in the process's status, which counts in KiB.
fn resident(name: &str) -> std::io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) << 10)
}
