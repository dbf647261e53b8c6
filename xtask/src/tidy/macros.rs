//! Nothing unfinished and no test that does not run.

use super::code::places_of;
use super::tree::{File, Finding, Tree};

const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.sources().flat_map(|file| unfinished(file).chain(ignored(file))).collect()
}

fn unfinished(file: &File) -> impl Iterator<Item = Finding> {
    UNFINISHED.iter().flat_map(move |name| {
        places_of(&file.code, name).map(move |at| file.finding(at, format!("`{name}` must not be merged")))
    })
}

/// `ignore` in an attribute: alone, with a reason, or behind a `cfg_attr`.
fn ignored(file: &File) -> impl Iterator<Item = Finding> {
    let attributes = file.code.match_indices("#[").map(|(at, _)| at).filter(move |at| {
        let attribute = file.code[*at..].split(']').next().unwrap_or_default();
        let named = attribute.starts_with("#[ignore") || attribute.starts_with("#[cfg_attr");
        named && places_of(attribute, "ignore").next().is_some()
    });
    attributes.map(|at| file.finding(at, "a test that is ignored proves nothing; run it or delete it"))
}

#[cfg(test)]
mod tests {
    use super::super::tree::places;
    use super::*;

    #[test]
    fn unfinished_code_is_found_and_talk_about_it_is_not() {
        let text = "fn a() { todo!() }\n// todo!\nfn b() { dbg!(c); \"unimplemented!\" }\nfn d() { unimplemented!() }";
        assert_eq!(places(check, &[("a.rs", text)]), ["a.rs:1", "a.rs:4", "a.rs:3"]);
    }

    #[test]
    fn ignored_tests_are_found() {
        let text = "#[ignore]\n#[ignore = \"slow\"]\n#[cfg_attr(a, ignore)]\n#[rustfmt::skip]\n#[cfg(ignored)]";
        assert_eq!(places(check, &[("a.rs", text)]), ["a.rs:1", "a.rs:2", "a.rs:3"]);
    }
}
