//! Files and folders that may not be written. Root may write everything, so then a child under another user does it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use busline_core::Result;
use busline_sqlite::{SqliteConfig, SqliteDriver};

use crate::bad_files::make_ours;
use crate::processes::{Child, argument, role};
use crate::stage::Stage;

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

#[test]
fn a_file_or_folder_that_may_not_be_written_is_denied_at_open() {
    for (name, file_mode, folder_mode, expected) in [
        ("file", 0o444, 0o777, "Denied/ReadOnly"),
        ("folder", 0o666, 0o555, "Denied/ReadOnly"),
        ("folder without a file", 0, 0o555, "Denied/ReadOnly"),
        ("file that may not be read", 0o000, 0o777, "Denied/File"),
    ] {
        let stage = Stage::new();
        if file_mode != 0 || folder_mode == 0o777 {
            make_ours(&stage.path());
            set_mode(&stage.path(), file_mode);
        }
        set_mode(stage.folder.path(), folder_mode);
        let path = stage.path().display().to_string();
        let child = &[("BUSLINE_ROLE", "read-only"), ("BUSLINE_PATH", &path), ("BUSLINE_EXPECTED", expected)];
        let status = Child::start_as(NOBODY, "read_only::in_a_process_of_another_user", child).map(Child::wait);
        set_mode(stage.folder.path(), 0o755);
        match status {
            Ok(status) => assert!(status.success(), "{name}: {status}"),
            Err(error) => return println!("skipped: no process of another user can be started: {error}"),
        }
    }
}

#[test]
fn in_a_process_of_another_user() -> Result<()> {
    if role().as_deref() != Some("read-only") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let path = argument("BUSLINE_PATH");
    let error = runtime.block_on(SqliteDriver::open(SqliteConfig::new(&path))).expect_err("denied");
    assert_eq!(error.code(), argument("BUSLINE_EXPECTED"), "{error}");
    assert!(error.to_string().contains("bus.db"), "{error}");
    Ok(())
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the owner may");
}
