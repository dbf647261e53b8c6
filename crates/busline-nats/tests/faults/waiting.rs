//! What waits behind a record of its key whose fate is not known.

use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_core::{Error, ErrorKind};

use crate::load::{Load, driver};
use crate::proxy::Proxy;

const KEYS: u64 = 1;

/// The outcome of one more envelope, which is an error, and the envelope's id.
async fn refused(load: &mut Load) -> (Error, String) {
    load.publish(1).await;
    let id = load.last_id().to_owned();
    (load.last_outcome().await.expect_err("nothing is answered"), id)
}

/// A first record is on its way when nothing passes any more. A second one of its key waits behind it until its deadline,
/// and so does a third: as long as the first may be stored late, nothing of the key is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_fails_while_it_waits_does_not_free_its_key() {
    let server = Server::start(&Options::default()).expect("a server");
    let reader = driver(server.port(), "pipelined").await;
    let proxy = Proxy::start(server.port()).await;
    // Three of them are shorter than the time after which the sink gives a silent connection up.
    let deadline = Duration::from_secs(1);
    let mut load = Load::open_for(driver(proxy.port(), "pipelined").await, "waiting", KEYS, deadline).await;
    load.publish(1).await;
    load.publisher().flush().await;
    proxy.hold_back(true);
    let (first, id) = refused(&mut load).await;
    assert!(!first.is_definite() && proxy.has_held(id.as_bytes()), "it was sent: {first}");
    for _ in 0..2 {
        let (behind, id) = refused(&mut load).await;
        assert!(behind.is_definite() && behind.kind() == ErrorKind::Timeout, "it waited: {behind}");
        assert!(!proxy.has_held(id.as_bytes()), "nothing is sent behind a record that may be stored late");
    }
    proxy.hold_back(false);
    load.until_acked().await;
    let counts = load.judge(&reader, "waiting").await;
    assert!(counts.acked >= 2 && counts.failed >= 2 && counts.indeterminate >= 1, "{counts:?}");
}
