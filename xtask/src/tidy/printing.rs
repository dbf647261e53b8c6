//! Only programs and tests print; a library returns values.

use super::code::{places_of, without_inline_tests};
use super::tree::{File, Finding, Tree};

const MACROS: [&str; 4] = ["println!", "eprintln!", "print!", "eprint!"];

/// Programs, and the suite, whose cases are tests that say why they skip.
const PRINTING: [&str; 4] = ["crates/busline-cli/", "crates/busline-bench/", "crates/busline-conformance/", "xtask/"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.sources().filter(|file| !may_print(&file.path)).flat_map(prints).collect()
}

fn may_print(path: &str) -> bool {
    let tests = ["/tests/", "/examples/", "/benches/"].iter().any(|folder| path.contains(folder));
    let build = path.ends_with("/tests.rs") || path.ends_with("/build.rs");
    tests || build || PRINTING.iter().any(|package| path.starts_with(package))
}

fn prints(file: &File) -> impl Iterator<Item = Finding> {
    let code = without_inline_tests(&file.code);
    MACROS.iter().flat_map(move |name| {
        places_of(code, name).map(move |at| file.finding(at, format!("`{name}` in a library; return it or trace it")))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::places;
    use super::*;

    #[test]
    fn a_library_that_prints_is_found() {
        let text = "fn a() {\n println!(\"b\") }\n#[cfg(test)]\nmod tests { fn c() { eprintln!() } }";
        assert_eq!(places(check, &[("crates/busline-core/src/a.rs", text)]), ["crates/busline-core/src/a.rs:2"]);
        let may = ["crates/busline-cli/src/a.rs", "crates/busline-core/tests/a.rs", "crates/busline/examples/a.rs"];
        assert!(may.iter().all(|path| places(check, &[(path, text)]).is_empty()));
    }
}
