//! The simulated disk: files and names, the count of operations, and the faults a test can order.

use std::collections::BTreeMap;

use super::content::{Change, Content, Loss};
use super::dice::Dice;
use super::directory::{Directory, FileId};

/// What a file is to SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    /// The database itself.
    Main,
    /// The write-ahead log.
    Wal,
    /// A rollback journal, of one database or of several.
    Journal,
    /// Whatever is gone when it is closed.
    Temp,
}

/// Why the disk refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power is off.
    Dead,
    /// A sync failed and the changes it was for are clean in the cache, yet not durable.
    SyncFailed,
    /// No room for a file to grow.
    Full,
    /// No such name.
    NotFound,
}

/// One disk.
///
/// INVARIANT: every method that counts as an operation asks `operate` first, so after the last powered operation
/// nothing changes until `restart`.
#[derive(Debug)]
pub(crate) struct Disk {
    dice: Dice,
    directory: Directory,
    /// Kept until a restart even without a name: an un-synced deletion can be taken back.
    files: BTreeMap<FileId, Content>,
    files_made: u64,
    ops: u64,
    /// The last operation with power.
    power_off_at: Option<u64>,
    sync_failures: BTreeMap<FileKind, usize>,
    /// A sync that fails has written all the same.
    failed_syncs_write: bool,
    /// Bytes that all named files may hold together.
    capacity: Option<usize>,
}

impl Disk {
    /// An empty disk; the seed decides what survives a power loss.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            directory: Directory::default(),
            files: BTreeMap::new(),
            files_made: 0,
            ops: 0,
            power_off_at: None,
            sync_failures: BTreeMap::new(),
            failed_syncs_write: false,
            capacity: None,
        }
    }

    /// Operations done since the power came on.
    pub(crate) fn ops(&self) -> u64 {
        self.ops
    }

    /// Lets the power go after this many operations, counted from when it came on.
    pub(crate) fn power_off_at(&mut self, ops: u64) {
        self.power_off_at = Some(ops);
    }

    /// Lets the next syncs of a kind of file fail.
    pub(crate) fn fail_syncs(&mut self, kind: FileKind, count: usize) {
        self.sync_failures.insert(kind, count);
        self.failed_syncs_write = false;
    }

    /// Lets the next syncs of a kind of file fail although they write.
    pub(crate) fn fail_syncs_after_writing(&mut self, kind: FileKind, count: usize) {
        self.sync_failures.insert(kind, count);
        self.failed_syncs_write = true;
    }

    /// Leaves room for this many bytes more; `None` takes the limit away.
    pub(crate) fn limit_room(&mut self, bytes: Option<usize>) {
        self.capacity = bytes.map(|bytes| self.used() + bytes);
    }

    /// Fails while the power is off.
    pub(crate) fn powered(&self) -> Result<(), Fault> {
        match self.power_off_at {
            Some(last) if self.ops >= last => Err(Fault::Dead),
            _ => Ok(()),
        }
    }

    /// The file behind a name.
    pub(crate) fn find(&self, name: &str) -> Result<Option<FileId>, Fault> {
        self.powered()?;
        Ok(self.directory.find(name))
    }

    /// The bytes of a file.
    pub(crate) fn content(&self, file: FileId) -> Result<&Content, Fault> {
        self.powered()?;
        self.files.get(&file).ok_or(Fault::NotFound)
    }

    /// An empty file; without a name it never survives.
    pub(crate) fn create(&mut self, name: Option<&str>) -> Result<FileId, Fault> {
        self.operate()?;
        self.files_made += 1;
        let file = FileId(self.files_made);
        self.files.insert(file, Content::default());
        if let Some(name) = name {
            self.directory.create(name, file);
        }
        Ok(file)
    }

    /// Takes a name away.
    pub(crate) fn delete(&mut self, name: &str) -> Result<(), Fault> {
        self.operate()?;
        self.directory.find(name).ok_or(Fault::NotFound)?;
        self.directory.delete(name);
        Ok(())
    }

    /// Writes, and on a full disk as much as there is room for.
    pub(crate) fn write(&mut self, file: FileId, at: usize, bytes: &[u8]) -> Result<(), Fault> {
        self.operate()?;
        let len = self.content_mut(file)?.len();
        let fits = self.room_for(len, at, bytes.len());
        let change = Change::Write { at, bytes: bytes[..fits].to_vec() };
        if fits > 0 {
            self.content_mut(file)?.change(change);
        }
        if fits == bytes.len() { Ok(()) } else { Err(Fault::Full) }
    }

    /// Sets a length in bytes.
    pub(crate) fn truncate(&mut self, file: FileId, len: usize) -> Result<(), Fault> {
        self.operate()?;
        self.content_mut(file)?.change(Change::Truncate { len });
        Ok(())
    }

    /// Makes the bytes of a file durable, not its name.
    pub(crate) fn sync(&mut self, file: FileId, kind: FileKind) -> Result<(), Fault> {
        self.operate()?;
        let failures = self.sync_failures.entry(kind).or_default();
        let fails = *failures > 0;
        *failures = failures.saturating_sub(1);
        let writes = !fails || self.failed_syncs_write;
        let content = self.content_mut(file)?;
        if writes {
            content.sync()
        } else {
            content.fail_sync()
        }
        if fails { Err(Fault::SyncFailed) } else { Ok(()) }
    }

    /// Makes the names in the folder of `name` durable.
    pub(crate) fn sync_folder_of(&mut self, name: &str) -> Result<(), Fault> {
        self.operate()?;
        self.directory.sync_folder_of(name);
        Ok(())
    }

    /// Drops a file that has no name; not an operation, since nothing of it is on the medium.
    pub(crate) fn forget(&mut self, file: FileId) {
        self.files.remove(&file);
    }

    /// Loses what the loss says, then gives power again, with no faults ordered and no operation counted.
    pub(crate) fn restart(&mut self, loss: Loss) {
        self.directory.lose_power(loss, &mut self.dice);
        let named: Vec<FileId> = self.directory.files().collect();
        self.files.retain(|file, _| named.contains(file));
        for content in self.files.values_mut() {
            content.lose_power(loss, &mut self.dice);
        }
        self.ops = 0;
        self.power_off_at = None;
        self.sync_failures.clear();
        self.capacity = None;
    }

    fn operate(&mut self) -> Result<(), Fault> {
        self.powered()?;
        self.ops += 1;
        Ok(())
    }

    fn content_mut(&mut self, file: FileId) -> Result<&mut Content, Fault> {
        self.files.get_mut(&file).ok_or(Fault::NotFound)
    }

    fn used(&self) -> usize {
        let files = self.directory.files();
        files.filter_map(|file| self.files.get(&file)).map(Content::len).sum()
    }

    /// How many bytes of a write find room in a file of `len` bytes; only growth needs room.
    fn room_for(&self, len: usize, at: usize, bytes: usize) -> usize {
        let Some(capacity) = self.capacity else {
            return bytes;
        };
        let end_max = len + capacity.saturating_sub(self.used());
        end_max.saturating_sub(at).min(bytes)
    }
}
