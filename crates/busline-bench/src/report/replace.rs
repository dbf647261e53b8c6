//! Files that are written anew after each run.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Whether the file of a report can be made, in words of the system if not. Leaves nothing.
///
/// # Errors
/// Those of making a file in its folder, in which each report is written before it takes the place of the former one.
pub fn check_result_file(file: &Path) -> io::Result<()> {
    tempfile::NamedTempFile::new_in(folder_of(file))?.close()
}

fn folder_of(file: &Path) -> PathBuf {
    Path::new(".").join(file.parent().unwrap_or(Path::new("")))
}

/// Writes the file; a reader sees the former content or this one, never a part.
pub(crate) fn replace(file: &Path, content: &[u8]) -> Result<()> {
    let about = || format!("write the results to {}", file.display());
    let mut next = tempfile::NamedTempFile::new_in(folder_of(file)).with_context(about)?;
    next.write_all(content).with_context(about)?;
    let next: File = next.persist(file).with_context(about)?;
    drop(next);
    Ok(())
}
