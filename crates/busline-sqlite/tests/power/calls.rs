//! The C calls of a SQLite VFS, each carried to [`super::machine`].
//!
//! What is simulated follows SQLite's `os_unix.c`: which syncs reach the folder, when a name counts as absent, which
//! lock stands in the way of which, and that small overwrites harm no byte beside them.

#![expect(unsafe_code, reason = "SQLite asks for a VFS as a table of C functions")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ops::Range;
use std::ptr;
use std::slice;

use rusqlite::ffi;

use super::disk::{Fault, FileKind};
use super::locks::{Busy, Hold, Level};
use super::machine::{Handle, Machine, MachineRef, Mode};

/// Longest path in bytes, its end mark included.
const PATH_BYTES_MAX: c_int = 1024;

/// A VFS known to SQLite by name, until this is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    vfs: *mut ffi::sqlite3_vfs,
}

// SAFETY: the pointer is used only to unregister, which SQLite serialises itself, and it stays valid for ever.
unsafe impl Send for Registration {}
// SAFETY: no method but `drop` uses the pointer, and `drop` has the only reference.
unsafe impl Sync for Registration {}

impl Registration {
    /// Makes the machine known.
    ///
    /// A connection may outlive its disk and SQLite then still reads the table, so a few hundred bytes for each
    /// registration stay behind on purpose. The machine goes with its owner and its open files.
    ///
    /// # Panics
    /// If SQLite refuses, or the name has a zero byte.
    pub(crate) fn new(name: &str, machine: MachineRef) -> Self {
        let name = CString::new(name).expect("the name has no zero byte");
        let vfs = Box::into_raw(Box::new(table(name, machine)));
        // SAFETY: the table is complete and lives for ever; 0 leaves the default VFS as it is.
        let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(code, ffi::SQLITE_OK, "SQLite refused the VFS");
        Self { vfs }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: `vfs` was registered by `new` and is never freed.
        unsafe { ffi::sqlite3_vfs_unregister(self.vfs) };
    }
}

fn table(name: CString, machine: MachineRef) -> ffi::sqlite3_vfs {
    ffi::sqlite3_vfs {
        iVersion: 2,
        szOsFile: size_of::<OpenFile>() as c_int,
        mxPathname: PATH_BYTES_MAX,
        pNext: ptr::null_mut(),
        zName: name.into_raw(),
        pAppData: Box::into_raw(Box::new(machine)).cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: Some(last_error),
        xCurrentTimeInt64: Some(current_time_int64),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }
}

/// SQLite's view of an open file. SQLite owns the memory and reads only `base`.
#[repr(C)]
struct OpenFile {
    base: ffi::sqlite3_file,
    /// Boxed by `open`, taken back by `close`.
    handle: *mut Handle,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The result of a call in SQLite's words; `dead` is the member of the `SQLITE_IOERR` family that fits the call.
fn code(result: Result<(), Fault>, dead: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(Fault::Dead | Fault::NotFound) => dead,
        Err(Fault::SyncFailed) => ffi::SQLITE_IOERR_FSYNC,
        Err(Fault::Full) => ffi::SQLITE_FULL,
    }
}

fn lock_code(result: Result<Result<(), Busy>, Fault>, dead: c_int) -> c_int {
    match result {
        Ok(Err(Busy)) => ffi::SQLITE_BUSY,
        Ok(Ok(())) => ffi::SQLITE_OK,
        Err(fault) => code(Err(fault), dead),
    }
}

fn level(lock: c_int) -> Level {
    match lock {
        ffi::SQLITE_LOCK_NONE => Level::Unlocked,
        ffi::SQLITE_LOCK_SHARED => Level::Shared,
        ffi::SQLITE_LOCK_RESERVED => Level::Reserved,
        ffi::SQLITE_LOCK_PENDING => Level::Pending,
        ffi::SQLITE_LOCK_EXCLUSIVE => Level::Exclusive,
        unknown => panic!("SQLite has no lock {unknown}"),
    }
}

fn kind(flags: c_int) -> FileKind {
    if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
        FileKind::Main
    } else if flags & ffi::SQLITE_OPEN_WAL != 0 {
        FileKind::Wal
    } else if flags & (ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL) != 0 {
        FileKind::Journal
    } else {
        FileKind::Temp
    }
}

fn mode(flags: c_int) -> Mode {
    if flags & ffi::SQLITE_OPEN_EXCLUSIVE != 0 {
        Mode::CreateNew
    } else if flags & ffi::SQLITE_OPEN_CREATE != 0 {
        Mode::Create
    } else {
        Mode::Existing
    }
}

fn slots(offset: c_int, count: c_int) -> Range<usize> {
    offset as usize..(offset + count) as usize
}

/// The machine behind a VFS.
///
/// # Safety
/// `vfs` comes from `Registration::new`.
unsafe fn machine(vfs: *mut ffi::sqlite3_vfs) -> Option<Machine> {
    // SAFETY: `table` put a reference there that is never freed.
    unsafe { (*(*vfs).pAppData.cast::<MachineRef>()).upgrade() }
}

/// The file behind SQLite's.
///
/// # Safety
/// `file` was opened by `open`, is not closed, and no other reference to its handle is in use. SQLite promises the
/// last: a connection, and so each of its files, is used by one thread at a time.
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Handle {
    // SAFETY: SQLite's file is the first field of ours, and `open` put a boxed handle there.
    unsafe { &mut *(*file.cast::<OpenFile>()).handle }
}

/// A path as text.
///
/// # Safety
/// `path` is a zero-ended string that outlives the answer.
unsafe fn text<'a>(path: *const c_char) -> &'a str {
    // SAFETY: see above.
    let path = unsafe { CStr::from_ptr(path) };
    path.to_str().expect("tests use UTF-8 paths")
}

/// # Safety
/// Called by SQLite with a registered VFS, room for an `OpenFile`, and a path or null for a temporary file.
unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let file = file.cast::<OpenFile>();
    // SAFETY: the room is SQLite's to lend and ours to fill. Without methods SQLite will not close the file.
    unsafe { (*file).base.pMethods = ptr::null() };
    let nameless = path.is_null() || flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0;
    // SAFETY: the path is not null here, and it is SQLite's for the length of this call.
    let name = (!nameless).then(|| unsafe { text(path) });
    // SAFETY: the VFS is ours.
    let Some(machine) = (unsafe { machine(vfs) }) else {
        return ffi::SQLITE_CANTOPEN;
    };
    let handle = match machine.open(name, kind(flags), mode(flags)) {
        Ok(handle) => handle,
        Err(Fault::Dead) => return ffi::SQLITE_IOERR,
        Err(_) => return ffi::SQLITE_CANTOPEN,
    };
    // SAFETY: as above; `flags_out` is null or SQLite's to fill.
    unsafe {
        (*file).handle = Box::into_raw(Box::new(handle));
        (*file).base.pMethods = &raw const METHODS;
        if let Some(flags_out) = flags_out.as_mut() {
            *flags_out = flags;
        }
    }
    ffi::SQLITE_OK
}

/// # Safety
/// Called by SQLite with a registered VFS and a path.
unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, path: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: the VFS is ours, the path SQLite's for the length of this call.
    let (machine, name) = unsafe { (machine(vfs), text(path)) };
    let result = machine.ok_or(Fault::Dead).and_then(|it| it.delete(name, sync_folder & 1 != 0));
    match result {
        Err(Fault::NotFound) => ffi::SQLITE_IOERR_DELETE_NOENT,
        other => code(other, ffi::SQLITE_IOERR_DELETE),
    }
}

/// # Safety
/// Called by SQLite with a registered VFS, a path, and a place for the answer.
unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    flags: c_int,
    answer: *mut c_int,
) -> c_int {
    // SAFETY: the VFS is ours, the path SQLite's for the length of this call.
    let (machine, name) = unsafe { (machine(vfs), text(path)) };
    let len = machine.ok_or(Fault::Dead).and_then(|machine| machine.len_of(name));
    let result = len.map(|len| {
        // An empty file counts as absent: SQLite's unix code says so, to ignore a journal cut off at its creation.
        let is_there = len.is_some_and(|len| len > 0 || flags != ffi::SQLITE_ACCESS_EXISTS);
        // SAFETY: the answer is SQLite's to lend and ours to fill.
        unsafe { *answer = c_int::from(is_there) };
    });
    code(result, ffi::SQLITE_IOERR_ACCESS)
}

/// Paths are taken as they come: there is no current folder.
///
/// # Safety
/// Called by SQLite with a path and room for `room` bytes.
unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    room: c_int,
    full: *mut c_char,
) -> c_int {
    // SAFETY: the path is SQLite's for the length of this call.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes_with_nul();
    if bytes.len() > room as usize {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: there is room for the bytes, and SQLite's two buffers do not overlap.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr().cast(), full, bytes.len()) };
    ffi::SQLITE_OK
}

/// The VFS of the operating system, for what is no matter of disks.
fn system() -> &'static ffi::sqlite3_vfs {
    // SAFETY: null asks for the default VFS, which every build of SQLite has and never frees.
    unsafe { &*ffi::sqlite3_vfs_find(ptr::null()) }
}

/// # Safety
/// Called by SQLite with room for `count` bytes.
unsafe extern "C" fn randomness(_vfs: *mut ffi::sqlite3_vfs, count: c_int, out: *mut c_char) -> c_int {
    let call = system().xRandomness.expect("the default VFS is complete");
    // SAFETY: SQLite's own arguments go on to SQLite's own VFS.
    unsafe { call(ptr::from_ref(system()).cast_mut(), count, out) }
}

/// # Safety
/// Called by SQLite.
unsafe extern "C" fn sleep(_vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    let call = system().xSleep.expect("the default VFS is complete");
    // SAFETY: SQLite's own arguments go on to SQLite's own VFS.
    unsafe { call(ptr::from_ref(system()).cast_mut(), microseconds) }
}

/// # Safety
/// Called by SQLite with a place for the answer.
unsafe extern "C" fn current_time(_vfs: *mut ffi::sqlite3_vfs, days: *mut f64) -> c_int {
    let call = system().xCurrentTime.expect("the default VFS is complete");
    // SAFETY: SQLite's own arguments go on to SQLite's own VFS.
    unsafe { call(ptr::from_ref(system()).cast_mut(), days) }
}

/// # Safety
/// Called by SQLite with a place for the answer.
unsafe extern "C" fn current_time_int64(_vfs: *mut ffi::sqlite3_vfs, milliseconds: *mut ffi::sqlite3_int64) -> c_int {
    let call = system().xCurrentTimeInt64.expect("the default VFS is complete");
    // SAFETY: SQLite's own arguments go on to SQLite's own VFS.
    unsafe { call(ptr::from_ref(system()).cast_mut(), milliseconds) }
}

/// # Safety
/// Called by SQLite; nothing is read or written.
unsafe extern "C" fn last_error(_vfs: *mut ffi::sqlite3_vfs, _room: c_int, _text: *mut c_char) -> c_int {
    0
}

/// # Safety
/// Called by SQLite, once, with a file that `open` opened.
unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let file = file.cast::<OpenFile>();
    // SAFETY: `open` boxed the handle and nobody has taken it back; without methods SQLite calls no more.
    unsafe {
        drop(Box::from_raw((*file).handle));
        (*file).base.pMethods = ptr::null();
    }
    ffi::SQLITE_OK
}

/// # Safety
/// Called by SQLite with an open file and room for `count` bytes.
unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    count: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: the file is open, and the buffer is SQLite's to lend and ours to fill.
    let (handle, into) = unsafe { (handle(file), slice::from_raw_parts_mut(buffer.cast(), count as usize)) };
    match handle.read(at as usize, into) {
        Ok(true) => ffi::SQLITE_OK,
        Ok(false) => ffi::SQLITE_IOERR_SHORT_READ,
        Err(fault) => code(Err(fault), ffi::SQLITE_IOERR_READ),
    }
}

/// # Safety
/// Called by SQLite with an open file and `count` bytes.
unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    count: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: the file is open, and the bytes are SQLite's for the length of this call.
    let (handle, bytes) = unsafe { (handle(file), slice::from_raw_parts(buffer.cast(), count as usize)) };
    code(handle.write(at as usize, bytes), ffi::SQLITE_IOERR_WRITE)
}

/// # Safety
/// Called by SQLite with an open file.
unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: ffi::sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    let handle = unsafe { handle(file) };
    code(handle.truncate(len as usize), ffi::SQLITE_IOERR_TRUNCATE)
}

/// # Safety
/// Called by SQLite with an open file.
unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let handle = unsafe { handle(file) };
    code(handle.sync(), ffi::SQLITE_IOERR_FSYNC)
}

/// # Safety
/// Called by SQLite with an open file and a place for the answer.
unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, answer: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    let len = unsafe { handle(file) }.len();
    // SAFETY: the answer is SQLite's to lend and ours to fill.
    let result = len.map(|len| unsafe { *answer = len as ffi::sqlite3_int64 });
    code(result, ffi::SQLITE_IOERR_FSTAT)
}

/// # Safety
/// Called by SQLite with an open file.
unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, wanted: c_int) -> c_int {
    // SAFETY: the file is open.
    let handle = unsafe { handle(file) };
    lock_code(handle.lock(level(wanted)), ffi::SQLITE_IOERR_LOCK)
}

/// # Safety
/// Called by SQLite with an open file.
unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, wanted: c_int) -> c_int {
    // SAFETY: the file is open.
    unsafe { handle(file) }.unlock(level(wanted));
    ffi::SQLITE_OK
}

/// # Safety
/// Called by SQLite with an open file and a place for the answer.
unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, answer: *mut c_int) -> c_int {
    // SAFETY: the file is open.
    let reserved = unsafe { handle(file) }.is_reserved();
    // SAFETY: the answer is SQLite's to lend and ours to fill.
    let result = reserved.map(|reserved| unsafe { *answer = c_int::from(reserved) });
    code(result, ffi::SQLITE_IOERR_CHECKRESERVEDLOCK)
}

/// # Safety
/// Called by SQLite; nothing is read or written.
unsafe extern "C" fn file_control(_file: *mut ffi::sqlite3_file, _operation: c_int, _argument: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

/// # Safety
/// Called by SQLite; nothing is read or written.
unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    4096
}

/// What SQLite assumes on unix, so that the log is laid out as in production.
///
/// # Safety
/// Called by SQLite; nothing is read or written.
unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE | ffi::SQLITE_IOCAP_SUBPAGE_READ
}

/// # Safety
/// Called by SQLite with an open file and a place for the answer.
unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    index: c_int,
    bytes: c_int,
    extend: c_int,
    answer: *mut *mut c_void,
) -> c_int {
    // SAFETY: the file is open.
    let region = unsafe { handle(file) }.map(index as usize, bytes as usize, extend != 0);
    let result = region.map(|region| {
        let start = region.map_or(ptr::null_mut(), |cells| cells.cast_mut().cast());
        // SAFETY: the answer is SQLite's to lend and ours to fill. The cells are atomics, so writing through the
        // pointer is allowed, and this handle keeps them in place until SQLite unmaps or closes.
        unsafe { *answer = start };
    });
    code(result, ffi::SQLITE_IOERR_SHMMAP)
}

/// # Safety
/// Called by SQLite with an open file.
unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let handle = unsafe { handle(file) };
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        handle.unlock_shared_memory(slots(offset, count));
        return ffi::SQLITE_OK;
    }
    let exclusive = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
    let hold = if exclusive { Hold::Exclusive } else { Hold::Shared };
    lock_code(handle.lock_shared_memory(slots(offset, count), hold), ffi::SQLITE_IOERR_SHMLOCK)
}

/// # Safety
/// Called by SQLite with an open file.
unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: the file is open.
    unsafe { handle(file) }.barrier();
}

/// The memory goes with its last mapping whatever the flag says: it has no file to delete.
///
/// # Safety
/// Called by SQLite with an open file.
unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    // SAFETY: the file is open.
    unsafe { handle(file) }.unmap();
    ffi::SQLITE_OK
}
