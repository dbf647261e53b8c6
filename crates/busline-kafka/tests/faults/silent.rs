//! A member that its group cannot hear, with much read ahead and a client that goes on as if nothing had happened.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use busline_core::{Bus, Delivery, Envelope, Subscription};

use crate::broker;
use crate::broker::proxy::Proxy;
use crate::load::connect;

/// Enough of `WORK` for a minute, all of it read ahead.
const EVENTS: u64 = 900;
const WORK: Duration = Duration::from_millis(60);

/// When each handler of a member was started.
type Starts = Arc<Mutex<Vec<Instant>>>;

async fn subscribe(bus: &Bus, topic: &str, starts: &Starts) -> Subscription {
    let starts = Arc::clone(starts);
    let handler = move |_: Delivery| {
        starts.lock().expect("no panic").push(Instant::now());
        async {
            tokio::time::sleep(WORK).await;
            Ok(())
        }
    };
    bus.subscribe(topic, "readers").another_member().handle(handler).await.expect("subscribes")
}

async fn until(what: &str, starts: &Starts, count: usize) {
    let began = Instant::now();
    while starts.lock().expect("no panic").len() < count {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Half of the session without an answer is the limit; only after all of it others are given the partitions.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_nobody_answers_starts_nothing_once_others_have_its_partitions() {
    let topic = format!("conformance-silent-{:x}", std::process::id());
    let proxy = Proxy::start(broker::port()).expect("a proxy");
    let (healthy, silent) = (connect(&broker::bootstrap()).await, connect(&proxy.bootstrap()).await);
    let publisher = healthy.publisher(&topic).open().await.expect("opens");
    for version in 1..=EVENTS {
        drop(publisher.publish(Envelope::new("key", "Happened", version)).await.expect("accepted"));
    }
    publisher.flush().await;
    let (first, second) = (Starts::default(), Starts::default());
    let lost = subscribe(&silent, &topic, &first).await;
    until("the first events", &first, 10).await;
    proxy.shut();
    let heir = subscribe(&healthy, &topic, &second).await;
    until("the take-over", &second, 1).await;
    let taken_over = second.lock().expect("no panic")[0];
    until("work of the heir", &second, 30).await;
    let last = *first.lock().expect("no panic").last().expect("it had begun");
    assert!(last < taken_over, "a handler was started {:?} after another member had taken over", last - taken_over);
    heir.close(Duration::from_secs(10)).await.expect("closes");
    proxy.open();
    drop(lost.close(Duration::from_secs(10)).await);
    drop(silent.close(Duration::from_secs(10)).await);
    healthy.close(Duration::from_secs(10)).await.expect("closes");
}
