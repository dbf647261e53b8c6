//! What the rules look at, and what they say.

use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;

use super::code;
use crate::workspace::Workspace;

/// The text files of the workspace, and what cargo says about its packages.
pub(crate) struct Tree {
    files: Vec<File>,
    metadata: Value,
}

/// One text file.
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The same text with comments and literals blanked out, byte for byte in place; only for Rust sources.
    pub(crate) code: String,
}

/// One place that breaks a rule, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    place: String,
    says: String,
}

impl Tree {
    /// Reads the tree; files that are not UTF-8 are left out.
    pub(crate) fn read(workspace: &Workspace) -> Result<Self> {
        let mut files = Vec::new();
        for path in workspace.files()? {
            let bytes = std::fs::read(workspace.root().join(&path)).with_context(|| format!("cannot read {path}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File::new(&path, text));
            }
        }
        Ok(Self { files, metadata: workspace.metadata().clone() })
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    pub(crate) fn packages(&self) -> impl Iterator<Item = &Value> {
        self.metadata["packages"].as_array().into_iter().flatten()
    }
}

#[cfg(test)]
impl Tree {
    /// A tree made by hand.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| File::new(path, (*text).to_owned())).collect();
        Self { files, metadata: Value::Null }
    }

    /// A tree without files whose packages are these.
    pub(crate) fn of_packages(packages: Value) -> Self {
        Self { files: Vec::new(), metadata: serde_json::json!({ "packages": packages }) }
    }
}

impl File {
    fn new(path: &str, text: String) -> Self {
        let code = if path.ends_with(".rs") { code::blanked(&text) } else { String::new() };
        Self { path: path.to_owned(), text, code }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// A finding at a byte of the text.
    pub(crate) fn finding(&self, at: usize, says: impl Into<String>) -> Finding {
        let line = self.text[..at].matches('\n').count() + 1;
        Finding { place: format!("{}:{line}", self.path), says: says.into() }
    }
}

impl Finding {
    /// A finding about something that is no place in a file.
    pub(crate) fn about(what: impl Into<String>, says: impl Into<String>) -> Self {
        Self { place: what.into(), says: says.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.says)
    }
}

/// The places of the findings of a rule over files made by hand.
#[cfg(test)]
pub(crate) fn places(rule: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
    rule(&Tree::of(files)).into_iter().map(|finding| finding.place).collect()
}
