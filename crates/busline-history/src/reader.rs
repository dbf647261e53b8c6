use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::entry::Entry;

/// Reads one history file: its entries in the order of its lines.
///
/// A last line without its end is what SIGKILL leaves; it is kept if it is whole but for the line feed, else left out,
/// since the call that it would have announced was never made.
///
/// # Errors
/// The file cannot be read, or a line other than a torn last one is not an entry: then something else wrote to the
/// file, and nothing it says can be trusted.
pub fn read_file(path: impl AsRef<Path>) -> Result<Vec<Entry>, ReadError> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
    read_lines(&bytes).map_err(|(line, source)| ReadError::Torn { path: path.to_owned(), line, source })
}

fn read_lines(bytes: &[u8]) -> Result<Vec<Entry>, (usize, serde_json::Error)> {
    let whole = bytes.ends_with(b"\n");
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if body.is_empty() && !whole {
        return Ok(Vec::new());
    }
    let mut lines = body.split(|byte| *byte == b'\n').enumerate().peekable();
    let mut entries = Vec::new();
    while let Some((number, line)) = lines.next() {
        let torn_allowed = lines.peek().is_none() && !whole;
        match serde_json::from_slice(line) {
            Ok(entry) => entries.push(entry),
            Err(_) if torn_allowed => {}
            Err(error) => return Err((number + 1, error)),
        }
    }
    Ok(entries)
}

/// A history file could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The file itself.
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line in it.
    Torn {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "read history {}: {source}", path.display()),
            Self::Torn { path, line, source } => {
                write!(f, "read history {}: line {line} is not an entry: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Torn { source, .. } => Some(source),
        }
    }
}
