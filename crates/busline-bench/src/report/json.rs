//! Results as a file.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::replace;

/// Writes the report; a reader sees the former one or this one, never a part.
pub(crate) fn write(file: &Path, report: &impl Serialize) -> Result<()> {
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
    fn the_form_of_an_open_load_does_not_change() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&sample::open_load()).expect("json"));
    }

    #[test]
    fn an_open_load_is_read_back_as_it_was() {
        let report = sample::open_load();
        let text = serde_json::to_string(&report).expect("json");
        assert_eq!(serde_json::from_str::<crate::open_load::OpenReport>(&text).expect("read"), report);
    }

    /// Every name of an object, however deep.
    fn names(value: &serde_json::Value, into: &mut std::collections::BTreeSet<String>) {
        match value {
            serde_json::Value::Object(fields) => fields.iter().for_each(|(name, value)| {
                into.insert(name.clone());
                names(value, into);
            }),
            serde_json::Value::Array(values) => values.iter().for_each(|value| names(value, into)),
            _ => {}
        }
    }

    #[test]
    fn every_field_is_documented() {
        let page = include_str!("../../../../docs/bench-json.md");
        let mut fields = std::collections::BTreeSet::new();
        names(&serde_json::to_value(sample::report_with_baseline()).expect("json"), &mut fields);
        names(&serde_json::to_value(sample::open_load()).expect("json"), &mut fields);
        let missing: Vec<&String> = fields.iter().filter(|field| !page.contains(&format!("`{field}`"))).collect();
        assert!(missing.is_empty(), "docs/bench-json.md does not name {missing:?}");
    }

    #[test]
    fn a_report_is_read_back_as_it_was() {
        let report = sample::report_with_baseline();
        let text = serde_json::to_string(&report).expect("json");
        assert_eq!(serde_json::from_str::<crate::result::BenchReport>(&text).expect("read"), report);
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
