//! A publisher under faults, and the judgement of what is stored.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use busline_conformance::FaultRun;
use busline_core::{
    Ack, Bus, Driver, Envelope, Offset, Partition, Publisher, PublisherSettings, ReadRequest, Receipt, Record, Result,
    TopicName,
};
use busline_nats::{NatsConfig, NatsDriver};
use std::sync::Arc;

use crate::yardstick::Yardstick;

/// Both sinks; each is to pass every fault.
pub(crate) const STRATEGIES: [&str; 2] = ["fast", "pipelined"];

/// A driver on this port, with this strategy.
pub(crate) async fn driver(port: u16, strategy: &str) -> Arc<NatsDriver> {
    driver_of(&format!("nats://127.0.0.1:{port}"), strategy).await
}

/// A driver on the servers of this URL, with this strategy.
pub(crate) async fn driver_of(url: &str, strategy: &str) -> Arc<NatsDriver> {
    let config = NatsConfig::from_url(&format!("{url}?strategy={strategy}")).expect("a legal URL");
    Arc::new(NatsDriver::open(config).await.expect("a server"))
}

/// One publisher, and what it was promised.
pub(crate) struct Load {
    pub(crate) bus: Bus,
    publisher: Publisher,
    sent: Vec<(String, String, Receipt)>,
    keys: u64,
    yardstick: Yardstick,
}

/// What became of a load.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) acked: u64,
    pub(crate) failed: u64,
    pub(crate) indeterminate: u64,
    /// Indeterminate ones that are stored.
    pub(crate) stored_unacked: u64,
}

impl Counts {
    /// Tells that something happened so often to the load, with the seed of its chances.
    pub(crate) fn tell(&self, fault: impl Into<String>, times: impl Into<u64>, seed: Option<u64>) {
        let (fault, times) = (fault.into(), times.into());
        let Self { acked, failed, indeterminate, .. } = *self;
        FaultRun { fault, times, seed, acked, failed, indeterminate, handled_again: None }.tell();
    }

    /// Whether each envelope was acked.
    pub(crate) fn all_acked(&self) -> bool {
        (self.failed, self.indeterminate) == (0, 0)
    }
}

impl Load {
    pub(crate) async fn open(driver: Arc<NatsDriver>, topic: &str, keys: u64) -> Self {
        Self::open_for(driver, topic, keys, Duration::from_secs(30)).await
    }

    /// With a deadline that is far longer than a machine stands still while something else is measured on it.
    pub(crate) async fn open_patient(driver: Arc<NatsDriver>, topic: &str, keys: u64) -> Self {
        Self::open_for(driver, topic, keys, Duration::from_secs(120)).await
    }

    pub(crate) async fn open_for(driver: Arc<NatsDriver>, topic: &str, keys: u64, deadline: Duration) -> Self {
        let record_bytes_max = driver.capabilities().record_bytes_max;
        let settings = PublisherSettings { deadline, record_bytes_max, ..PublisherSettings::default() };
        let bus = Bus::new(driver);
        let publisher = bus.publisher(topic).settings(settings).on_failure(drop).open().await.expect("opens");
        Self { bus, publisher, sent: Vec::new(), keys, yardstick: Yardstick::start() }
    }

    /// Publishes this many envelopes as fast as they are accepted.
    pub(crate) async fn publish(&mut self, count: u64) {
        self.publish_sized(count, |number| number % 200).await;
    }

    /// The same, with payloads of about this many bytes.
    pub(crate) async fn publish_large(&mut self, count: u64, bytes: u64) {
        self.publish_sized(count, |_| bytes).await;
    }

    async fn publish_sized(&mut self, count: u64, bytes: impl Fn(u64) -> u64) {
        for _ in 0..count {
            let number = self.sent.len() as u64;
            let key = format!("key-{}", number % self.keys);
            let body = (number, "x".repeat(bytes(number) as usize));
            let envelope = Envelope::new(&*key, "Happened", number + 1).json(&body).expect("json");
            let id = envelope.id.clone();
            let receipt = self.publisher.publish(envelope).await.expect("accepted");
            self.sent.push((key, id, receipt));
        }
    }

    /// Publishes one by one until an envelope is acked.
    pub(crate) async fn until_acked(&mut self) {
        loop {
            self.publish(1).await;
            let (.., receipt) = self.sent.last_mut().expect("one was published");
            if receipt.await.is_ok() {
                return;
            }
        }
    }

    /// Whether some outcome until now was an error that says this.
    pub(crate) async fn was_told(&mut self, what: &str) -> bool {
        let mut told = false;
        for (.., receipt) in &mut self.sent {
            told |= receipt.await.is_err_and(|error| error.to_string().contains(what));
        }
        told
    }

    /// How often each error was the outcome until now: its code, whether it is definite, and its text for one of them.
    pub(crate) async fn causes(&mut self) -> BTreeMap<(String, bool), (usize, String)> {
        let mut causes = BTreeMap::new();
        for (.., receipt) in &mut self.sent {
            if let Err(error) = receipt.await {
                let cause = causes.entry((error.code(), error.is_definite())).or_insert_with(|| (0, error.to_string()));
                cause.0 += 1;
            }
        }
        causes
    }

    /// The id of the envelope that was published last.
    pub(crate) fn last_id(&self) -> &str {
        &self.sent.last().expect("one was published").1
    }

    /// Awaits the outcome of the envelope that was published last.
    pub(crate) async fn last_outcome(&mut self) -> Result<Ack> {
        (&mut self.sent.last_mut().expect("one was published").2).await
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Awaits every outcome, in the order of publishing, each with its key.
    pub(crate) async fn outcomes(&mut self) -> Vec<(String, Result<Ack>)> {
        let mut outcomes = Vec::new();
        for (key, _, receipt) in self.sent.drain(..) {
            let outcome = tokio::time::timeout(Duration::from_secs(180), receipt).await;
            outcomes.push((key, outcome.expect("every envelope has its outcome by its deadline")));
        }
        outcomes
    }

    /// Awaits every outcome, reads everything back through `reader`, and judges it.
    pub(crate) async fn judge(self, reader: &NatsDriver, what: &str) -> Counts {
        let topic = self.publisher.topic().name.clone();
        let mut outcomes = Vec::new();
        for (key, id, receipt) in self.sent {
            let outcome = tokio::time::timeout(Duration::from_secs(180), receipt).await;
            outcomes.push((key, id, outcome.expect("every envelope has its outcome by its deadline")));
        }
        let stored = read_all(reader, &topic).await;
        let mut places: HashMap<String, Vec<(usize, Partition, Offset)>> = HashMap::new();
        for (place, record) in stored.iter().enumerate() {
            let id = record.envelope(&topic).expect("a stored envelope").id;
            places.entry(id).or_default().push((place, record.partition, record.offset));
        }
        let mut counts = Counts::default();
        let mut last_of_key: HashMap<&str, usize> = HashMap::new();
        let mut hole_of_key: HashMap<&str, &str> = HashMap::new();
        for (key, id, outcome) in &outcomes {
            let found = places.remove(id).unwrap_or_default();
            assert!(found.len() <= 1, "{what}: {id} is stored {} times", found.len());
            match outcome {
                Ok(ack) => {
                    counts.acked += 1;
                    assert_eq!(found.len(), 1, "{what}: {id} was acked and is not stored");
                    assert_eq!(found[0].1, ack.partition, "{what}: {id} is in another partition");
                    if let Some(offset) = ack.offset {
                        assert_eq!(found[0].2, offset, "{what}: {id} is at another offset than was acked");
                    }
                }
                Err(error) if error.is_definite() => {
                    counts.failed += 1;
                    assert!(found.is_empty(), "{what}: {id} failed for certain and is stored: {error}");
                    hole_of_key.insert(key, id);
                }
                Err(_) => {
                    counts.indeterminate += 1;
                    counts.stored_unacked += found.len() as u64;
                    hole_of_key.insert(key, id);
                }
            }
            if let Some((place, ..)) = found.first() {
                let before = last_of_key.insert(key, *place);
                assert!(before.is_none_or(|before| before < *place), "{what}: {id} is stored before an earlier one");
            }
        }
        let longest = self.yardstick.longest();
        if longest > Duration::from_secs(2) {
            println!("{what}: this process stood still for {longest:?} at least once");
        }
        assert!(places.is_empty(), "{what}: {} records that nobody published", places.len());
        self.bus.close(Duration::from_secs(5)).await.expect("closes");
        counts
    }
}

/// All records of a topic, by partition and offset.
pub(crate) async fn read_all(driver: &NatsDriver, topic: &TopicName) -> Vec<Record> {
    let info = driver.topic(topic).await.expect("the topic exists");
    let mut records = Vec::new();
    for partition in (0..info.spec.partitions).map(Partition) {
        let bounds = driver.bounds(topic, partition).await.expect("bounds");
        let mut from = bounds.start;
        while from < bounds.end {
            let request = ReadRequest { partition, from, to: bounds.end, records_max: 5_000, bytes_max: 8 << 20 };
            let read = driver.read(topic, request).await.expect("a read");
            let Some(last) = read.last() else { break };
            from = last.offset.next();
            records.extend(read);
        }
    }
    records
}
