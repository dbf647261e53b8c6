//! Runs each example of the facade in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::pipeline::{Outcome, Pipeline, WORKSPACE};
use crate::duration::Shown;
use crate::process;

/// The longest an example may run: it shows one task and ends.
const EXAMPLE_MAX: Duration = Duration::from_secs(60);

pub(crate) fn run(ci: &Pipeline<'_>) -> Result<Outcome> {
    let names = examples_of(ci.workspace.metadata(), "busline");
    if names.is_empty() {
        return Ok(Outcome::Skipped("crates/busline/examples has none".into()));
    }
    ci.cargo(&format!("build {WORKSPACE} --examples"))?;
    for name in names {
        let binary = ci.workspace.target().join("debug/examples").join(&name);
        run_one(&name, &binary)?;
    }
    Ok(Outcome::Passed)
}

/// Names of the examples of a package, in the order of cargo.
fn examples_of(metadata: &Value, package: &str) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.filter(|one| one["name"] == package).flat_map(|one| one["targets"].as_array());
    let examples = targets.flatten().filter(|target| target["kind"][0] == "example");
    examples.filter_map(|target| target["name"].as_str()).map(str::to_owned).collect()
}

fn run_one(name: &str, binary: &Path) -> Result<()> {
    let folder = Folder::new(name)?;
    let ended = process::within(EXAMPLE_MAX, Command::new(binary).current_dir(&folder.0))?;
    let how = match ended.status {
        Some(status) if status.success() => {
            println!("example {name} ... ok in {}", Shown(ended.took));
            return Ok(());
        }
        Some(status) => status.to_string(),
        None => format!("killed after {}", Shown(EXAMPLE_MAX)),
    };
    bail!("example {name}: {how}\n{}", ended.output)
}

/// An empty folder that is deleted in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("busline-example-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind in a temporary folder harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_examples_of_the_package_are_run() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "busline", "targets": [
                { "name": "busline", "kind": ["lib"] }, { "name": "shop", "kind": ["example"] }] },
            { "name": "busline-core", "targets": [{ "name": "other", "kind": ["example"] }] },
        ]});
        assert_eq!(examples_of(&metadata, "busline"), ["shop"]);
    }

    #[test]
    fn an_example_that_fails_tells_its_output() {
        let error = run_one("false", Path::new("false")).expect_err("it fails");
        assert!(error.to_string().starts_with("example false: exit status: 1"), "{error}");
        run_one("true", Path::new("true")).expect("it passes");
    }
}
