//! Power loss: SQLite on a simulated disk that forgets what was not synced.
//!
//! `vfs` is what a test uses: a disk, its name with SQLite, its faults. Below it, each file sees only the ones under
//! it: `calls` (SQLite's C functions), `machine` (one computer: disk, locks, shared memory), `disk` (operations,
//! faults), `content` and `directory` (what is seen and what is durable), `locks`, `dice` (seeded chance). `shim` and
//! `sweep` test the simulation itself with plain SQLite, on the `workload` that they share; `driver`, `failed_sync` and
//! `full_disk` test the driver on it, by a `bus` and the judge in `ledger`.

#[path = "../ledger/ledger.rs"]
mod ledger;

mod bus;
mod calls;
mod content;
mod dice;
mod directory;
mod disk;
mod driver;
mod failed_sync;
mod full_disk;
mod locks;
mod machine;
mod shim;
mod sweep;
mod vfs;
mod workload;
