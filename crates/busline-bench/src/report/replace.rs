//! Files that are written anew after each run.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes the file; a reader sees the former content or this one, never a part.
pub(crate) fn replace(file: &Path, content: &[u8]) -> Result<()> {
    let about = || format!("write the results to {}", file.display());
    let folder = Path::new(".").join(file.parent().unwrap_or(Path::new("")));
    let mut next = tempfile::NamedTempFile::new_in(folder).with_context(about)?;
    next.write_all(content).with_context(about)?;
    let next: File = next.persist(file).with_context(about)?;
    drop(next);
    Ok(())
}
