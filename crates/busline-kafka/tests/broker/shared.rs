//! The broker that a process of tests shares.

use std::path::PathBuf;
use std::sync::OnceLock;

use busline_brokers::kafka::{Options, Server};

/// Hosts and ports of the broker.
pub(crate) fn bootstrap() -> String {
    if let Ok(given) = std::env::var("BUSLINE_TEST_KAFKA") {
        return given.trim_start_matches("kafka://").to_owned();
    }
    // A case that runs alone is a child of the process that has the broker.
    if std::env::var_os("BUSLINE_CONFORMANCE_ALONE").is_some() {
        return std::fs::read_to_string(noted(std::os::unix::process::parent_id())).expect("the parent's note");
    }
    server().bootstrap()
}

/// This process's own broker.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::start(&Options::default()).expect("a broker starts");
        std::fs::write(noted(std::process::id()), server.bootstrap()).expect("a note of its address");
        server
    })
}

/// Where a process notes the address of its broker for its children.
fn noted(process: u32) -> PathBuf {
    std::env::temp_dir().join(format!("busline-kafka-of-{process}"))
}

/// The broker's port on the loopback.
pub(crate) fn port() -> u16 {
    let bootstrap = bootstrap();
    bootstrap.rsplit(':').next().and_then(|port| port.parse().ok()).expect("host:port of a broker on this machine")
}
