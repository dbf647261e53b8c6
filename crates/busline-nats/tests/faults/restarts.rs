//! A server that is killed, or frozen, under load.

use std::sync::Arc;
use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_conformance::{fault_rounds, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::load::{Load, STRATEGIES, driver};

/// How long the server stands still in each of its pauses: first for longer than an answer is waited for, so that the sinks
/// give the connection up, and in a long run 1 to 8 s more than once.
fn pauses(dice: &mut StdRng) -> Vec<Duration> {
    let mut pauses = vec![Duration::from_millis(6_500)];
    pauses.extend((1..fault_rounds(1)).map(|_| Duration::from_millis(dice.random_range(1_000..8_000))));
    pauses
}

/// Does this to the server, off the runtime's workers, while something is published.
async fn meanwhile(server: &Arc<Server>, after: Duration, fault: impl FnOnce(&Server) + Send + 'static) {
    let server = Arc::clone(server);
    tokio::time::sleep(after).await;
    tokio::task::spawn_blocking(move || fault(&server)).await.expect("the fault happens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_doubles_and_reorders_nothing() {
    let seed = seed();
    let mut dice = StdRng::seed_from_u64(seed);
    for strategy in STRATEGIES {
        let server = Arc::new(Server::start(&Options::default()).expect("a server"));
        let reader = driver(server.port(), strategy).await;
        let mut load =
            Load::open_patient(driver(server.port(), strategy).await, &format!("kills-{strategy}"), 200).await;
        let kills = fault_rounds(4);
        for _ in 0..kills {
            let kill = meanwhile(&server, Duration::from_millis(dice.random_range(1..60)), |server| {
                server.kill().expect("it ran");
                server.start_again().expect("it starts on its store");
            });
            tokio::join!(load.publish(dice.random_range(2_000..20_000)), kill);
        }
        load.publisher().flush().await;
        let counts = load.judge(&reader, strategy).await;
        counts.tell(format!("killed, {strategy}"), kills, Some(seed));
        assert!(counts.all_acked(), "{strategy}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_goes_on_where_it_was() {
    let seed = seed();
    let mut dice = StdRng::seed_from_u64(seed);
    for strategy in STRATEGIES {
        let server = Arc::new(Server::start(&Options::default()).expect("a server"));
        let reader = driver(server.port(), strategy).await;
        let mut load =
            Load::open_patient(driver(server.port(), strategy).await, &format!("frozen-{strategy}"), 100).await;
        let pauses = pauses(&mut dice);
        let count = pauses.len() as u64;
        for pause in pauses {
            load.publish(1_000).await;
            let thaw = meanwhile(&server, Duration::from_millis(dice.random_range(0..30)), move |server| {
                server.pause().expect("it ran");
                std::thread::park_timeout(pause);
                server.resume().expect("it is there");
            });
            tokio::join!(load.publish(20_000), thaw);
        }
        load.publisher().flush().await;
        let counts = load.judge(&reader, strategy).await;
        counts.tell(format!("frozen, {strategy}"), count, Some(seed));
        assert!(counts.all_acked(), "{strategy}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_settled_is_reported_by_its_deadline_and_found_out_afterwards() {
    for strategy in STRATEGIES {
        let server = Arc::new(Server::start(&Options::default()).expect("a server"));
        let reader = driver(server.port(), strategy).await;
        let topic = format!("overdue-{strategy}");
        let deadline = Duration::from_secs(1);
        let mut load = Load::open_for(driver(server.port(), strategy).await, &topic, 10, deadline).await;
        load.publish(100).await;
        load.publisher().flush().await;
        server.pause().expect("it ran");
        load.publish(50).await;
        tokio::time::timeout(Duration::from_secs(5), load.publisher().flush()).await.expect("in time");
        server.resume().expect("it is there");
        // Of the same keys: they wait until it is known what became of those before.
        tokio::time::timeout(Duration::from_secs(20), load.until_acked()).await.expect("it flows again");
        load.publish(100).await;
        load.publisher().flush().await;
        let counts = load.judge(&reader, strategy).await;
        println!("{strategy}: {counts:?}");
        assert!(counts.failed + counts.indeterminate >= 50, "{strategy}: {counts:?}");
        assert!(counts.acked >= 200, "{strategy}: {counts:?}");
    }
}
