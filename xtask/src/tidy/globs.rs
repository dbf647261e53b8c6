//! No glob re-export: each public name is listed.

use super::code::{behind_visibility, places_of};
use super::tree::{File, Finding, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.sources().flat_map(globs).collect()
}

fn globs(file: &File) -> impl Iterator<Item = Finding> {
    let globs = places_of(&file.code, "pub").filter(|at| {
        let item = behind_visibility(&file.code[*at..]).and_then(|item| item.strip_prefix("use "));
        item.and_then(|names| names.split(';').next()).is_some_and(|names| names.contains('*'))
    });
    globs.map(|at| file.finding(at, "a glob re-export hides what is public; list the names"))
}

#[cfg(test)]
mod tests {
    use super::super::tree::places;
    use super::*;

    #[test]
    fn glob_re_exports_are_found() {
        let text = "pub use a::*;\npub(crate) use b::{\n  c::*};\nuse d::*;\npub use e::f;\npub fn g() { *h }";
        assert_eq!(places(check, &[("a.rs", text)]), ["a.rs:1", "a.rs:2"]);
    }
}
