//! Installing a server once for all processes that want it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::{Error, place};

/// The folder of an installed server, installed by `install` if it is not there yet.
///
/// `install` fills an empty folder that gets its name only when it has succeeded, so a folder with the name is whole.
/// Other processes wait behind a file lock meanwhile.
///
/// # Errors
/// Those of `install`, and files that cannot be made.
pub(crate) fn once(name: &str, install: impl FnOnce(&Path) -> Result<(), Error>) -> Result<PathBuf, Error> {
    let brokers = place::brokers()?;
    let installed = brokers.join(name);
    if installed.is_dir() {
        return Ok(installed);
    }
    fs::create_dir_all(&brokers).map_err(Error::about("make", &brokers))?;
    let lock = brokers.join(format!("{name}.lock"));
    let locked = File::create(&lock).map_err(Error::about("make", &lock))?;
    locked.lock().map_err(Error::about("lock", &lock))?;
    // Another process may have installed it while this one waited.
    if !installed.is_dir() {
        fill(&brokers.join(format!("{name}.part")), &installed, install)?;
    }
    Ok(installed)
}

fn fill(part: &Path, installed: &Path, install: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    if part.exists() {
        fs::remove_dir_all(part).map_err(Error::about("remove", part))?;
    }
    fs::create_dir_all(part).map_err(Error::about("make", part))?;
    install(part)?;
    fs::rename(part, installed).map_err(Error::about("name", installed))
}
