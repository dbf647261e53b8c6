//! `cargo xtask tidy`: the house rules as tests.
//!
//! Each rule is one file with a function from the tree to its findings, and a unit test that shows it bites.

mod arrows;
mod clients;
mod code;
mod crate_docs;
mod drawers;
mod foreign_places;
mod globs;
mod macros;
mod mod_files;
mod named_files;
mod printing;
mod promises;
mod release_targets;
mod rules;
mod sql_texts;
mod tokio_features;
mod tree;

pub(crate) use code::{blanked, function_names};
pub(crate) use rules::run;
