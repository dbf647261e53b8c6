//! Publishing at once to topics that were just made, where some brokers may not know yet who leads them.

use std::time::Duration;

use crate::load::{Load, all_acked, connect, judge};
use crate::place::{cluster, create};
use crate::rounds;

#[tokio::test(flavor = "multi_thread")]
async fn publishing_at_once_to_a_fresh_topic_loses_nothing() {
    let cluster = cluster().await;
    let bus = connect(&cluster.bootstrap()).await;
    for round in 0..rounds(5) {
        let topic = format!("fresh-{round}");
        create(&cluster, &topic).await;
        let load = Load::start(bus.publisher(&topic).open().await.expect("opens"));
        load.more(2_000).await;
        let outcomes = load.end().await;
        assert!(all_acked(&outcomes), "nothing disturbs it");
        println!("{} acked and stored", judge(&cluster.bootstrap(), &topic, &outcomes));
    }
    bus.close(Duration::from_secs(10)).await.expect("closes");
}
