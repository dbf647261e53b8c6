//! A disk that is really full: a small file system under the server's store.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use busline_brokers::nats::{Options, Server};

use crate::load::{Load, STRATEGIES, driver};

/// What the store may take, and what else lies on its disk until somebody makes room.
const DISK_MIB: usize = 24;
const BALLAST_MIB: usize = 12;

/// A file system of memory over a folder. Goes with the value, also under a server that still writes.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// `Err`: why there can be none here.
    fn over(folder: PathBuf) -> Result<Self, String> {
        let size = format!("size={DISK_MIB}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "busline-small-disk"]).arg(&folder).output();
        match mount {
            Ok(done) if done.status.success() => Ok(Self { folder }),
            Ok(done) => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
            Err(error) => Err(format!("mount: {error}")),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    fn fill(&self) {
        std::fs::write(self.ballast(), vec![0; BALLAST_MIB << 20]).expect("there is room");
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).expect("it lies there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.folder).status());
    }
}

fn store(server: &Server) -> PathBuf {
    server.log().parent().map(Path::to_path_buf).expect("a folder").join("nats-store")
}

async fn full_disk(strategy: &str) {
    let server = Server::start(&Options::default()).expect("a server");
    server.stop().expect("it ran");
    let disk = match SmallDisk::over(store(&server)) {
        Ok(disk) => disk,
        Err(why) => return println!("skipped: no file system can be mounted here: {why}"),
    };
    disk.fill();
    server.start_again().expect("it starts on an empty store");
    let reader = driver(server.port(), strategy).await;
    let (topic, deadline) = (format!("disk-{strategy}"), Duration::from_secs(5));
    let mut load = Load::open_for(driver(server.port(), strategy).await, &topic, 50, deadline).await;
    load.publish(30_000).await;
    load.publish_large(100, 100_000).await;
    load.publisher().flush().await;
    let causes = load.causes().await;
    println!("{strategy}: {causes:?}");
    assert!(!causes.is_empty(), "{strategy}: the disk is full");
    disk.make_room();
    if tokio::time::timeout(Duration::from_secs(20), load.until_acked()).await.is_err() {
        println!("{strategy}: the server does not write again before it is started anew");
        server.kill().expect("it ran");
        server.start_again().expect("it starts on its store");
        tokio::time::timeout(Duration::from_secs(60), load.until_acked()).await.expect("publishing goes on");
    }
    load.publish(2_000).await;
    load.publisher().flush().await;
    let counts = load.judge(&reader, strategy).await;
    println!("{strategy}: {counts:?}");
    assert!(counts.failed + counts.indeterminate > 0 && counts.acked > 2_000, "{strategy}: {counts:?}");
    drop((server, disk));
}

/// What was acked is there, whatever else was not stored has an outcome that names its cause, and once there is room again
/// publishing goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_loses_doubles_and_reorders_nothing() {
    for strategy in STRATEGIES {
        full_disk(strategy).await;
    }
}
