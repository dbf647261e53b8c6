//! Who may name which foreign client: one driver each, and the native twins behind features.

use serde_json::Value;

use super::tree::{Finding, Tree};

/// A foreign crate, and the driver it belongs to.
const CLIENTS: [(&str, &str); 4] = [
    ("rusqlite", "busline-sqlite"),
    ("libsqlite3-sys", "busline-sqlite"),
    ("async-nats", "busline-nats"),
    ("rdkafka", "busline-kafka"),
];

/// Holds the native twins.
const TWINS: &str = "busline-bench";

/// Reads what was stored by another client than the bus, in its crash tests only.
const JUDGED_BY_OTHERS: &str = "busline-cli";

/// Packages that may say anyhow; libraries have typed errors.
const ANYHOW: [&str; 3] = ["busline-cli", "busline-bench", "xtask"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let findings = tree.packages().flat_map(|package| {
        let name = package["name"].as_str().unwrap_or_default();
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        dependencies.filter_map(move |dependency| Some(Finding::about(name, wrong(name, dependency)?)))
    });
    findings.collect()
}

fn wrong(from: &str, dependency: &Value) -> Option<String> {
    let to = dependency["name"].as_str().unwrap_or_default();
    if to == "anyhow" && dependency["kind"] != "dev" && !ANYHOW.contains(&from) {
        return Some("must not depend on anyhow: a library has typed errors".into());
    }
    let (client, driver) = CLIENTS.iter().find(|(client, _)| *client == to)?;
    match from {
        from if from == *driver => None,
        JUDGED_BY_OTHERS if dependency["kind"] == "dev" => None,
        TWINS if dependency["optional"] == true => None,
        TWINS => Some(format!("must take {client} behind a feature")),
        _ => Some(format!("must not name {client}: only {driver} does")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(from: &str, dependency: Value) -> usize {
        check(&Tree::of_packages(json!([{ "name": from, "dependencies": [dependency] }]))).len()
    }

    #[test]
    fn a_client_belongs_to_its_driver_and_its_twin() {
        let rusqlite = |optional: bool| json!({ "name": "rusqlite", "kind": null, "optional": optional });
        assert_eq!(found("busline-sqlite", rusqlite(false)), 0);
        assert_eq!(found("busline-bench", rusqlite(true)), 0);
        assert_eq!(found("busline-bench", rusqlite(false)), 1);
        assert_eq!(found("busline-cli", rusqlite(true)), 1);
        assert_eq!(found("busline-cli", json!({ "name": "rusqlite", "kind": "dev" })), 0);
        assert_eq!(found("busline-core", json!({ "name": "rusqlite", "kind": "dev" })), 1);
    }

    #[test]
    fn anyhow_is_for_programs_and_tests() {
        assert_eq!(found("busline-core", json!({ "name": "anyhow", "kind": null })), 1);
        assert_eq!(found("busline-core", json!({ "name": "anyhow", "kind": "dev" })), 0);
        assert_eq!(found("busline-cli", json!({ "name": "anyhow", "kind": null })), 0);
    }
}
