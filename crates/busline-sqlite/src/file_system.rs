//! Which file systems can hold the database.
//!
//! The `-wal` needs memory that all processes share, and locks that hold between them. A file system that other machines
//! write to gives neither, and SQLite finds out by damage only.

use std::path::Path;

use busline_core::{Error, ErrorKind, Result};

/// Checks that the folder lies on a file system of this machine.
///
/// # Errors
/// `Unsupported/NetworkFileSystem` with its name; `Denied/File` if the system does not say.
///
/// # Source
/// The SQLite manual on write-ahead logging: all processes must be on the same host computer.
pub(crate) fn check(folder: &Path) -> Result<()> {
    match kind_of(folder)? {
        Some(network) => Err(refused(network)),
        None => Ok(()),
    }
}

fn refused(network: &str) -> Error {
    Error::new(ErrorKind::Unsupported, "NetworkFileSystem")
        .cause(format!("the folder lies on {network}, which other machines may write to"))
        .next("put the file on a local disk")
}

#[cfg(target_os = "linux")]
fn kind_of(folder: &Path) -> Result<Option<&'static str>> {
    let found = rustix::fs::statfs(folder)
        .map_err(|error| Error::new(ErrorKind::Denied, "File").because(error).next("grant access to the folder"))?;
    let magic = found.f_type as u64;
    Ok(network_name(magic).or_else(|| if magic == FUSE { fuse_network_name(folder) } else { None }))
}

/// The number of every file system that a program serves: local ones, such as those of containers, and remote ones.
#[cfg(target_os = "linux")]
const FUSE: u64 = 0x6573_5546;

/// The name of the program that serves this folder, if it serves what lies on other machines. One that cannot be told
/// passes: where memory cannot be shared, `Unsupported/NoWal` refuses it later.
#[cfg(target_os = "linux")]
fn fuse_network_name(folder: &Path) -> Option<&'static str> {
    let device = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(folder).ok()?);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    remote_program(&mounts, &format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
}

/// The program in the line of this device, `major:minor`, as `proc_pid_mountinfo(5)` writes it.
#[cfg(target_os = "linux")]
fn remote_program(mounts: &str, device: &str) -> Option<&'static str> {
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(device))?;
    let kind = line.split_once(" - ")?.1.split(' ').next()?;
    FUSE_REMOTE.into_iter().find(|remote| *remote == kind)
}

#[cfg(target_os = "linux")]
const FUSE_REMOTE: [&str; 8] = [
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.rclone",
    "fuse.glusterfs",
    "fuse.ceph-fuse",
    "fuse.gcsfuse",
    "fuse.juicefs",
    "fuse.curlftpfs",
];

#[cfg(not(target_os = "linux"))]
fn kind_of(_folder: &Path) -> Result<Option<&'static str>> {
    Ok(None)
}

/// The name of a network file system by the number that `statfs` gives; `None` for any other.
///
/// 9P passes: sandboxes and virtual machines carry local folders over it.
#[cfg(target_os = "linux")]
fn network_name(magic: u64) -> Option<&'static str> {
    // The kernel has these as 32 bits, and some processors give them with a sign.
    NETWORK.iter().find(|(known, _)| u64::from(*known) == magic & 0xffff_ffff).map(|(_, name)| *name)
}

/// Numbers and names.
///
/// # Source
/// `statfs(2)` and the kernel's `linux/magic.h`; those of CIFS, SMB2, Ceph, GFS2 and OCFS2 from their own headers.
#[cfg(target_os = "linux")]
const NETWORK: [(u32, &str); 12] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
];

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_other_machines_are_refused_by_name() {
        for (magic, name) in [
            (0x6969, "NFS"),
            (0x517b, "SMB"),
            (0xff53_4d42, "CIFS"),
            (0xffff_ffff_ff53_4d42, "CIFS"),
            (0xfe53_4d42, "SMB2"),
            (0x00c3_6400, "Ceph"),
        ] {
            let error = refused(network_name(magic).expect(name)).at("open", "sqlite:/mnt/bus.db");
            assert_eq!(
                error.to_string(),
                format!(
                    "open sqlite:/mnt/bus.db: Unsupported/NetworkFileSystem: the folder lies on {name}, which other \
                     machines may write to; put the file on a local disk"
                )
            );
        }
    }

    #[test]
    fn file_systems_of_this_machine_pass() {
        for (magic, name) in [
            (0xef53, "ext4"),
            (0x5846_5342, "XFS"),
            (0x9123_683e, "Btrfs"),
            (0x0102_1994, "tmpfs"),
            (0x794c_7630, "overlayfs"),
            (0x2fc1_2fc1, "ZFS"),
            (0xf2f5_2010, "F2FS"),
            (0x0102_1997, "9P"),
            (FUSE, "FUSE"),
            (0, "none"),
        ] {
            assert_eq!(network_name(magic), None, "{name}");
        }
        let mounts = "22 1 0:20 / / rw - ext4 /dev/vda rw\n36 22 0:41 / /mnt/a rw,nosuid shared:1 - fuse.sshfs shop@host: rw\n\
                      37 22 0:42 / /mnt/b rw - fuse.fuse-overlayfs none rw\n38 22 0:43 / /mnt/c rw - fuse /dev/fuse rw\n";
        assert_eq!(remote_program(mounts, "0:41"), Some("fuse.sshfs"));
        for device in ["0:20", "0:42", "0:43", "0:4", "9:9"] {
            assert_eq!(remote_program(mounts, device), None, "{device}");
        }
        check(Path::new("/")).expect("the root of this machine");
        assert_eq!(check(Path::new("/no/such/folder")).expect_err("no folder").code(), "Denied/File");
    }
}
