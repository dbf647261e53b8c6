//! A SQLite VFS whose power a test can cut.
//!
//! [`PowerDisk`] is a disk in memory, registered with SQLite under a name of its own. Connections opened with that
//! name share it, as the connections of one process share a real disk, and no other connection notices it.
//! [`super::calls`] carries SQLite's calls to it.
//!
//! # Source
//! SQLite manual, "The OS Backend (VFS) To SQLite" and "Atomic Commit In SQLite", section 9; fault F19.

use std::sync::atomic::{AtomicU64, Ordering};

use super::calls::Registration;
pub(crate) use super::content::Loss;
pub(crate) use super::disk::FileKind;
use super::machine::Machine;

/// A simulated disk under a VFS name of its own.
///
/// Operations are writes, truncations, syncs (of a file and of a folder, each for itself), creations and deletions of
/// files. Their count starts at 0 with the machine and again with each restart.
///
/// Dropping it takes the name away, so that nothing more can be opened by it; connections still open go on as before.
#[derive(Debug)]
pub(crate) struct PowerDisk {
    machine: Machine,
    name: String,
    _registration: Registration,
}

impl PowerDisk {
    /// An empty disk with the power on. The seed decides what each power loss leaves.
    ///
    /// # Panics
    /// If SQLite refuses the registration.
    pub(crate) fn new(seed: u64) -> Self {
        static DISKS: AtomicU64 = AtomicU64::new(0);
        let name = format!("power-{}", DISKS.fetch_add(1, Ordering::Relaxed));
        let machine = Machine::new(seed);
        let registration = Registration::new(&name, machine.downgrade());
        Self { machine, name, _registration: registration }
    }

    /// The name to open connections with.
    pub(crate) fn vfs_name(&self) -> &str {
        &self.name
    }

    /// Operations done since the power came on.
    pub(crate) fn ops(&self) -> u64 {
        self.machine.state().disk.ops()
    }

    /// Cuts the power after operation number `ops`, counted from when the power came on; 0 or a number already
    /// reached cuts it at once. From then on every call fails with an error of the `SQLITE_IOERR` family.
    pub(crate) fn power_off_at(&self, ops: u64) {
        self.machine.state().disk.power_off_at(ops);
    }

    /// Loses what the loss says and puts the power back on, with no fault ordered and the count of operations at 0.
    ///
    /// Connections from before stay dead, as their process is: they can only be dropped. Before the cut ordered by
    /// `power_off_at` it works too: the power goes now.
    pub(crate) fn restart(&self, loss: Loss) {
        self.machine.restart(loss);
    }

    /// Kills the process and leaves the machine up: what was not synced stays visible, and stays un-synced.
    ///
    /// Connections from before stay dead. Ordered faults and the count of operations go on.
    pub(crate) fn kill_process(&self) {
        self.machine.kill();
    }

    /// Lets the next sync of a file of this kind fail with `SQLITE_IOERR_FSYNC`; see [`Self::fail_syncs`].
    pub(crate) fn fail_next_sync(&self, kind: FileKind) {
        self.fail_syncs(kind, 1);
    }

    /// Lets the next `count` syncs of a file of this kind fail with `SQLITE_IOERR_FSYNC`; 0 calls the failures off.
    ///
    /// The changes that were to be synced stay visible until a restart, and no later sync makes them durable.
    pub(crate) fn fail_syncs(&self, kind: FileKind, count: usize) {
        self.machine.state().disk.fail_syncs(kind, count);
    }

    /// As [`Self::fail_syncs`], but the changes do reach the medium, in whole: the harshest case for whoever says that
    /// nothing was stored.
    pub(crate) fn fail_syncs_after_writing(&self, kind: FileKind, count: usize) {
        self.machine.state().disk.fail_syncs_after_writing(kind, count);
    }

    /// Lets writes fail with `SQLITE_FULL` once the named files have grown by `bytes` in all; the last write before
    /// that may be cut short. Overwriting needs no room, and truncation and deletion give room back.
    pub(crate) fn full_after(&self, bytes: usize) {
        self.machine.state().disk.limit_room(Some(bytes));
    }

    /// Takes the limit of [`Self::full_after`] away.
    pub(crate) fn make_room(&self) {
        self.machine.state().disk.limit_room(None);
    }
}
