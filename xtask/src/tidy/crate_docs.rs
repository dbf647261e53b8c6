//! Every crate says what it is.

use super::tree::{Finding, Tree};

/// The roots of libraries and programs; tests and examples may go without.
const ROOTS: [&str; 2] = ["src/lib.rs", "src/main.rs"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let roots = tree.sources().filter(|file| is_root(&file.path));
    let silent = roots.filter(|file| !has_doc(&file.text));
    silent.map(|file| file.finding(0, "no crate doc: say what it is in `//!` lines")).collect()
}

fn is_root(path: &str) -> bool {
    ROOTS.iter().any(|root| path.strip_suffix(root).is_some_and(|folder| folder.ends_with('/')))
}

/// Whether the first line that is neither empty, an ordinary comment nor an inner attribute is a doc with words.
fn has_doc(text: &str) -> bool {
    let passed = |line: &&str| line.is_empty() || line.starts_with("#![") || is_comment(line);
    let first = text.lines().map(str::trim).find(|line| !passed(line));
    first.and_then(|line| line.strip_prefix("//!")).is_some_and(|doc| !doc.trim().is_empty())
}

fn is_comment(line: &str) -> bool {
    line.starts_with("//") && !line.starts_with("//!")
}

#[cfg(test)]
mod tests {
    use super::super::tree::places;
    use super::*;

    #[test]
    fn a_crate_without_a_doc_is_found() {
        assert_eq!(places(check, &[("a/src/lib.rs", "// Licence.\nmod b;\n")]), ["a/src/lib.rs:1"]);
        assert!(places(check, &[("a/src/lib.rs", "#![no_std]\n\n//! What it is.\n")]).is_empty());
        assert!(places(check, &[("a/src/b.rs", "mod c;")]).is_empty());
    }
}
