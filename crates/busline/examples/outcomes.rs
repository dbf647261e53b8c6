//! The three outcomes of a publish, on a file that is allowed to grow to 1 MiB only, so that some must fail.

use std::sync::Arc;
use std::time::Duration;

use busline::{Bus, Envelope, Payload, SqliteConfig, SqliteDriver};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = SqliteConfig { file_bytes_max: Some(1 << 20), ..SqliteConfig::new("busline.db.small") };
    let bus = Bus::new(Arc::new(SqliteDriver::open(config).await?));
    // Called once for each envelope that was not acked, whether or not somebody awaits its receipt. It may block.
    let photos = bus
        .publisher("photos")
        .on_failure(|failure| println!("handler: {} was not acked", failure.envelope.aggregate_id))
        .open()
        .await?;

    for number in 1..=3 {
        let photo = Payload::bytes_of("image/png", vec![0; 600_000])?;
        let taken = Envelope::new(format!("camera-{number}"), "PhotoTaken", 1).with_payload(photo);
        match photos.publish_sync(taken).await {
            Ok(ack) => println!("acked: {} in partition {}", ack.durability, ack.partition),
            // Certainly not stored, so publishing it again cannot duplicate it.
            Err(error) if error.is_definite() => {
                println!("failed: {}, worth another try later: {}", error.code(), error.is_retryable());
            }
            // Perhaps stored. Publishing again may duplicate it: look for its id in the topic first.
            Err(error) => println!("indeterminate: {error}"),
        }
    }

    let closed = bus.close(Duration::from_secs(5)).await?;
    let stats = closed[0].stats;
    assert_eq!(stats.accepted, stats.acked + stats.failed + stats.indeterminate);
    Ok(())
}
