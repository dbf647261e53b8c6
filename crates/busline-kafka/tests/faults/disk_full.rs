//! A broker whose disk has no room left: it ends itself, and comes back once there is room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use busline_brokers::kafka::{Options, Server};

use crate::load::{Load, all_acked, connect, judge, tell};

const TOPIC: &str = "conformance-full";

/// Room for a broker's own files, the index files that it allocates beforehand and some megabytes of records.
const DISK_MIB: u32 = 192;

/// A small disk in memory. Unmounted when it is dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// `None`: this user may mount nothing.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let size = format!("size={DISK_MIB}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path()).output();
        let mounted = mounted.is_ok_and(|mounted| mounted.status.success());
        mounted.then_some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file that takes all room but this, and so leaves the broker little.
    fn fill(&self, but_mib: u64) -> PathBuf {
        let ballast = self.path().join("ballast");
        let taken = || {
            let free = self.free_mib().saturating_sub(but_mib);
            let taken = Command::new("fallocate").args(["-l", &format!("{free}MiB")]).arg(&ballast).status();
            taken.is_ok_and(|taken| taken.success())
        };
        // The broker goes on writing, so the room may be gone between the two commands.
        assert!((0..20).any(|_| taken()), "fallocate takes the room");
        ballast
    }

    fn free_mib(&self) -> u64 {
        let said = Command::new("df").args(["-m", "--output=avail"]).arg(self.path()).output().expect("df");
        let said = String::from_utf8(said.stdout).expect("UTF-8");
        said.lines().last().and_then(|line| line.trim().parse().ok()).expect("a number of MiB")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a broker that was killed a moment ago may still be seen on it.
        drop(Command::new("umount").arg("-l").arg(self.path()).status());
    }
}

/// Waits until the broker has ended by itself.
async fn until_ended(server: &Server) {
    let ended = async {
        while server.brokers().is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), ended).await.expect("a broker without room ends itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_nothing_once_there_is_room_again() {
    let Some(disk) = Disk::mount() else {
        return println!("not run: a small disk is mounted by root only");
    };
    let logs = disk.path().join("logs");
    let properties = format!("log.dirs={}\nlog.index.size.max.bytes=1048576", logs.display());
    let server = Server::start(&Options { properties, ..Options::default() }).expect("a broker starts");
    let bus = connect(&server.bootstrap()).await;
    let patient = bus.publisher(TOPIC).deadline(Duration::from_secs(240)).open().await.expect("opens");
    let hasty = bus.publisher("conformance-full-hasty").deadline(Duration::from_secs(1)).on_failure(drop);
    let hasty = hasty.open().await.expect("opens");
    let (patient, hasty) = (Load::start(patient), Load::start(hasty));
    patient.more(1_000).await;
    hasty.more(1_000).await;
    let ballast = disk.fill(4);
    until_ended(&server).await;
    println!("the disk is full and the broker has ended, {} MiB are left", disk.free_mib());
    fs::remove_file(ballast).expect("removed");
    // It may be on its way out still.
    server.kill().expect("gone");
    let broker = &server;
    tokio::task::block_in_place(|| broker.start_again()).expect("it comes back");
    patient.more(1_000).await;
    let (patient, hasty) = (patient.end().await, hasty.end().await);
    bus.close(Duration::from_secs(10)).await.expect("closes");
    assert!(all_acked(&patient), "its deadline was never reached");
    assert!(!all_acked(&hasty), "a deadline in the outage was reported");
    for (topic, outcomes) in [(TOPIC, &patient), ("conformance-full-hasty", &hasty)] {
        judge(&server.bootstrap(), topic, outcomes);
        tell("disk full", 1, None, outcomes, None);
    }
}
