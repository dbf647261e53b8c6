//! A copy of the tree that may be broken. It and its build stay, so that the next mutation builds only what it changes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;
use crate::workspace::Workspace;

pub(crate) struct Copy<'a> {
    workspace: &'a Workspace,
    files: Vec<String>,
    /// Holds the copy, its build and the logs.
    folder: PathBuf,
}

impl<'a> Copy<'a> {
    /// Makes the copy, or brings the one of an earlier run up to date.
    pub(crate) fn of(workspace: &'a Workspace) -> Result<Self> {
        let copy = Self { workspace, files: workspace.files()?, folder: workspace.target().join("mutations") };
        copy.restore()?;
        Ok(copy)
    }

    fn tree(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// Where what a run of this name printed is kept.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Makes the copy equal to the tree. What is equal already is not touched: cargo looks at times.
    pub(crate) fn restore(&self) -> Result<()> {
        mirror(self.workspace.root(), &self.tree(), &self.files)
    }

    /// Applies a patch to the copy.
    pub(crate) fn apply(&self, patch: &Path) -> Result<()> {
        apply(&self.tree(), patch, false)
    }

    /// A `cargo` that builds the copy into a target folder of its own.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = process::cargo();
        cargo.current_dir(self.tree()).env("CARGO_TARGET_DIR", self.folder.join("target"));
        // A snapshot that differs is a failed test, not a file to write.
        cargo.env("INSTA_UPDATE", "no").env("CARGO_TERM_COLOR", "never");
        cargo
    }
}

/// Applies a patch to the files in a folder, or only sees that it would apply.
pub(crate) fn apply(folder: &Path, patch: &Path, only_check: bool) -> Result<()> {
    let mut git = process::git();
    git.arg("apply").args(only_check.then_some("--check")).arg("--whitespace=nowarn").arg(patch);
    // Inside a repository git takes paths from its root and skips, without a word, what lies elsewhere.
    git.current_dir(folder).env("GIT_CEILING_DIRECTORIES", folder.parent().context("a folder to be in")?);
    process::read(&mut git).map(drop)
}

/// Makes the folder `to` hold exactly these files of the folder `from`.
fn mirror(from: &Path, to: &Path, files: &[String]) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let wanted: HashSet<PathBuf> = files.iter().map(|file| to.join(file)).collect();
    for path in files_below(to)? {
        if !wanted.contains(&path) {
            std::fs::remove_file(&path)?;
        }
    }
    for file in files {
        let (source, copy) = (from.join(file), to.join(file));
        let bytes = std::fs::read(&source).with_context(|| format!("cannot read {file}"))?;
        if std::fs::read(&copy).ok() != Some(bytes) {
            std::fs::create_dir_all(copy.parent().context("a file lies in a folder")?)?;
            std::fs::copy(&source, &copy).with_context(|| format!("cannot copy {file}"))?;
        }
    }
    Ok(())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two folders that are deleted in the end.
    struct Folders(PathBuf);

    impl Folders {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            ["from/a", "to"].iter().for_each(|part| std::fs::create_dir_all(path.join(part)).expect("a folder"));
            Self(path)
        }

        fn write(&self, path: &str, text: &str) {
            std::fs::write(self.0.join(path), text).expect("a file");
        }

        fn read(&self, path: &str) -> Option<String> {
            std::fs::read_to_string(self.0.join(path)).ok()
        }
    }

    impl Drop for Folders {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_mirror_holds_the_files_and_leaves_equal_ones_untouched() {
        let folders = Folders::new("mirror");
        folders.write("from/a/b", "one");
        folders.write("from/c", "two");
        folders.write("to/left", "behind");
        let files = ["a/b".to_owned(), "c".to_owned()];
        let (from, to) = (folders.0.join("from"), folders.0.join("to"));
        mirror(&from, &to, &files).expect("it copies");
        let changed = || std::fs::metadata(to.join("c")).and_then(|data| data.modified()).expect("a time");
        let first = changed();
        folders.write("to/a/b", "broken");
        mirror(&from, &to, &files).expect("it copies");
        assert_eq!(folders.read("to/a/b").as_deref(), Some("one"));
        assert_eq!((folders.read("to/left"), changed()), (None, first));
    }

    #[test]
    fn a_patch_changes_the_folder_or_is_refused() {
        let folders = Folders::new("apply");
        folders.write("from/c", "one\n");
        folders.write("p.patch", "Breaks: a\nTest: b\n\n--- a/c\n+++ b/c\n@@ -1 +1 @@\n-one\n+two\n");
        let (from, patch) = (folders.0.join("from"), folders.0.join("p.patch"));
        apply(&from, &patch, true).expect("it would apply");
        assert_eq!(folders.read("from/c").as_deref(), Some("one\n"));
        apply(&from, &patch, false).expect("it applies");
        assert_eq!(folders.read("from/c").as_deref(), Some("two\n"));
        assert!(apply(&from, &patch, true).is_err());
    }
}
