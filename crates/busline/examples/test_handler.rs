//! Testing a handler: the memory bus runs the same engines as a durable one, and needs no file and no clean-up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use busline::{Bus, Delivery, Envelope, Handler, HandlerError, MemoryDriver, Retry};

/// What is to be tested: it counts the orders of each customer.
#[derive(Clone, Default)]
struct Counter(Arc<Mutex<HashMap<String, u64>>>);

impl Counter {
    fn of(&self, customer: &str) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(customer).copied().unwrap_or(0)
    }
}

impl Handler for Counter {
    async fn handle(&self, event: Delivery) -> Result<(), HandlerError> {
        // The first attempt fails, as a real service does now and then; so the test covers the retry too.
        if event.attempt == 1 {
            return Err("the counter is busy".into());
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(event.envelope.aggregate_id).or_default() += 1;
        Ok(())
    }
}

/// In a project this is a `#[tokio::test]`.
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = Bus::new(Arc::new(MemoryDriver::new()));
    let counter = Counter::default();
    // Short pauses, so that the test does not wait for what a service would wait.
    let retry = Retry::exponential(3).backoff(Duration::from_millis(1), Duration::from_millis(1));
    let subscription = bus.subscribe("orders", "counting").retry(retry).handle(counter.clone()).await?;

    let orders = bus.publisher("orders").open().await?;
    for version in 1..=3 {
        orders.publish_sync(Envelope::new("anna", "OrderPlaced", version)).await?;
    }
    orders.publish_sync(Envelope::new("ben", "OrderPlaced", 1)).await?;

    // The counts of the subscription say when all is done; no test needs to sleep and hope.
    while subscription.stats().handled < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!((counter.of("anna"), counter.of("ben")), (3, 1));
    assert_eq!(subscription.stats().failed_attempts, 4);
    println!("the handler counts right, and survives its failures");
    bus.close(Duration::from_secs(5)).await?;
    Ok(())
}
