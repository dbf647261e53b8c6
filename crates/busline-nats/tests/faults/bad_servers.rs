//! Servers that are not there, refuse the client, or are none.

use std::sync::Arc;
use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_core::{Bus, Driver, Envelope, Error};
use busline_nats::{NatsConfig, NatsDriver};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

async fn refused(url: &str) -> Error {
    let mut config = NatsConfig::from_url(url).expect("a legal URL");
    config.connect_timeout = Duration::from_millis(500);
    config.patience = Duration::from_secs(2);
    let opened = tokio::time::timeout(Duration::from_secs(20), NatsDriver::open(config)).await.expect("an answer");
    let error = opened.expect_err("refused");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("hunter2"), "a secret is never printed: {text}");
    assert!(!error.to_string().contains('\n'), "one line: {error}");
    error
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let unused = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port").local_addr().expect("an address").port();
    assert_eq!(refused(&format!("nats://user:hunter2@127.0.0.1:{unused}")).await.code(), "Unavailable/Server");
}

#[tokio::test]
async fn a_server_that_says_nothing_or_nonsense_is_told_apart() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    assert_eq!(refused(&format!("nats://127.0.0.1:{port}")).await.code(), "Unavailable/Server");
    let task = tokio::runtime::Handle::current().spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            drop(socket.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await);
        }
    });
    assert!(matches!(
        &*refused(&format!("nats://127.0.0.1:{port}")).await.code(),
        "Unavailable/Server" | "Corrupt/Protocol"
    ));
    task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_open_the_door_and_wrong_ones_do_not() {
    let config = "authorization { user: shop, password: \"hunter2\" }".into();
    let server = Server::start(&Options { config, ..Options::default() }).expect("a server");
    let port = server.port();
    for url in [
        format!("nats://127.0.0.1:{port}"),
        format!("nats://shop:hunter2x@127.0.0.1:{port}"),
        format!("nats://hunter2@127.0.0.1:{port}"),
    ] {
        assert_eq!(refused(&url).await.code(), "Denied/Credentials", "{url}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\n").expect("written");
    for url in [
        format!("nats://shop:hunter2@127.0.0.1:{port}"),
        format!("nats://127.0.0.1:{port}?user=shop&password_file={}", file.display()),
    ] {
        let driver = NatsDriver::open(NatsConfig::from_url(&url).expect("legal")).await.expect(&url);
        assert!(!format!("{driver:?}").contains("hunter2"), "{driver:?}");
        driver.probe().await.expect("it answers");
        driver.close(tokio::time::Instant::now() + Duration::from_secs(5)).await.expect("closes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_user_may_not_publish_fails_for_certain() {
    let config = "authorization { users: [ { user: all, password: a },
        { user: shop, password: b, permissions: { publish: { deny: \"secret.>\" } } } ] }";
    let server = Server::start(&Options { config: config.into(), ..Options::default() }).expect("a server");
    let open = async |user: &str, strategy: &str| {
        let url = format!("nats://{user}@127.0.0.1:{}?strategy={strategy}", server.port());
        Bus::new(Arc::new(NatsDriver::open(NatsConfig::from_url(&url).expect("legal")).await.expect("opens")))
    };
    for strategy in crate::load::STRATEGIES {
        let all = open("all:a", strategy).await;
        let event = || Envelope::new("k", "Happened", 1).json(&1).expect("json");
        all.publisher("secret")
            .open()
            .await
            .expect("opens")
            .publish(event())
            .await
            .expect("taken")
            .await
            .expect("acked");
        let shop = open("shop:b", strategy).await;
        let secret = shop.publisher("secret").on_failure(drop).open().await.expect("opens");
        let error = secret.publish(event()).await.expect("taken").await.expect_err("denied");
        assert_eq!(error.code(), "Denied/Publish", "{error}");
        assert!(error.is_definite(), "{error}");
        shop.publisher("open")
            .open()
            .await
            .expect("opens")
            .publish(event())
            .await
            .expect("taken")
            .await
            .expect("acked");
        for bus in [all, shop] {
            bus.close(Duration::from_secs(5)).await.expect("closes");
        }
    }
}
