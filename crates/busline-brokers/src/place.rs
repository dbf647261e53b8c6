//! The folder in which servers are installed and run.

use std::path::PathBuf;

use crate::Error;

/// Names another folder than the one in the target folder, for instance to share installed servers.
const VARIABLE: &str = "BUSLINE_BROKERS";

/// What cargo puts into every target folder.
const MARK_OF_TARGET: &str = "CACHEDIR.TAG";

/// The folder, which may not exist yet.
///
/// # Errors
/// This program does not lie in a target folder of cargo and the variable is not set.
pub(crate) fn brokers() -> Result<PathBuf, Error> {
    if let Some(folder) = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let program =
        std::env::current_exe().map_err(|error| Error::failed(format!("cannot find this program: {error}")))?;
    let target = program.ancestors().find(|folder| folder.join(MARK_OF_TARGET).is_file());
    let target = target.ok_or_else(|| {
        Error::failed(format!(
            "{} does not lie in a target folder of cargo: name a folder for servers in {VARIABLE}",
            program.display()
        ))
    })?;
    Ok(target.join("brokers"))
}
