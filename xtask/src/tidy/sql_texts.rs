//! SQL is a constant text with parameters, never put together by `format!`.

use super::code::places_of;
use super::tree::{File, Finding, Tree};

const FOLDER: &str = "crates/busline-sqlite/src/";

const STATEMENTS: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let files = tree.sources().filter(|file| file.path.starts_with(FOLDER));
    files.flat_map(built_texts).collect()
}

fn built_texts(file: &File) -> impl Iterator<Item = Finding> {
    let built = places_of(&file.code, "format!").filter(move |at| {
        let literal = file.text[at + "format!".len()..].trim_start_matches(['(', '[', '{']).trim_start();
        let literal = literal.strip_prefix('r').map_or(literal, |raw| raw.trim_start_matches('#'));
        literal.strip_prefix('"').is_some_and(is_statement)
    });
    built.map(|at| file.finding(at, "SQL built by `format!`; use a constant text with parameters"))
}

fn is_statement(text: &str) -> bool {
    let word = text.trim_start_matches(['\\', '\n', ' ']).split(|letter: char| !letter.is_alphabetic()).next();
    word.is_some_and(|word| STATEMENTS.contains(&word.to_uppercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::tree::places;
    use super::*;

    #[test]
    fn built_statements_are_found_and_sentences_are_not() {
        let text =
            "format!(\"SELECT {a}\")\nformat!(\n  r#\"insert into {b}\"#)\nformat!(\"selected {c}\")\n\"SELECT 1\"";
        let path = "crates/busline-sqlite/src/a.rs";
        assert_eq!(places(check, &[(path, text)]), [format!("{path}:1"), format!("{path}:2")]);
        assert!(places(check, &[("crates/busline-cli/src/a.rs", text)]).is_empty());
    }
}
