//! What was started and not stopped yet, in a file of the target folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use busline_brokers::Left;
use serde_json::{Value, json};

use super::kind::{Kind, Running};

/// The file, and what it says: an entry for each kind.
pub(crate) struct Started {
    file: PathBuf,
    kinds: BTreeMap<String, Running>,
}

impl Started {
    /// Reads the file of a target folder; none is an empty one.
    pub(crate) fn read(target: &Path) -> Result<Self> {
        let file = target.join("brokers").join("started.json");
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "{}".into(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let value: Value = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))?;
        let kinds = value.as_object().into_iter().flatten();
        let kinds = kinds.map(|(kind, value)| (kind.clone(), running(value))).collect();
        Ok(Self { file, kinds })
    }

    pub(crate) fn get(&self, kind: &Kind) -> Option<&Running> {
        self.kinds.get(&kind.to_string())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&String, &Running)> {
        self.kinds.iter()
    }

    pub(crate) fn add(&mut self, kind: &Kind, running: Running) -> Result<()> {
        self.kinds.insert(kind.to_string(), running);
        self.write()
    }

    /// Forgets what `is_meant` says, and gives it back.
    pub(crate) fn take(&mut self, is_meant: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Running>> {
        let (taken, kept) = std::mem::take(&mut self.kinds).into_iter().partition(|(kind, _)| is_meant(kind));
        self.kinds = kept;
        self.write()?;
        Ok(taken)
    }

    fn write(&self) -> Result<()> {
        let kinds: BTreeMap<&String, Value> = self.kinds.iter().map(|(kind, running)| (kind, value(running))).collect();
        let folder = self.file.parent().context("the file has no folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let text = serde_json::to_string_pretty(&kinds)?;
        std::fs::write(&self.file, text).with_context(|| format!("cannot write {}", self.file.display()))
    }
}

fn value(running: &Running) -> Value {
    let left: Vec<String> = running.left.iter().map(Left::line).collect();
    json!({ "url": running.url, "pages": running.pages, "processes": left })
}

fn running(value: &Value) -> Running {
    let texts = |name: &str| value[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    Running {
        url: value["url"].as_str().unwrap_or_default().to_owned(),
        pages: texts("pages").map(str::to_owned).collect(),
        left: texts("processes").filter_map(Left::from_line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_back() {
        let left: Vec<Left> = ["12 34 a b", "13 35 a b"].iter().filter_map(|line| Left::from_line(line)).collect();
        let before = Running { url: "nats://x".into(), pages: vec!["http://x".into()], left };
        let after = running(&value(&before));
        assert_eq!((after.url, after.pages, after.left), (before.url, before.pages, before.left));
    }
}
