//! What can go wrong before a server is ready.

use std::io;
use std::path::Path;

/// Why there is no server: one line that ends with what to do, where something can be done.
#[derive(Debug, thiserror::Error)]
#[error("{says}")]
pub struct Error {
    says: String,
    missing_tool: bool,
}

impl Error {
    /// Whether a program must be installed first; the line says which.
    #[must_use]
    pub fn is_missing_tool(&self) -> bool {
        self.missing_tool
    }

    pub(crate) fn failed(says: impl Into<String>) -> Self {
        Self { says: says.into(), missing_tool: false }
    }

    pub(crate) fn missing_tool(says: impl Into<String>) -> Self {
        Self { says: says.into(), missing_tool: true }
    }

    /// For `map_err` at a call about one file or folder.
    pub(crate) fn about(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::failed(format!("cannot {what} {}: {error}", path.display()))
    }
}
