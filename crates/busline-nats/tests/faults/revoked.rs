//! Credentials that are taken back under load, and given back.

use std::sync::Arc;
use std::time::Duration;

use busline_brokers::nats::{Options, Server};

use crate::load::{Load, STRATEGIES, driver_of};

fn users(names: &[&str]) -> Options {
    let users: Vec<String> = names.iter().map(|name| format!("{{ user: {name}, password: {name} }}")).collect();
    Options { config: format!("authorization {{ users: [ {} ] }}", users.join(", ")), ..Options::default() }
}

fn set(server: &Server, options: &Options) {
    server.configure(options).expect("written");
    server.reload().expect("read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_credentials_lose_double_and_reorder_nothing() {
    for strategy in STRATEGIES {
        let server = Arc::new(Server::start(&users(&["shop", "reader"])).expect("a server"));
        let url = |user: &str| format!("nats://{user}:{user}@127.0.0.1:{}", server.port());
        let reader = driver_of(&url("reader"), strategy).await;
        let mut load = Load::open(driver_of(&url("shop"), strategy).await, &format!("revoked-{strategy}"), 100).await;
        for _ in 0..3 {
            let revoking = Arc::clone(&server);
            let revoked = async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let work = move || {
                    set(&revoking, &users(&["reader"]));
                    std::thread::park_timeout(Duration::from_millis(700));
                    set(&revoking, &users(&["shop", "reader"]));
                };
                tokio::task::spawn_blocking(work).await.expect("the settings change");
            };
            tokio::join!(load.publish(10_000), revoked);
        }
        load.publisher().flush().await;
        let counts = load.judge(&reader, strategy).await;
        println!("{strategy}: {counts:?}");
        assert!(counts.all_acked(), "{strategy}: {counts:?}");
    }
}
