//! Batches: one outcome for each envelope, or all of them together or none.

use std::time::Duration;

use busline::Envelope;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = busline::connect("sqlite:busline.db").await?;
    let orders = bus.publisher("orders").open().await?;

    // One bad envelope does not fail the batch. It holds back only what stands behind it with the same key.
    let batch = vec![
        Envelope::new("order-1", "OrderPlaced", 1),
        Envelope::new("order-2", "", 1), // refused: no event type
        Envelope::new("order-2", "OrderPaid", 2),
        Envelope::new("order-3", "OrderPlaced", 1),
    ];
    for (place, outcome) in orders.publish_batch(batch).await?.into_iter().enumerate() {
        match outcome {
            Ok(ack) => println!("{place}: acked, {}", ack.durability),
            Err(error) => println!("{place}: {}", error.code()),
        }
    }

    // Atomic: both are stored and seen together, or neither is. A backend that cannot do it answers `Unsupported`.
    let transfer = vec![Envelope::new("account-1", "MoneyTaken", 1), Envelope::new("account-2", "MoneyGiven", 1)];
    let acks = orders.publish_atomic(transfer).await?;
    println!("{} envelopes stored together", acks.len());

    bus.close(Duration::from_secs(5)).await?;
    Ok(())
}
