//! A sink that answers its batches in another order than it was given them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use busline_core::{
    Ack, AckPositions, Batch, BoxFuture, Bus, Driver, Durability, Envelope, Error, ErrorKind, Layer, Layered, Medium,
    MemoryDriver, Offset, Publisher, Result, Sink, SinkOffer, SinkRequest,
};
use tokio::sync::watch;
use tokio::time::Instant;

const IN_FLIGHT: usize = 4;

/// Keeps what it is given until the test answers it.
#[derive(Debug)]
struct Keeping {
    batches: Mutex<Vec<Option<Batch>>>,
    count: watch::Sender<usize>,
}

/// A publisher on a sink that keeps what it is given.
async fn open() -> (Arc<Keeping>, Bus, Publisher) {
    let sink = Arc::new(Keeping { batches: Mutex::default(), count: watch::channel(0).0 });
    let driver = Layered::new(Arc::new(MemoryDriver::new()), Kept(Arc::clone(&sink)));
    let bus = Bus::new(Arc::new(driver));
    let publisher = bus.publisher("orders").deadline(Duration::from_secs(300)).open().await.expect("opens");
    (sink, bus, publisher)
}

impl Keeping {
    /// Answers the batch with this number: with this failure, or with an ack whose offset is the number.
    fn answer(&self, number: usize, failed: Option<Error>) {
        let batch = self.batches.lock().unwrap_or_else(PoisonError::into_inner)[number].take().expect("answered once");
        let durability = Durability::one(Medium::Memory);
        let offset = Some(Offset(number as u64));
        let ack = Ack { partition: batch.record(0).partition, offset, duplicate: false, durability };
        batch.settle(vec![failed.map_or(Ok(ack), Err)]);
    }

    async fn given(&self, count: usize) {
        self.count.subscribe().wait_for(|given| *given >= count).await.expect("the sender lives");
    }
}

#[derive(Debug)]
struct Kept(Arc<Keeping>);

impl Layer for Kept {
    fn sink<'a>(&'a self, _: &'a dyn Driver, _: SinkRequest) -> BoxFuture<'a, Result<Arc<dyn Sink>>> {
        Box::pin(async { Ok(Arc::new(Self(Arc::clone(&self.0))) as Arc<dyn Sink>) })
    }
}

impl Sink for Kept {
    fn offer(&self) -> SinkOffer {
        SinkOffer {
            durability: Durability::one(Medium::Memory),
            positions: AckPositions::Always,
            batches_in_flight_max: IN_FLIGHT,
            batch_records_max: 1,
            batch_bytes_max: 1 << 20,
        }
    }

    fn publish(&self, batch: Batch) {
        let mut batches = self.0.batches.lock().unwrap_or_else(PoisonError::into_inner);
        batches.push(Some(batch));
        self.0.count.send_replace(batches.len());
    }

    fn trouble(&self) -> Option<Error> {
        None
    }

    fn close(&self, _: Instant) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

fn refused() -> Error {
    Error::new(ErrorKind::Unavailable, "Injected").cause("the test refused this").next("publish it again")
}

/// Each envelope has its own outcome, and a failure breaks its key for what was accepted behind it and for nothing else.
#[tokio::test]
async fn outcomes_belong_to_their_envelopes_in_whatever_order_they_come() {
    let (sink, bus, publisher) = open().await;
    let keys = [("a", 1), ("b", 1), ("a", 2), ("c", 1), ("b", 2), ("a", 3), ("c", 2)];
    let batch = keys.iter().map(|(key, version)| Envelope::new(*key, "Tested", *version)).collect();
    let answering = async {
        sink.given(IN_FLIGHT).await;
        sink.answer(3, None);
        sink.given(5).await;
        // a 2 fails: a 3 waits in line behind it, a 1 was accepted before it.
        sink.answer(2, Some(refused()));
        sink.given(6).await;
        for number in [5, 4, 1, 0] {
            sink.answer(number, None);
        }
    };
    let (outcomes, ()) = tokio::join!(publisher.publish_batch(batch), answering);
    let outcomes = outcomes.expect("legal");
    let told = |outcome: &Result<Ack>| match outcome {
        Ok(ack) => format!("{}", ack.offset.expect("an offset").0),
        Err(error) => error.code(),
    };
    let told: Vec<String> = outcomes.iter().map(told).collect();
    assert_eq!(told, ["0", "1", "Unavailable/Injected", "3", "4", "Unavailable/BehindFailed", "5"]);
    let closed = publisher.close(Duration::from_secs(5)).await;
    assert_eq!((closed.stats.acked, closed.stats.failed, closed.left.len()), (5, 2, 0), "{closed:?}");
    bus.close(Duration::from_secs(5)).await.expect("closes");
}

/// A younger envelope of a key that is answered first breaks the key behind itself, and the older one keeps its own outcome.
#[tokio::test]
async fn a_failure_that_comes_first_leaves_what_was_accepted_before() {
    let (sink, bus, publisher) = open().await;
    let mut receipts = Vec::new();
    for version in 1..=3 {
        receipts.push(publisher.publish(Envelope::new("a", "Tested", version)).await.expect("accepted"));
    }
    // The third was in flight by then: the sink may have taken it after it had given the failure.
    sink.answer(1, Some(refused()));
    sink.answer(2, None);
    receipts.push(publisher.publish(Envelope::new("a", "Tested", 4)).await.expect("accepted"));
    sink.answer(0, None);
    sink.answer(3, None);
    let mut told = Vec::new();
    for receipt in receipts {
        told.push(receipt.await.map_or_else(|error| (error.code(), error.is_definite()), |_| ("acked".into(), true)));
    }
    let of = |told: &str, is_definite| (told.to_owned(), is_definite);
    let expected =
        [of("acked", true), of("Unavailable/Injected", true), of("Unavailable/BehindFailed", false), of("acked", true)];
    assert_eq!(told, expected);
    publisher.close(Duration::from_secs(5)).await;
    bus.close(Duration::from_secs(5)).await.expect("closes");
}
