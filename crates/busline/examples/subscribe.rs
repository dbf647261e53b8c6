//! Subscribing: a group, many keys at once, and a handler whose first attempt fails.

use std::time::Duration;

use busline::{Delivery, Envelope, HandlerError, Retry};
use tokio::sync::mpsc;

const EVENTS: u64 = 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = busline::connect("sqlite:busline.db").await?;
    let orders = bus.publisher("orders-to-bill").open().await?;
    for number in 1..=EVENTS {
        orders.publish_sync(Envelope::new(format!("order-{number}"), "OrderPlaced", 1)).await?;
    }

    let (done, mut ends) = mpsc::channel(64);
    let handler = move |event: Delivery| {
        let done = done.clone();
        async move {
            let key = &event.envelope.aggregate_id;
            // Any error says: run it again after a pause. Later events of this key wait, other keys go on.
            if key == "order-3" && event.attempt == 1 {
                return Err(HandlerError::from("the payment service is busy"));
            }
            done.send(format!("{key}, attempt {}", event.attempt)).await?;
            Ok(())
        }
    };
    // The group's name decides what comes: members of one group share the topic, and a group goes on where it ended.
    let billing =
        bus.subscribe("orders-to-bill", "billing").concurrency(64).retry(Retry::exponential(5)).handle(handler).await?;

    for _ in 0..EVENTS {
        let end = ends.recv().await.ok_or("the subscription ended")?;
        println!("handled {end}");
    }
    // What holds a key back for good is named here; nothing does now.
    assert!(billing.blocked().is_empty());

    // Lets running handlers end and commits, so that the next run of this program begins behind these events.
    let left = billing.close(Duration::from_secs(30)).await?;
    println!("handled {}, failed attempts {}", left.stats.handled, left.stats.failed_attempts);
    bus.close(Duration::from_secs(5)).await?;
    Ok(())
}
