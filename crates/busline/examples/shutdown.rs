//! Graceful shutdown: what runs may end, what was accepted gets its outcome, and nothing is left behind.

use std::sync::Arc;
use std::time::Duration;

use busline::{Delivery, Envelope};
use tokio::sync::Notify;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = busline::connect("sqlite:busline.db").await?;
    let orders = bus.publisher("orders-to-ship").open().await?;

    let started = Arc::new(Notify::new());
    let start = Arc::clone(&started);
    let handler = move |_: Delivery| {
        let start = Arc::clone(&start);
        async move {
            start.notify_one();
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(())
        }
    };
    let shipping = bus.subscribe("orders-to-ship", "shipping").handle(handler).await?;
    drop(orders.publish(Envelope::new("order-42", "OrderPlaced", 1)).await?);

    // A service waits here for `tokio::signal::ctrl_c()`; this program stops in the middle of its first handler.
    started.notified().await;

    // Subscriptions first: their handlers may still want to publish. A handler that has not ended by the deadline is
    // broken off and its event comes again to another member, so the deadline should be longer than a handler takes.
    let left = shipping.close(Duration::from_secs(30)).await?;
    println!("handled {}, not ended: {:?}", left.stats.handled, left.left);

    // Then everything else. What has no outcome by the deadline is reported as failed or indeterminate, and never
    // forgotten.
    let publishers = bus.close(Duration::from_secs(5)).await?;
    assert!(publishers.iter().all(|closed| closed.left.is_empty()));
    println!("every accepted envelope has its outcome");
    Ok(())
}
