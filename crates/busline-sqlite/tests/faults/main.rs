//! The driver in a real file system: locks, foreign hands on its file, damage, other processes, and its end.
//!
//! Power loss, failed syncs and a full disk are in `tests/power`, on a simulated disk.

#[path = "../ledger/ledger.rs"]
mod ledger;

mod bad_files;
mod closing;
mod damage;
mod disk_full;
mod forked;
mod format;
mod locked;
mod model;
mod opening;
mod pages;
mod processes;
mod read_only;
mod replaced;
mod stage;
mod sweep;
