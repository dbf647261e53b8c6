//! A driver that is closed while somebody still has its sinks.

use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_core::{Driver, Positions, SinkRequest, TopicName, TopicSpec};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::load::{STRATEGIES, driver};

const SOON: Duration = Duration::from_secs(30);

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_the_driver_ends_sinks_that_were_left() {
    let server = Server::start(&Options::default()).expect("a server");
    for strategy in STRATEGIES {
        let driver = driver(server.port(), strategy).await;
        let name = TopicName::new(&format!("left-{strategy}")).expect("legal");
        let topic = driver.create_topic(&name, &TopicSpec::default()).await.expect("made");
        let before = tasks();
        let request = SinkRequest { topic, positions: Positions::Any, deduplicate: None };
        let first = driver.sink(request.clone()).await.expect("opens");
        let second = driver.sink(request.clone()).await.expect("opens");
        assert_eq!(tasks(), before + 2, "each has a task");
        // One was told to close, and nobody waits for it.
        drop(second.close(Instant::now() + SOON));
        driver.close(Instant::now() + SOON).await.expect("closes");
        let end = Instant::now() + SOON;
        while tasks() > before {
            assert!(Instant::now() < end, "{strategy}: {} tasks instead of {before}", tasks());
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(driver.sink(request).await.expect_err("closed").code(), "Closed/Bus");
        drop((first, second));
    }
}
