//! A test target that `cargo test` leaves out is run by name, or it would never run.

use serde_json::Value;

use super::tree::{Finding, Tree};
use crate::ci::RELEASE_TESTS;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    findings(tree, RELEASE_TESTS)
}

fn findings(tree: &Tree, listed: &[(&str, &str)]) -> Vec<Finding> {
    let targets: Vec<_> = tree.packages().flat_map(test_targets).collect();
    let is_listed = |package: &str, name: &str| listed.contains(&(package, name));
    let left_out = targets.iter().filter(|(package, name, runs)| !runs && !is_listed(package, name));
    let left_out = left_out.map(|(package, name, _)| {
        Finding::about(*package, format!("test `{name}` has `test = false` and is not in RELEASE_TESTS: it never runs"))
    });
    let gone = listed.iter().filter(|one| !targets.iter().any(|(package, name, _)| **one == (*package, *name)));
    let gone = gone.map(|(package, name)| Finding::about(*package, format!("has no test `{name}`, see RELEASE_TESTS")));
    left_out.chain(gone).collect()
}

/// Package, name, and whether `cargo test` runs it unasked.
fn test_targets(package: &Value) -> impl Iterator<Item = (&str, &str, bool)> {
    let name = package["name"].as_str().unwrap_or_default();
    let targets = package["targets"].as_array().into_iter().flatten();
    let tests = targets.filter(|target| target["kind"][0] == "test");
    tests.map(move |target| (name, target["name"].as_str().unwrap_or_default(), target["test"] == true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_test_that_never_runs_and_one_that_is_gone_are_found() {
        let target = json!({ "name": "crash", "kind": ["test"], "test": false });
        let tree = Tree::of_packages(json!([{ "name": "busline-cli", "targets": [target] }]));
        assert_eq!(findings(&tree, &[]).len(), 1);
        assert_eq!(findings(&tree, &[("busline-cli", "crash")]).len(), 0);
        assert_eq!(findings(&tree, &[("busline-cli", "crash"), ("busline-cli", "inputs")]).len(), 1);
    }
}
