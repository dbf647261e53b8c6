//! Opening waits for the client, so that the first ack is as quick as the others.

use std::time::{Duration, Instant};

use busline_core::Envelope;

use crate::broker;
use crate::load::connect;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_ack_does_not_wait_for_the_client_to_be_ready() -> Outcome {
    let bus = connect(&broker::bootstrap()).await;
    let topic = format!("conformance-first-ack-{}", std::process::id());
    let mut firsts = Vec::new();
    for round in 0..3 {
        let opening = Instant::now();
        let publisher = bus.publisher(&topic).open().await?;
        let opened = opening.elapsed();
        let mut took = Vec::new();
        for version in 1..=5 {
            let start = Instant::now();
            publisher.publish_sync(Envelope::new("key", "Happened", version)).await?;
            took.push(start.elapsed());
        }
        println!("round {round}: open {opened:?}, acks {took:?}");
        firsts.push(took[0]);
        publisher.close(Duration::from_secs(5)).await;
    }
    // Of three, since a machine may be slow once; a client that is not ready is half a second late each time.
    assert!(firsts.iter().any(|first| *first < Duration::from_millis(400)), "the first acks took {firsts:?}");
    bus.close(Duration::from_secs(5)).await?;
    Ok(())
}
