//! Publishing from threads that run no tasks: each call returns with its outcome.

use std::thread;
use std::time::Duration;

use busline::Envelope;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The bus needs a runtime for what it does beside its callers: deadlines, failure handlers, subscriptions.
    let runtime = tokio::runtime::Runtime::new()?;
    let bus = runtime.block_on(busline::connect("sqlite:busline.db"))?;
    let orders = runtime.block_on(bus.publisher("orders").open())?;

    // A thread that is alone stores its event itself: no other thread is woken for it. Threads that meet share commits.
    thread::scope(|scope| {
        for number in 1..=4 {
            let orders = &orders;
            scope.spawn(move || {
                for version in 1..=100 {
                    let placed = Envelope::new(format!("order-{number}"), "OrderChanged", version);
                    match orders.publish_blocking(placed) {
                        Ok(_) => {}
                        Err(error) => eprintln!("order-{number}, version {version}: {error}"),
                    }
                }
            });
        }
    });

    for closed in runtime.block_on(bus.close(Duration::from_secs(5)))? {
        println!("{} accepted, {} acked", closed.stats.accepted, closed.stats.acked);
    }
    Ok(())
}
