//! Publishing: one event whose outcome is awaited at once, then many in flight.

use std::time::Duration;

use busline::Envelope;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The file that the command `busline` uses by default: `busline sub orders --until-end` shows what is in it.
    let bus = busline::connect("sqlite:busline.db").await?;
    // A missing topic is made with four partitions; one that is there is taken as it is.
    let orders = bus.publisher("orders").open().await?;

    // `order-42` is the key: order is kept among the events of one key, and different keys are independent.
    let placed = Envelope::new("order-42", "OrderPlaced", 1).json(&["book", "pen"])?;
    let ack = orders.publish_sync(placed).await?;
    println!("order-42 is in partition {}, {}", ack.partition, ack.durability);

    // `publish` returns as soon as the envelope is accepted. Those in flight share transactions, so this is the fast
    // way; a full window makes the call wait and fails nothing.
    let mut receipts = Vec::new();
    for version in 2..=1_000 {
        receipts.push(orders.publish(Envelope::new("order-42", "OrderChanged", version)).await?);
    }
    for receipt in receipts {
        receipt.await?;
    }

    // Closing the bus closes its publishers: every accepted envelope has its outcome afterwards.
    for closed in bus.close(Duration::from_secs(5)).await? {
        println!("{} accepted, {} acked", closed.stats.accepted, closed.stats.acked);
    }
    Ok(())
}
