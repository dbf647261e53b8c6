//! No file or folder is a drawer: its name says the idea inside.

use super::tree::{Finding, Tree};

const DRAWERS: [&str; 11] =
    ["utils", "util", "helpers", "helper", "common", "misc", "manager", "managers", "types", "traits", "impl"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let drawers = tree.files().filter(|file| file.path.split('/').any(is_drawer));
    drawers.map(|file| Finding::about(&file.path, "is a drawer; name the idea inside")).collect()
}

fn is_drawer(name: &str) -> bool {
    DRAWERS.contains(&name.split('.').next().unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::super::tree::places;
    use super::*;

    #[test]
    fn drawers_are_found_as_files_and_as_folders() {
        let files = [("a/src/utils.rs", ""), ("a/src/common/b.rs", ""), ("a/src/common_prefix.rs", "")];
        assert_eq!(places(check, &files), ["a/src/utils.rs", "a/src/common/b.rs"]);
    }
}
