//! What every sink does whatever its kind, on a real server.

use std::sync::Arc;

use busline_brokers::nats::{Options, Server};
use busline_core::{Bus, Driver, Envelope, Offset, Partition, ReadRequest, TopicName, TopicSpec, partition_of};
use busline_nats::{NatsConfig, NatsDriver};

const STRATEGIES: [&str; 2] = ["fast", "pipelined"];

async fn driver(server: &Server, strategy: &str) -> Arc<NatsDriver> {
    let config = NatsConfig::from_url(&format!("{}?strategy={strategy}", server.url())).expect("a legal URL");
    Arc::new(NatsDriver::open(config).await.expect("the server is there"))
}

fn envelope(key: &str, version: u64) -> Envelope {
    Envelope::new(key, "Happened", version).json(&version).expect("json")
}

/// On one thread, so that both batches are handed over before the sink's task sees the first.
#[tokio::test(flavor = "current_thread")]
async fn an_atomic_batch_behind_another_is_atomic_too() {
    let server = Server::start(&Options::default()).expect("a server");
    for strategy in STRATEGIES {
        let driver = driver(&server, strategy).await;
        let topic = TopicName::new(&format!("atomic-{strategy}")).expect("legal");
        let spec = TopicSpec { partitions: 2, streams: 2, ..TopicSpec::default() };
        driver.create_topic(&topic, &spec).await.expect("made");
        let bus = Bus::new(Arc::clone(&driver) as Arc<dyn Driver>);
        let publisher = bus.publisher(topic.as_str()).open().await.expect("opens");
        let key_in = |partition| {
            let mut keys = (0..).map(|number| format!("key-{number}"));
            keys.find(|key| partition_of(key.as_bytes(), 2) == Partition(partition)).expect("one of them")
        };
        let (first, second) = (key_in(0), key_in(1));
        let whole = publisher.publish_atomic(vec![envelope(&first, 1), envelope(&first, 2)]);
        // The server's batches are of one stream, so this one is refused: record by record it would be stored.
        let torn = publisher.publish_atomic(vec![envelope(&first, 3), envelope(&second, 1)]);
        let (whole, torn) = tokio::join!(whole, torn);
        assert_eq!(whole.expect("stored").len(), 2, "{strategy}");
        assert_eq!(torn.expect_err("refused").code(), "Unsupported/AtomicStreams", "{strategy}");
        publisher.publish_sync(envelope(&second, 1)).await.expect("the line goes on");
        bus.close(std::time::Duration::from_secs(5)).await.expect("closes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_header_of_a_foreign_writer_says_nothing() {
    let server = Server::start(&Options::default()).expect("a server");
    let driver = driver(&server, "best").await;
    let topic = TopicName::new("orders").expect("legal");
    driver.create_topic(&topic, &TopicSpec { partitions: 1, ..TopicSpec::default() }).await.expect("made");
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Busline-Key", "b3RoZXI");
    let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"T","subject":"own","data":1}"#;
    let context = async_nats::jetstream::new(driver.as_nats().clone());
    context.publish_with_headers("orders.0", headers, body.into()).await.expect("sent").await.expect("stored");
    let (partition, from, to) = (Partition(0), Offset(0), Offset(u64::MAX));
    let request = ReadRequest { partition, from, to, records_max: 10, bytes_max: 1 << 20 };
    let records = driver.read(&topic, request).await.expect("read");
    assert_eq!(records.iter().map(|record| &record.key[..]).collect::<Vec<_>>(), [b"own"]);
    driver.close(tokio::time::Instant::now() + std::time::Duration::from_secs(5)).await.expect("closes");
}
