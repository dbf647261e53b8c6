//! The workspace as it lies on disk: its root, its target folder, its files and what cargo says about it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;

#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    metadata: Value,
}

impl Workspace {
    /// Finds the workspace this binary was started from by `cargo xtask`.
    pub(crate) fn find() -> Result<Self> {
        // The value at run time wins: a target folder may be shared by several checkouts.
        let manifest = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest).parent().context("xtask has no folder above it")?.to_path_buf();
        let arguments = ["metadata", "--format-version=1", "--no-deps"];
        let metadata = process::read(process::cargo().args(arguments).current_dir(&root))?;
        let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
        let target = metadata["target_directory"].as_str().context("cargo metadata has no target_directory")?.into();
        Ok(Self { root, target, metadata })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The answer of `cargo metadata --no-deps`.
    pub(crate) fn metadata(&self) -> &Value {
        &self.metadata
    }

    /// Paths of the files that belong to the tree, relative to the root and sorted: tracked ones, and those that
    /// would be tracked next (not ignored). A deleted file is left out.
    pub(crate) fn files(&self) -> Result<Vec<String>> {
        let mut git = process::git();
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&self.root);
        let listed = process::read(&mut git)?;
        let mut files: Vec<String> = listed
            .split('\0')
            .filter(|path| !path.is_empty() && self.root.join(path).is_file())
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        if files.is_empty() {
            bail!("git lists no files in {}", self.root.display());
        }
        Ok(files)
    }
}
