//! A document names only files and folders that are there.

use super::tree::{File, Finding, Tree};

/// Words in backticks that are a source file, a folder, or a path from the root.
///
/// Where the crate is said, on the same line or by `` Inside `CRATE`: `` above it, the file has to be in that crate:
/// others may have one of the same name.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let documents = tree.files().filter(|file| file.path.ends_with(".md"));
    documents.flat_map(|document| missing(tree, document)).collect()
}

fn missing(tree: &Tree, document: &File) -> Vec<Finding> {
    let paths = words(&document.text).filter(|(_, word)| is_path(word));
    let gone = paths.filter_map(|(at, word)| {
        let root = if is_from_root(word) { None } else { said_crate(tree, &document.text[..at]) };
        let (inside, place) = (root.as_deref().unwrap_or_default(), root.as_deref().unwrap_or("the tree"));
        let is_there = tree.files().any(|file| file.path.starts_with(inside) && is_named(&file.path, word));
        (!is_there).then(|| document.finding(at, format!("`{word}` is not in {place}: name what is there")))
    });
    gone.collect()
}

/// What stands in backticks, and at which byte. The three of a fence come out as a pair around nothing and one more.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = 0;
    let pieces = text.split('`').map(move |piece| {
        let at = next;
        next += piece.len() + 1;
        (at, piece)
    });
    pieces.enumerate().filter(|(number, _)| number % 2 == 1).map(|(_, word)| word)
}

fn is_path(word: &str) -> bool {
    let is_word = word.starts_with(|first: char| first.is_ascii_lowercase()) && !word.contains(char::is_whitespace);
    is_word && (word.ends_with(".rs") || word.ends_with('/') || is_from_root(word))
}

fn is_from_root(word: &str) -> bool {
    word.starts_with("crates/") || word.starts_with("xtask/")
}

/// Whether this file has the name, or is in a folder that has.
fn is_named(path: &str, word: &str) -> bool {
    let path = format!("/{path}/");
    path.contains(&format!("/{}/", word.trim_end_matches('/')))
}

/// The folder of the crate that the text in front of a word says it is in.
fn said_crate(tree: &Tree, before: &str) -> Option<String> {
    let line = before.rfind('\n').map_or(before, |end| &before[end..]);
    let section = before.rfind("\n#").map_or(before, |heading| &before[heading..]);
    let header = section.rfind("\nInside `").map(|at| &section[at..]);
    let of_line = words(line).filter_map(|(_, word)| folder(tree, word)).last();
    of_line.or_else(|| words(header?).find_map(|(_, word)| folder(tree, word)))
}

fn folder(tree: &Tree, name: &str) -> Option<String> {
    let folder = if name == "xtask" { "xtask/".to_owned() } else { format!("crates/{name}/") };
    tree.files().any(|file| file.path.starts_with(&folder)).then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::super::tree::places;
    use super::*;

    fn in_document(text: &str) -> Vec<String> {
        let there = ["crates/a/src/sink/log.rs", "crates/a/src/lib.rs", "crates/b/src/run.rs", "xtask/src/main.rs"];
        let mut files: Vec<(&str, &str)> = there.iter().map(|path| (*path, "")).collect();
        files.push(("docs/page.md", text));
        places(check, &files)
    }

    #[test]
    fn what_is_not_there_is_found() {
        for gone in
            ["x\n`old.rs`", "x\n`crates/a/src/old.rs`", "x\n`sink/old.rs`", "x\n`old/`", "```sh\nls\n```\n`og.rs`"]
        {
            let line = gone.matches('\n').count() + 1;
            assert_eq!(in_document(gone), [format!("docs/page.md:{line}")], "{gone}");
        }
    }

    #[test]
    fn a_file_of_another_crate_is_not_it() {
        let inside = "Inside `a`:\n\n| `run.rs` |\n\n## `b`\n\n`run.rs`\n";
        assert_eq!(in_document(&format!("\n{inside}")), ["docs/page.md:4"]);
        assert_eq!(in_document("`run.rs` of `a`\n`a` has `run.rs`"), ["docs/page.md:2"]);
    }

    #[test]
    fn what_is_there_and_what_is_no_file_may_be_named() {
        let text = "`lib.rs`, `log.rs`, `sink/`, `sink/log.rs`, `crates/a/src/sink`, `xtask` and its `main.rs`, `b`: `run.rs`; \
                    `//`, `cargo run a.rs`, `Sink`\n```sh\ncat old.rs old/\n```\n";
        assert_eq!(in_document(text), Vec::<String>::new());
    }
}
