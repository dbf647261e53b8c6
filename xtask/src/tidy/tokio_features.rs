//! The core takes little of tokio: it runs on any runtime and opens no socket, file or process.

use super::tree::{Finding, Tree};

const ALLOWED: [&str; 3] = ["sync", "time", "rt"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let core = tree.packages().filter(|package| package["name"] == "busline-core");
    let dependencies = core.flat_map(|package| package["dependencies"].as_array().into_iter().flatten());
    let tokio = dependencies.filter(|one| one["name"] == "tokio" && one["kind"] != "dev");
    let features = tokio.flat_map(|one| one["features"].as_array().into_iter().flatten());
    let names = features.filter_map(|feature| feature.as_str()).filter(|feature| !ALLOWED.contains(feature));
    let says = names.map(|feature| format!("takes `{feature}` of tokio; only {} are allowed", ALLOWED.join(", ")));
    says.map(|says| Finding::about("busline-core", says)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_feature_too_much_is_found_outside_tests() {
        let tree = |kind| {
            let tokio = json!({ "name": "tokio", "kind": kind, "features": ["sync", "fs"] });
            Tree::of_packages(json!([{ "name": "busline-core", "dependencies": [tokio] }]))
        };
        assert_eq!(check(&tree(None)).len(), 1);
        assert_eq!(check(&tree(Some("dev"))).len(), 0);
    }
}
