//! Servers end with the process that started them, however that one ends.
//!
//! The test runs itself as a child that starts a server, tells where, and is killed.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use busline_brokers::nats::{Options, Server};

const CHILD: &str = "BUSLINE_TEST_CHILD";

#[test]
fn a_killed_parent_leaves_no_server_and_no_folder() {
    if std::env::var_os(CHILD).is_some() {
        start_and_wait();
        return;
    }
    let this = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(this);
    child.args(["--exact", "a_killed_parent_leaves_no_server_and_no_folder", "--nocapture"]).env(CHILD, "1");
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the child starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it has an output")).lines();
    let place = lines.find_map(|line| line.expect("it is text").strip_prefix("at ").map(str::to_owned));
    let place = place.expect("the child says where its server is");
    let (port, folder) = place.split_once(' ').expect("it has two parts");
    let port: u16 = port.parse().expect("it is a port");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    child.kill().expect("the child is killed");
    child.wait().expect("it has ended");
    assert!(gone(port, Path::new(folder)), "{place} is still there");
}

/// Waits as long as it takes a busy machine to end a process and remove a folder.
#[expect(clippy::disallowed_methods, reason = "another process gives no event to wait for")]
fn gone(port: u16, folder: &Path) -> bool {
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_ok() || folder.exists() {
        if begin.elapsed() > Duration::from_secs(60) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

fn start_and_wait() {
    let server = Server::start(&Options::default()).expect("a server starts");
    // The harness has written "test NAME ... " without an end of the line.
    println!("\nat {} {}", server.port(), server.log().parent().expect("it has a folder").display());
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
}
