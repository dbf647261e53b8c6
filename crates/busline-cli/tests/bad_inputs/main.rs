//! The list of bad inputs on the real binary, by entry: what each gives, that it is told in full, and that nothing is
//! stored. Entries that other tests hold, and those that this surface cannot meet, stand in `ledger`.

mod arguments;
mod check;
mod events;
mod files;
#[path = "../cli/harness.rs"]
#[expect(dead_code, reason = "each test target needs another part of it")]
mod harness;

mod ledger;
mod lines;
mod names;
