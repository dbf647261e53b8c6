//! A NATS server of a test's own, through its whole life.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use busline_brokers::nats::{CURRENT, Cluster, OLDER, Options, Server};

fn of_version(version: &str) -> Options {
    Options { version: version.into(), ..Options::default() }
}

/// Whether the server at a port says PONG within 300 ms.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout can be set");
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").expect("it can be written");
    let mut said = Vec::new();
    let mut part = [0; 4096];
    while let Ok(size @ 1..) = stream.read(&mut part) {
        said.extend_from_slice(&part[..size]);
        if said.ends_with(b"PONG\r\n") {
            return true;
        }
    }
    false
}

#[test]
fn both_versions_start_with_jetstream() {
    for version in [CURRENT, OLDER] {
        let server = Server::start(&of_version(version)).expect("a server starts");
        let info = server.info().expect("it says who it is");
        assert!(info.contains(&format!("\"version\":\"{version}\"")), "{info}");
        assert!(info.contains("\"jetstream\":true"), "{info}");
        assert!(answers(server.port()));
    }
}

#[test]
fn a_killed_server_starts_again_at_the_same_place() {
    let server = Server::start(&Options::default()).expect("a server starts");
    let port = server.port();
    server.kill().expect("it is killed");
    assert!(!answers(port) && server.pid().is_none());
    server.start_again().expect("it starts again");
    assert!(answers(port));
    server.stop().expect("it stops");
    assert!(!answers(port));
    server.start_again().expect("it starts again");
    assert_eq!(server.port(), port);
}

#[test]
fn a_paused_server_is_silent_and_goes_on() {
    let server = Server::start(&Options::default()).expect("a server starts");
    server.pause().expect("it is paused");
    assert!(!answers(server.port()));
    server.resume().expect("it is resumed");
    assert!(answers(server.port()));
}

#[test]
fn settings_are_taken_at_the_start_and_on_reload() {
    let with = |size: &str| Options { config: format!("max_payload: {size}"), ..Options::default() };
    let server = Server::start(&with("65536")).expect("a server starts");
    assert!(server.info().expect("it answers").contains("\"max_payload\":65536"));
    server.configure(&with("32768")).expect("they are written");
    server.reload().expect("they are read");
    assert!(server.info().expect("it answers").contains("\"max_payload\":32768"));
}

#[test]
fn wrong_settings_are_told_with_the_servers_words() {
    let wrong = Options { config: "no_such_setting: 1".into(), ..Options::default() };
    let error = Server::start(&wrong).expect_err("they are wrong");
    assert!(error.to_string().contains("no_such_setting") && !error.is_missing_tool(), "{error}");
}

#[test]
fn nothing_is_left_behind() {
    let server = Server::start(&Options::default()).expect("a server starts");
    let (folder, port) = (server.log().parent().expect("it has a folder").to_path_buf(), server.port());
    assert!(folder.is_dir());
    drop(server);
    assert!(!folder.exists() && !answers(port));
}

#[test]
fn three_servers_are_one_cluster_and_outlive_one() {
    let cluster = Cluster::start(&Options::default()).expect("a cluster starts");
    let nodes = cluster.nodes();
    assert_eq!(cluster.url().split(',').count(), 3);
    nodes[0].kill().expect("it is killed");
    assert!(nodes[1..].iter().all(|node| answers(node.port())));
    nodes[0].start_again().expect("it starts again");
    cluster.wait_until_ready().expect("all are there");
}
