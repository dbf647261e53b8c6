//! The file that `bench --json` has written, whoever reads it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::header::SCHEMA;

#[derive(Deserialize)]
struct Versioned {
    schema: u32,
    /// Only an open load has it.
    duration_s: Option<f64>,
}

/// The text of a file of levels and modes. `what` it is read as stands in the errors: "the baseline".
///
/// # Errors
/// A file that cannot be read, is of another schema, or of an open load.
pub(crate) fn text(file: &Path, what: &str) -> Result<String> {
    let name = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("read {what} {name}"))?;
    let Versioned { schema, duration_s } =
        serde_json::from_str(&text).with_context(|| format!("{what} {name} is no result of 'busline bench --json'"))?;
    if schema != SCHEMA {
        bail!("{what} {name} has schema {schema}, and this version reads {SCHEMA}: measure it again");
    }
    ensure!(
        duration_s.is_none(),
        "{what} {name} is of an open load ('bench --rate'), and only levels and modes are read"
    );
    Ok(text)
}
