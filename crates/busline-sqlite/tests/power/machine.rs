//! One simulated computer: its disk, and what its memory holds for SQLite until the power goes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::content::{Content, Loss};
use super::directory::FileId;
use super::disk::{Disk, Fault, FileKind};
use super::locks::{Busy, FileLocks, HandleId, Hold, Level, ShmLocks};

/// The machine as its owner and its open files hold it.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    state: Arc<Mutex<State>>,
}

/// The machine as the registration holds it, which must not keep the files alive.
#[derive(Debug)]
pub(crate) struct MachineRef {
    state: Weak<Mutex<State>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) disk: Disk,
    locks: BTreeMap<FileId, FileLocks>,
    /// Lives as long as a connection maps it: the first connection after that starts from zeros and recovers the log.
    shared_memory: BTreeMap<FileId, Weak<SharedMemory>>,
    /// Counts processes, one after the other. A handle of an earlier one is dead.
    process: u64,
    handles_made: u64,
}

/// How a file is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It must exist.
    Existing,
    /// It is made if it does not exist.
    Create,
    /// It must not exist.
    CreateNew,
}

impl Machine {
    /// A running machine with an empty disk.
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            disk: Disk::new(seed),
            locks: BTreeMap::new(),
            shared_memory: BTreeMap::new(),
            process: 0,
            handles_made: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A reference that lets the machine go.
    pub(crate) fn downgrade(&self) -> MachineRef {
        MachineRef { state: Arc::downgrade(&self.state) }
    }

    /// The state, also after another thread panicked with it: a failing test must still be able to close its files.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Power back on: the disk keeps what the loss leaves, memory keeps nothing, earlier handles stay dead.
    pub(crate) fn restart(&self, loss: Loss) {
        let mut state = self.state();
        state.disk.restart(loss);
        state.end_process();
    }

    /// The process dies and the machine stays up: the page cache keeps what was not synced, earlier handles stay dead.
    pub(crate) fn kill(&self) {
        self.state().end_process();
    }

    /// Opens a named file, or a nameless temporary one.
    pub(crate) fn open(&self, name: Option<&str>, kind: FileKind, mode: Mode) -> Result<Handle, Fault> {
        let mut state = self.state();
        let found = name.map_or(Ok(None), |name| state.disk.find(name))?;
        let file = match (found, mode) {
            (Some(file), Mode::Existing | Mode::Create) => file,
            (None, Mode::Create | Mode::CreateNew) => state.disk.create(name)?,
            (Some(_), Mode::CreateNew) | (None, Mode::Existing) => return Err(Fault::NotFound),
        };
        state.handles_made += 1;
        // SQLite's unix code asks for the folder's sync by kind and flag alone, whether the file was there or not, and
        // never for the database itself: its name becomes durable with the first journal or log beside it.
        let owes_folder_sync = matches!(kind, FileKind::Wal | FileKind::Journal) && mode != Mode::Existing;
        Ok(Handle {
            machine: self.clone(),
            id: HandleId(state.handles_made),
            process: state.process,
            file,
            kind,
            name: name.map(str::to_owned),
            owes_folder_sync,
            shared_memory: None,
        })
    }

    /// Length in bytes of the file behind a name, if there is one.
    pub(crate) fn len_of(&self, name: &str) -> Result<Option<usize>, Fault> {
        let state = self.state();
        let file = state.disk.find(name)?;
        file.map(|file| state.disk.content(file).map(Content::len)).transpose()
    }

    /// Deletes a name, and makes that durable if asked to.
    pub(crate) fn delete(&self, name: &str, sync_folder: bool) -> Result<(), Fault> {
        let mut state = self.state();
        state.disk.delete(name)?;
        if sync_folder {
            state.disk.sync_folder_of(name)?;
        }
        Ok(())
    }
}

impl MachineRef {
    /// The machine, unless its owner and all its open files are gone.
    pub(crate) fn upgrade(&self) -> Option<Machine> {
        self.state.upgrade().map(|state| Machine { state })
    }
}

/// The memory that connections share beside a write-ahead log, and the locks on it.
#[derive(Debug, Default)]
struct SharedMemory {
    regions: Mutex<Vec<Box<[AtomicU64]>>>,
    locks: Mutex<ShmLocks>,
}

impl SharedMemory {
    /// The start of a region, which stays where it is while anyone maps the memory.
    ///
    /// Atomic cells, because SQLite writes through the pointer from several threads.
    fn region(&self, index: usize, bytes: usize, extend: bool) -> Option<*const AtomicU64> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        while extend && regions.len() <= index {
            let cells = bytes.div_ceil(size_of::<AtomicU64>());
            regions.push((0..cells).map(|_| AtomicU64::new(0)).collect());
        }
        regions.get(index).map(|region| region.as_ptr())
    }

    fn locks(&self) -> MutexGuard<'_, ShmLocks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open file of one connection.
#[derive(Debug)]
pub(crate) struct Handle {
    machine: Machine,
    id: HandleId,
    process: u64,
    file: FileId,
    kind: FileKind,
    name: Option<String>,
    owes_folder_sync: bool,
    shared_memory: Option<Arc<SharedMemory>>,
}

impl Handle {
    /// Fills the buffer from `at` on, the rest with zeros, and says whether the file had it all.
    pub(crate) fn read(&self, at: usize, into: &mut [u8]) -> Result<bool, Fault> {
        let got = self.state()?.disk.content(self.file)?.read(at, into);
        into[got..].fill(0);
        Ok(got == into.len())
    }

    /// Writes from `at` on.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) -> Result<(), Fault> {
        self.state()?.disk.write(self.file, at, bytes)
    }

    /// Sets the length in bytes.
    pub(crate) fn truncate(&self, len: usize) -> Result<(), Fault> {
        self.state()?.disk.truncate(self.file, len)
    }

    /// Makes the bytes durable, and on the first success of a journal or log the names beside it.
    pub(crate) fn sync(&mut self) -> Result<(), Fault> {
        let mut state = self.state()?;
        state.disk.sync(self.file, self.kind)?;
        if let (true, Some(name)) = (self.owes_folder_sync, &self.name) {
            state.disk.sync_folder_of(name)?;
        }
        drop(state);
        self.owes_folder_sync = false;
        Ok(())
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> Result<usize, Fault> {
        Ok(self.state()?.disk.content(self.file)?.len())
    }

    /// Raises the lock on the file; the inner result says whether another connection is in the way.
    pub(crate) fn lock(&self, level: Level) -> Result<Result<(), Busy>, Fault> {
        let mut state = self.state()?;
        state.disk.powered()?;
        Ok(state.locks.entry(self.file).or_default().lock(self.id, level))
    }

    /// Lowers the lock on the file. Memory, so it works without power; a lock of a dead process is gone already.
    pub(crate) fn unlock(&self, level: Level) {
        if let Ok(mut state) = self.state() {
            state.locks.entry(self.file).or_default().unlock(self.id, level);
        }
    }

    /// Whether any connection means to write.
    pub(crate) fn is_reserved(&self) -> Result<bool, Fault> {
        let state = self.state()?;
        state.disk.powered()?;
        Ok(state.locks.get(&self.file).is_some_and(FileLocks::is_reserved))
    }

    /// The start of a region of shared memory; `None` if it does not exist and shall not.
    pub(crate) fn map(&mut self, index: usize, bytes: usize, extend: bool) -> Result<Option<*const AtomicU64>, Fault> {
        let memory = match &self.shared_memory {
            Some(memory) => Arc::clone(memory),
            None => self.state()?.share_memory(self.file)?,
        };
        self.state()?.disk.powered()?;
        let region = memory.region(index, bytes, extend);
        self.shared_memory = Some(memory);
        Ok(region)
    }

    /// Locks slots of the shared memory.
    pub(crate) fn lock_shared_memory(&self, slots: Range<usize>, hold: Hold) -> Result<Result<(), Busy>, Fault> {
        self.state()?.disk.powered()?;
        let memory = self.shared_memory.as_ref().ok_or(Fault::NotFound)?;
        Ok(memory.locks().lock(self.id, slots, hold))
    }

    /// Unlocks slots of the shared memory.
    pub(crate) fn unlock_shared_memory(&self, slots: Range<usize>) {
        if let Some(memory) = &self.shared_memory {
            memory.locks().unlock(self.id, slots);
        }
    }

    /// Orders this connection's reads and writes of the shared memory with those of the others.
    pub(crate) fn barrier(&self) {
        fence(Ordering::SeqCst);
    }

    /// Lets the shared memory go, with every lock still held on it.
    pub(crate) fn unmap(&mut self) {
        self.unlock_shared_memory(0..ShmLocks::SLOTS);
        self.shared_memory = None;
    }

    /// The state, unless the process that opened this file is dead.
    fn state(&self) -> Result<MutexGuard<'_, State>, Fault> {
        let state = self.machine.state();
        if state.process == self.process { Ok(state) } else { Err(Fault::Dead) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.unmap();
        self.unlock(Level::Unlocked);
        if self.name.is_none()
            && let Ok(mut state) = self.state()
        {
            state.disk.forget(self.file);
        }
    }
}

impl State {
    fn end_process(&mut self) {
        self.locks.clear();
        self.shared_memory.clear();
        self.process += 1;
    }

    fn share_memory(&mut self, file: FileId) -> Result<Arc<SharedMemory>, Fault> {
        self.disk.powered()?;
        let mapped = self.shared_memory.get(&file).and_then(Weak::upgrade);
        let memory = mapped.unwrap_or_default();
        self.shared_memory.insert(file, Arc::downgrade(&memory));
        Ok(memory)
    }
}
