//! Typed payloads: a struct goes in as JSON, and comes out as a struct in the handler.

use std::time::Duration;

use busline::{Delivery, Envelope, HandlerError};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OrderPlaced {
    items: Vec<String>,
    cents: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = busline::connect("memory:").await?;
    let (seen, mut orders) = mpsc::channel(8);
    let handler = move |event: Delivery| {
        let seen = seen.clone();
        async move {
            // A topic carries events of many types; those that this group does not care for are done at once.
            if event.envelope.event_type != "OrderPlaced" {
                return Ok(());
            }
            // What does not fit the struct will not fit the next time either. `skip` passes over it and logs it; `park`
            // would keep its key waiting until somebody looks.
            let order: OrderPlaced = event.payload().map_err(HandlerError::skip)?;
            seen.send(order).await?;
            Ok(())
        }
    };
    // The handle keeps the subscription at work: when the last one is dropped, it ends.
    let billing = bus.subscribe("orders", "billing").handle(handler).await?;
    let publisher = bus.publisher("orders").open().await?;

    let order = OrderPlaced { items: vec!["book".into(), "pen".into()], cents: 1_250 };
    publisher.publish_sync(Envelope::new("order-42", "OrderSeen", 1)).await?;
    publisher.publish_sync(Envelope::new("order-42", "OrderPlaced", 2).json("no order at all")?).await?;
    publisher.publish_sync(Envelope::new("order-42", "OrderPlaced", 3).json(&order)?).await?;

    let found = orders.recv().await.ok_or("the subscription ended")?;
    assert_eq!(found, order);
    println!("{found:?}");
    billing.close(Duration::from_secs(5)).await?;
    bus.close(Duration::from_secs(5)).await?;
    Ok(())
}
