//! Who of us may depend on whom: the arrows of STYLE.md.

use serde_json::Value;

use super::tree::{Finding, Tree};

/// A package, and those of ours it may depend on.
const ARROWS: [(&str, &[&str]); 11] = [
    ("busline-brokers", &[]),
    ("busline-core", &[]),
    ("busline-history", &[]),
    ("busline-conformance", &["busline-core", "busline-history"]),
    ("busline-sqlite", &["busline-core"]),
    ("busline-nats", &["busline-core"]),
    ("busline-kafka", &["busline-core"]),
    ("busline", &["busline-core", "busline-sqlite", "busline-nats", "busline-kafka"]),
    ("busline-bench", &["busline", "busline-history"]),
    ("busline-cli", &["busline", "busline-bench", "busline-history"]),
    ("xtask", &["busline-brokers"]),
];

/// What tests of every package but those in `ALONE` may use as well.
const FOR_TESTS: [&str; 3] = ["busline-brokers", "busline-conformance", "busline-history"];

/// Packages whose tests use nothing more than the packages themselves.
const ALONE: [&str; 3] = ["busline-brokers", "busline-history", "xtask"];

/// Packages whose dependencies on ours are each behind a feature, but for the core.
const FACADE: &str = "busline";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.packages().flat_map(package).collect()
}

fn package(package: &Value) -> Vec<Finding> {
    let name = package["name"].as_str().unwrap_or_default();
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        return vec![Finding::about(name, "has no arrows; say in ARROWS whom it may depend on")];
    };
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let ours = dependencies.filter(|dependency| dependency["path"].is_string());
    ours.filter_map(|dependency| wrong(name, allowed, dependency).map(|says| Finding::about(name, says))).collect()
}

fn wrong(from: &str, allowed: &[&str], dependency: &Value) -> Option<String> {
    let to = dependency["name"].as_str().unwrap_or_default();
    let in_tests = dependency["kind"] == "dev";
    let for_tests = in_tests && FOR_TESTS.contains(&to) && !ALONE.contains(&from);
    if !allowed.contains(&to) && !for_tests {
        let kind = if in_tests { "in its tests" } else { "in its product" };
        return Some(format!("must not depend on {to} {kind}"));
    }
    if from == FACADE && !in_tests && to != "busline-core" && dependency["optional"] != true {
        return Some(format!("must take {to} behind a feature"));
    }
    if to == "busline-conformance" && dependency["req"] != "*" {
        return Some(format!("must name {to} without a version, so that packaging drops it"));
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn says(from: &str, to: Value) -> Vec<String> {
        let tree = Tree::of_packages(json!([{ "name": from, "dependencies": [to] }]));
        check(&tree).iter().map(Finding::to_string).collect()
    }

    fn ours(name: &str, kind: Value) -> Value {
        json!({ "name": name, "path": "somewhere", "kind": kind, "req": "*", "optional": false })
    }

    #[test]
    fn an_arrow_backwards_is_found() {
        let found = says("busline-core", ours("busline-sqlite", Value::Null));
        assert_eq!(found, ["busline-core: must not depend on busline-sqlite in its product"]);
        assert!(says("busline-sqlite", ours("busline-core", Value::Null)).is_empty());
    }

    #[test]
    fn the_suite_is_for_tests_and_has_no_version() {
        assert!(says("busline-core", ours("busline-conformance", json!("dev"))).is_empty());
        assert_eq!(says("busline-core", ours("busline-conformance", Value::Null)).len(), 1);
        let versioned = json!({ "name": "busline-conformance", "path": "somewhere", "kind": "dev", "req": "^0.1.0" });
        assert_eq!(says("busline-core", versioned).len(), 1);
    }

    #[test]
    fn servers_are_for_tests_and_for_xtask() {
        assert!(says("busline-nats", ours("busline-brokers", json!("dev"))).is_empty());
        assert_eq!(says("busline-nats", ours("busline-brokers", Value::Null)).len(), 1);
        assert!(says("xtask", ours("busline-brokers", Value::Null)).is_empty());
    }

    #[test]
    fn history_stands_alone_in_tests_too() {
        let found = says("busline-history", ours("busline-conformance", json!("dev")));
        assert_eq!(found, ["busline-history: must not depend on busline-conformance in its tests"]);
    }

    #[test]
    fn the_facade_takes_drivers_behind_features() {
        assert_eq!(says("busline", ours("busline-sqlite", Value::Null)).len(), 1);
        let optional = json!({ "name": "busline-sqlite", "path": "somewhere", "kind": null, "optional": true });
        assert!(says("busline", optional).is_empty());
    }

    #[test]
    fn a_package_nobody_knows_is_found() {
        assert_eq!(says("busline-extra", ours("busline-core", Value::Null)).len(), 1);
    }
}
