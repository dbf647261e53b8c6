//! Publishing from threads that block: who does the work.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use busline_core::{Bus, Clock, Envelope, SystemClock};
use busline_sqlite::{SqliteConfig, SqliteDriver};
use jiff::Timestamp;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A clock that takes down which threads ask it: every transaction does, for the time of its records.
#[derive(Debug, Default)]
struct Asked(Mutex<Vec<Option<String>>>);

impl Clock for Asked {
    fn now(&self) -> Timestamp {
        self.0.lock().expect("a list").push(thread::current().name().map(Into::into));
        SystemClock.now()
    }
}

#[test]
fn a_thread_that_blocks_stores_its_envelope_itself() -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = tempfile::tempdir()?;
    let clock = Arc::new(Asked::default());
    let (bus, orders) = runtime.block_on(async {
        let driver =
            SqliteDriver::open_with_clock(SqliteConfig::new(folder.path().join("bus.db")), Arc::<Asked>::clone(&clock))
                .await?;
        let bus = Bus::new(Arc::new(driver));
        let orders = bus.publisher("orders").open().await?;
        Ok::<_, busline_core::Error>((bus, orders))
    })?;
    clock.0.lock().unwrap().clear();
    let publishing = {
        let orders = orders.clone();
        move || (1..=20).map(|version| orders.publish_blocking(Envelope::new("key", "Placed", version))).collect()
    };
    let acks: Result<Vec<_>, _> = thread::Builder::new().name("caller".into()).spawn(publishing)?.join().unwrap();
    let offsets: Vec<_> = acks?.into_iter().filter_map(|ack| ack.offset).map(|offset| offset.0).collect();
    assert_eq!(offsets, (0..20).collect::<Vec<_>>());
    let by_caller = |asked: &[Option<String>]| asked.iter().filter(|name| name.as_deref() == Some("caller")).count();
    assert!(by_caller(&clock.0.lock().unwrap()) >= 19, "{:?}", clock.0.lock().unwrap());

    clock.0.lock().unwrap().clear();
    runtime.block_on(orders.publish_sync(Envelope::new("key", "Placed", 21)))?;
    let asked = clock.0.lock().unwrap().clone();
    assert!(!asked.is_empty() && by_caller(&asked) == 0, "a task is not blocked: {asked:?}");
    runtime.block_on(bus.close(Duration::from_secs(5)))?;
    Ok(())
}
