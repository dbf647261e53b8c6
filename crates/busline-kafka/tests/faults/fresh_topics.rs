//! Publishing at once to topics that were just made, where brokers may not know yet who leads them.

use std::time::Duration;

use busline_conformance::fault_rounds;

use crate::broker;
use crate::load::{Load, all_acked, connect, judge, tell};

#[tokio::test(flavor = "multi_thread")]
async fn publishing_at_once_to_a_fresh_topic_loses_nothing() {
    let bus = connect(&broker::bootstrap()).await;
    for round in 0..fault_rounds(5) {
        let topic = format!("conformance-fresh-{:x}-{round}", std::process::id());
        let publisher = bus.publisher(&topic).open().await.expect("opens");
        let load = Load::start(publisher);
        load.more(2_000).await;
        let outcomes = load.end().await;
        assert!(all_acked(&outcomes), "nothing disturbs it");
        judge(&broker::bootstrap(), &topic, &outcomes);
        tell("topic made", 1, None, &outcomes, None);
    }
    bus.close(Duration::from_secs(10)).await.expect("closes");
}
