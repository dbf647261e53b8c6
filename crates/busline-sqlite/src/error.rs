//! From SQLite's result codes to the bus's errors: one mapping, by code, never by text.

use busline_core::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// What a result code of SQLite means to whoever asked for the write or the read.
///
/// The error is definite; who cannot say whether a commit took place makes it indeterminate.
pub(crate) fn from_sqlite(error: rusqlite::Error) -> Error {
    let code = error.sqlite_error_code();
    let mapped = match code {
        // PROTOCOL: a lock of the -wal changed hands too often while this connection tried to get in.
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            Error::new(ErrorKind::Unavailable, "Locked").next("end the program that keeps the file locked")
        }
        Some(ErrorCode::DiskFull) => Error::new(ErrorKind::Unavailable, "DiskFull")
            .next("free space or raise the size limit, then publish again"),
        Some(ErrorCode::ReadOnly) => {
            Error::new(ErrorKind::Denied, "ReadOnly").next("make file and folder writable for this user")
        }
        Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen | ErrorCode::AuthorizationForStatementDenied) => {
            Error::new(ErrorKind::Denied, "File").next("grant access to file and folder")
        }
        Some(ErrorCode::SystemIoFailure) => {
            Error::new(ErrorKind::Unavailable, "Io").next("check the disk and the system's log")
        }
        Some(ErrorCode::NotADatabase) => {
            Error::invalid("NotABuslineFile").next("name a file that Busline made, or a new one")
        }
        // A constraint: a row stands where the ends of the partitions say that there is none.
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::ConstraintViolation) => {
            Error::new(ErrorKind::Corrupt, "Store").next("restore the file from a copy made with VACUUM INTO")
        }
        Some(ErrorCode::TooBig) => Error::new(ErrorKind::TooLarge, "Record").next("publish smaller envelopes"),
        Some(ErrorCode::OutOfMemory) => {
            Error::new(ErrorKind::Unavailable, "Memory").next("give the process more memory")
        }
        _ => Error::new(ErrorKind::Internal, "Sqlite").next("report this with the text before it"),
    };
    mapped.because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn each_code_has_its_kind_and_reason() {
        for (code, expected) in [
            (ffi::SQLITE_BUSY, "Unavailable/Locked"),
            (ffi::SQLITE_LOCKED, "Unavailable/Locked"),
            (ffi::SQLITE_PROTOCOL, "Unavailable/Locked"),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, "Corrupt/Store"),
            (ffi::SQLITE_FULL, "Unavailable/DiskFull"),
            (ffi::SQLITE_READONLY, "Denied/ReadOnly"),
            (ffi::SQLITE_CANTOPEN, "Denied/File"),
            (ffi::SQLITE_PERM, "Denied/File"),
            (ffi::SQLITE_IOERR_FSYNC, "Unavailable/Io"),
            (ffi::SQLITE_NOTADB, "Invalid/NotABuslineFile"),
            (ffi::SQLITE_CORRUPT, "Corrupt/Store"),
            (ffi::SQLITE_TOOBIG, "TooLarge/Record"),
            (ffi::SQLITE_NOMEM, "Unavailable/Memory"),
            (ffi::SQLITE_MISUSE, "Internal/Sqlite"),
        ] {
            let error = from_sqlite(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert_eq!(error.code(), expected);
            assert!(error.is_definite());
        }
    }
}
