//! The snippet of the README, whole: a publisher and a subscriber on one durable file.

use std::time::Duration;

use busline::{Delivery, Envelope, Retry};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (done, mut ends) = mpsc::channel(16);

    let bus = busline::connect("sqlite:busline.db").await?;
    let orders = bus.publisher("tour").open().await?;

    let placed = Envelope::new("order-42", "OrderPlaced", 1).json(&["book", "pen"])?;
    let receipt = orders.publish(placed).await?; // accepted, in order; waits only while the window is full
    let ack = receipt.await?; // stored: partition, offset, durability
    println!("order-42 is stored, {}", ack.durability);

    let billing = bus
        .subscribe("tour", "billing")
        .concurrency(64) // 64 keys at once, one handler of a key
        .retry(Retry::exponential(5)) // five attempts in all; the key waits, others go on
        .handle(move |event: Delivery| {
            let done = done.clone();
            async move {
                let items: Vec<String> = event.payload()?; // any error: tried again
                done.send(items).await?;
                Ok(())
            }
        })
        .await?;
    println!("billed {:?}", ends.recv().await);

    billing.close(Duration::from_secs(30)).await?; // lets handlers end, commits, leaves the group
    bus.close(Duration::from_secs(5)).await?; // every accepted envelope has its outcome
    Ok(())
}
