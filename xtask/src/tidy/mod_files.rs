//! A `mod.rs` holds docs, `mod` lines and re-exports, nothing else.

use super::code::{behind_visibility, without_attributes};
use super::tree::{File, Finding, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let files = tree.sources().filter(|file| file.path.ends_with("/mod.rs"));
    files.filter_map(foreign_item).collect()
}

/// The first thing that does not belong there. What follows it is not looked at: it may be the rest of a body.
fn foreign_item(file: &File) -> Option<Finding> {
    let mut begin = 0;
    for piece in file.code.split_inclusive(';') {
        let item = without_attributes(piece);
        if !item.trim().is_empty() && !belongs(item) {
            let at = begin + piece.len() - item.len();
            return Some(file.finding(at, "only docs, `mod` lines and re-exports stand in a mod.rs"));
        }
        begin += piece.len();
    }
    None
}

fn belongs(item: &str) -> bool {
    let Some(item) = item.trim_end().strip_suffix(';') else { return false };
    let public = behind_visibility(item);
    let module = public.unwrap_or(item).strip_prefix("mod ").is_some_and(|name| !name.contains('{'));
    module || public.is_some_and(|item| item.starts_with("use "))
}

#[cfg(test)]
mod tests {
    use super::super::tree::places;
    use super::*;

    #[test]
    fn anything_but_declarations_is_found() {
        let clean = "//! Doc; x.\n\n#[cfg(test)]\nmod tests;\npub(crate) mod a;\n#[doc(hidden)]\npub use a::{B, C};\n";
        assert!(places(check, &[("a/mod.rs", clean)]).is_empty());
        for item in
            ["fn f() {}", "use a::b;", "struct S;", "mod a { }", "impl S { fn f() { g(); } }", "static A: u8 = 1;"]
        {
            assert_eq!(places(check, &[("a/mod.rs", &format!("mod a;\n\n{item}\n"))]), ["a/mod.rs:3"], "{item}");
        }
    }
}
