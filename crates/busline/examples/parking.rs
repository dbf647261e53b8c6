//! Parking: a handler gives up on every event, so all keys are parked; the first are listed, and one is replayed.
//!
//! `parking URL TOPIC GROUP` gives up on the events of a topic that is there, and replays nothing.

use std::time::Duration;

use busline::{Bus, Delivery, Envelope, HandlerError, ParkedFilter, ReplayOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [url, topic, group] = &arguments[..] {
        let bus = busline::connect(url).await?;
        give_up(&bus, topic, group).await?;
        bus.close(Duration::from_secs(30)).await?;
        return Ok(());
    }

    let bus = busline::connect("sqlite:busline.db").await?;
    let orders = bus.publisher("orders-to-park").open().await?;
    for version in 1..=2 {
        for key in ["order-1", "order-2"] {
            orders.publish_sync(Envelope::new(key, "OrderPlaced", version)).await?;
        }
    }
    give_up(&bus, "orders-to-park", "parking").await?;

    let parked = bus.parked("orders-to-park", "parking").await?;
    for queue in parked.queues(&ParkedFilter::default()).await? {
        println!("{}: {} parked, {}", queue.key, queue.records, queue.first.diagnosis.error);
    }
    // The group's own handler, mended: it gets the key's events in order, and then the key flows again.
    let mended = |event: Delivery| async move {
        println!("handled {} {}", event.envelope.aggregate_id, event.envelope.event_version);
        Ok(())
    };
    let options = ReplayOptions { filter: ParkedFilter::key("order-1"), ..ReplayOptions::default() };
    let report = parked.replay(options, mended).await?;
    println!("replayed {}", report.replayed);
    bus.close(Duration::from_secs(5)).await?;
    Ok(())
}

/// Reads the topic to its end in this group, and handles nothing.
async fn give_up(bus: &Bus, topic: &str, group: &str) -> Result<(), Box<dyn std::error::Error>> {
    let handler = |_: Delivery| async { Err::<(), _>(HandlerError::park("nothing is handled here")) };
    let subscription = bus.subscribe(topic, group).concurrency(64).handle(handler).await?;
    let (group, topic) = (group.parse()?, topic.parse()?);
    loop {
        let lag = bus.driver().lag(&group, &topic).await?;
        if lag.iter().all(|lag| lag.records == 0 && lag.committed.is_some()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{} events are parked, of {} keys", subscription.stats().parked, subscription.parking().keys);
    subscription.close(Duration::from_secs(30)).await?;
    Ok(())
}
