//! Results as a file.

use std::path::Path;

use anyhow::{Context, Result};

use super::replace;
use crate::result::BenchReport;

/// Writes the report; a reader sees the former one or this one, never a part.
pub(crate) fn write(file: &Path, report: &BenchReport) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(report).context("encode the results")?;
    text.push(b'\n');
    replace(file, &text)
}

#[cfg(test)]
mod tests {
    use crate::report::sample;

    #[test]
    fn the_form_of_schema_1_does_not_change() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&sample::report()).expect("json"));
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("results.json");
        for _ in 0..2 {
            super::write(&file, &sample::report()).expect("written");
        }
        let text = std::fs::read_to_string(&file).expect("read");
        let read: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(read["schema"], 1);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
