//! The list of the rules, and the task that runs them.

use anyhow::Result;

use super::tree::{Finding, Tree};
use super::{
    arrows, clients, crate_docs, drawers, foreign_places, globs, macros, mod_files, named_files, printing, promises,
    release_targets, sql_texts, tokio_features,
};
use crate::workspace::Workspace;

/// A name to find it by, and the rule.
type Rule = (&'static str, fn(&Tree) -> Vec<Finding>);

const RULES: [Rule; 14] = [
    ("arrows", arrows::check),
    ("clients", clients::check),
    ("crate-docs", crate_docs::check),
    ("drawers", drawers::check),
    ("foreign-places", foreign_places::check),
    ("globs", globs::check),
    ("macros", macros::check),
    ("mod-files", mod_files::check),
    ("named-files", named_files::check),
    ("printing", printing::check),
    ("promises", promises::check),
    ("release-targets", release_targets::check),
    ("sql-texts", sql_texts::check),
    ("tokio-features", tokio_features::check),
];

/// Runs every rule over the tree. `false`: there are findings, and they were printed.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let tree = Tree::read(workspace)?;
    let mut findings = 0;
    for (name, rule) in RULES {
        for finding in rule(&tree) {
            println!("{name}: {finding}");
            findings += 1;
        }
    }
    match findings {
        0 => println!("tidy: {} rules hold over {} files", RULES.len(), tree.files().count()),
        1 => println!("tidy: 1 finding"),
        _ => println!("tidy: {findings} findings"),
    }
    Ok(findings == 0)
}
