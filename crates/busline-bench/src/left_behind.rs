//! What a benchmark leaves if the process ends at once: topics on a bus that lives on, and folders of temporary files.
//!
//! Whoever makes such a thing notes it first, and strikes it off once it is gone. So what stands here when the process is
//! told to end at once is what nobody will take away any more.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

/// Something that is left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftBehind {
    /// Topics that were made or are being made.
    Topics {
        /// The bus: its path if it is a file, else its scheme alone, because a URL may hold a secret.
        bus: String,
        /// Their names.
        names: Vec<String>,
    },
    /// A folder of temporary files.
    Folder(PathBuf),
}

impl LeftBehind {
    /// How to delete it.
    pub fn next_step(&self) -> String {
        match self {
            Self::Topics { .. } => {
                "run 'busline topic delete NAME' with the same --bus for each that 'busline topic list' shows".into()
            }
            Self::Folder(folder) => format!("run: rm -r '{}'", folder.display()),
        }
    }
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topics { bus, names } => write!(f, "topics on {bus} {}", names.join(" ")),
            Self::Folder(folder) => write!(f, "the folder {}", folder.display()),
        }
    }
}

static LEFT: LazyLock<Mutex<BTreeSet<LeftBehind>>> = LazyLock::new(Mutex::default);

fn left() -> MutexGuard<'static, BTreeSet<LeftBehind>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What every benchmark of this process has left until now and not taken away.
///
/// For a process that ends at once: folders are deleted, and only those that cannot be are given.
pub fn left_behind() -> Vec<LeftBehind> {
    left().iter().filter(|one| !is_deleted(one)).cloned().collect()
}

fn is_deleted(one: &LeftBehind) -> bool {
    matches!(one, LeftBehind::Folder(folder) if std::fs::remove_dir_all(folder).is_ok() || !folder.exists())
}

/// Topics of one stage, as they are named to the user.
pub(crate) fn topics(url: &str, names: impl IntoIterator<Item = String>) -> LeftBehind {
    let bus = match url.split_once(':') {
        Some(("sqlite", _)) => url.to_string(),
        Some((scheme, _)) => format!("{scheme}:"),
        None => String::new(),
    };
    LeftBehind::Topics { bus, names: names.into_iter().collect() }
}

pub(crate) fn note(one: LeftBehind) {
    left().insert(one);
}

pub(crate) fn strike_off(one: &LeftBehind) {
    left().remove(one);
}

/// A temporary folder that is noted until it is deleted, which dropping it does.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new_in(folder: &Path, prefix: &str) -> io::Result<Self> {
        let made = tempfile::Builder::new().prefix(prefix).tempdir_in(folder)?;
        note(LeftBehind::Folder(made.path().to_path_buf()));
        Ok(Self(made))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        strike_off(&LeftBehind::Folder(self.path().to_path_buf()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_named_with_their_bus_and_without_what_may_be_secret() {
        let left = topics("nats://user:hunter2@host", ["bench-1".into(), "bench-2".into()]);
        assert_eq!(left.to_string(), "topics on nats: bench-1 bench-2");
        assert!(left.next_step().contains("busline topic delete"));
        assert!(topics("sqlite:a.db", []).to_string().contains("sqlite:a.db"));
    }

    #[test]
    fn what_is_taken_away_is_not_left() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = Folder::new_in(parent.path(), "left-").expect("made");
        let noted = LeftBehind::Folder(folder.path().to_path_buf());
        assert!(left().contains(&noted));
        drop(folder);
        assert!(!left().contains(&noted));
    }
}
