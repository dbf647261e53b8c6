//! A topic that somebody deletes while events are on their way to it.

use std::time::Duration;

use busline_core::{Envelope, ErrorKind, Receipt};
use tokio::time::timeout;

use crate::load::connect;
use crate::place::{cluster, create};

const DEADLINE: Duration = Duration::from_secs(20);
const EVENTS: u64 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn each_event_to_a_deleted_topic_has_an_outcome() {
    let cluster = cluster().await;
    create(&cluster, "deleted").await;
    let bus = connect(&cluster.bootstrap()).await;
    let publisher = bus.publisher("deleted").deadline(DEADLINE).on_failure(drop).open().await.expect("opens");
    let mut receipts: Vec<Receipt> = Vec::new();
    let mut refused = 0;
    for version in 1..=EVENTS {
        if version == EVENTS / 2 {
            bus.driver().delete_topic(&"deleted".parse().expect("legal")).await.expect("deleted");
        }
        match publisher.publish(Envelope::new(format!("key-{}", version % 50), "Happened", version)).await {
            Ok(receipt) => receipts.push(receipt),
            Err(_) => refused += 1,
        }
    }
    let (mut acked, mut failed, mut unknown) = (0, 0, 0);
    for receipt in receipts {
        match timeout(DEADLINE * 2, receipt).await.expect("an outcome by the deadline") {
            Ok(_) => acked += 1,
            Err(error) if error.is_definite() => failed += 1,
            Err(_) => unknown += 1,
        }
    }
    println!("{acked} acked, {failed} failed, {unknown} unknown, {refused} refused at once");
    assert!(acked > 0 && failed + unknown + refused > 0, "the topic went under load");
    let error = publisher.publish_sync(Envelope::new("key", "Happened", 1)).await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    bus.close(Duration::from_secs(10)).await.expect("closes");
}
