//! Random publish, trim, reopen, topic delete and create, against plain vectors.

use std::time::Duration;

use busline_core::{Bus, Envelope, Offset, Partition, Provision, Publisher, ReadRequest, Result, TopicName, TopicSpec};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::ledger::dump;
use crate::stage::{Stage, TOPIC, close, topic};

/// What one partition must hold.
#[derive(Debug, Default, Clone)]
struct Model {
    trimmed: usize,
    ids: Vec<String>,
}

struct Run {
    stage: Stage,
    dice: StdRng,
    bus: Bus,
    orders: Publisher,
    partitions: Vec<Model>,
    published: u64,
}

#[tokio::test]
async fn the_file_holds_what_plain_vectors_hold() -> Result<()> {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut run = Run::new(seed).await?;
        for _ in 0..60 {
            run.step().await?;
        }
        run.compare().await?;
        close(&run.bus).await;
        run.compare_dump();
    }
    Ok(())
}

impl Run {
    async fn new(seed: u64) -> Result<Self> {
        let mut stage = Stage::new();
        stage.config.batch_records_max = 3;
        stage.config.checkpoint_pages = 2;
        let mut dice = StdRng::seed_from_u64(seed);
        let partitions = dice.random_range(1..5);
        let bus = stage.open().await?;
        let orders = open_publisher(&bus, partitions).await?;
        let partitions = vec![Model::default(); partitions as usize];
        Ok(Self { stage, dice, bus, orders, partitions, published: 0 })
    }

    async fn step(&mut self) -> Result<()> {
        match self.dice.random_range(0..20) {
            0..11 => self.publish().await,
            11 | 12 => self.publish_atomic().await,
            13..16 => self.trim().await,
            16 => self.reopen().await,
            17 => self.make_anew().await,
            _ => self.compare().await,
        }
    }

    fn envelope(&mut self) -> Envelope {
        self.published += 1;
        let key = format!("key-{}", self.dice.random_range(0..6));
        let payload = "x".repeat(self.dice.random_range(0..3) * self.dice.random_range(0..6_000));
        let envelope = Envelope::new(key, "Tested", 1).with_id(self.published.to_string()).json(&payload);
        envelope.expect("text is JSON")
    }

    async fn publish(&mut self) -> Result<()> {
        let envelopes: Vec<_> = (0..self.dice.random_range(1..12)).map(|_| self.envelope()).collect();
        let ids: Vec<_> = envelopes.iter().map(|it| it.id.clone()).collect();
        let mut receipts = Vec::new();
        for envelope in envelopes {
            receipts.push(self.orders.publish(envelope).await?);
        }
        for (id, receipt) in ids.into_iter().zip(receipts) {
            let ack = receipt.await?;
            self.store(id, ack);
        }
        Ok(())
    }

    async fn publish_atomic(&mut self) -> Result<()> {
        let envelopes: Vec<_> = (0..self.dice.random_range(1..4)).map(|_| self.envelope()).collect();
        let ids: Vec<_> = envelopes.iter().map(|it| it.id.clone()).collect();
        for (id, ack) in ids.into_iter().zip(self.orders.publish_atomic(envelopes).await?) {
            self.store(id, ack);
        }
        Ok(())
    }

    fn store(&mut self, id: String, ack: busline_core::Ack) {
        let ids = &mut self.partitions[ack.partition.0 as usize].ids;
        ids.push(id);
        assert_eq!(ack.offset, Some(Offset(ids.len() as u64 - 1)));
    }

    async fn trim(&mut self) -> Result<()> {
        let number = self.dice.random_range(0..self.partitions.len());
        let model = &mut self.partitions[number];
        let below = self.dice.random_range(0..model.ids.len() + 3);
        let kept_from = below.clamp(model.trimmed, model.ids.len());
        let start = self.bus.driver().trim(&topic(), Partition(number as u32), Offset(below as u64)).await?;
        assert_eq!(start, Offset(kept_from as u64));
        model.trimmed = kept_from;
        Ok(())
    }

    async fn reopen(&mut self) -> Result<()> {
        close(&self.bus).await;
        self.compare_dump();
        self.bus = self.stage.open().await?;
        self.orders = open_publisher(&self.bus, 1).await?;
        Ok(())
    }

    /// Deletes the topic and makes it again; a publisher of the deleted one stores nothing in the new one.
    async fn make_anew(&mut self) -> Result<()> {
        self.bus.driver().delete_topic(&topic()).await?;
        let late = self.orders.publish_sync(Envelope::new("key", "Tested", 1)).await.expect_err("deleted");
        assert_eq!(late.code(), "NotFound/Topic");
        let count = self.dice.random_range(1..5);
        let new = open_publisher(&self.bus, count).await?;
        let late = self.orders.publish_sync(Envelope::new("key", "Tested", 1)).await.expect_err("deleted");
        assert_eq!(late.code(), "NotFound/Topic");
        self.orders.close(Duration::from_secs(5)).await;
        self.orders = new;
        self.partitions = vec![Model::default(); count as usize];
        Ok(())
    }

    async fn compare(&mut self) -> Result<()> {
        let name = TopicName::new(TOPIC)?;
        for (number, model) in self.partitions.iter().enumerate() {
            let partition = Partition(number as u32);
            let bounds = self.bus.driver().bounds(&name, partition).await?;
            assert_eq!(bounds.start.0 as usize, model.trimmed);
            assert_eq!(bounds.end.0 as usize, model.ids.len());
            let mut next = bounds.start;
            while next < bounds.end {
                let (records_max, bytes_max) = (self.dice.random_range(1..7), self.dice.random_range(1..20_000));
                let request = ReadRequest { partition, from: next, to: bounds.end, records_max, bytes_max };
                let records = self.bus.driver().read(&name, request).await?;
                assert!((1..=records_max).contains(&records.len()));
                for record in records {
                    assert_eq!(record.offset, next);
                    assert_eq!(record.envelope(&name)?.id, model.ids[next.0 as usize]);
                    next = next.next();
                }
            }
        }
        Ok(())
    }

    fn compare_dump(&self) {
        let rows = dump(&self.stage.plain(), TOPIC);
        let found: Vec<_> = rows.into_iter().map(|row| (row.partition, row.offset, row.id)).collect();
        let kept = |(number, model): (usize, &Model)| {
            let ids = model.ids.iter().enumerate().skip(model.trimmed);
            ids.map(|(offset, id)| (number as u32, offset as u64, id.clone())).collect::<Vec<_>>()
        };
        let expected: Vec<_> = self.partitions.iter().enumerate().flat_map(kept).collect();
        assert_eq!(found, expected);
    }
}

async fn open_publisher(bus: &Bus, partitions: u32) -> Result<Publisher> {
    let spec = TopicSpec { partitions, ..TopicSpec::default() };
    bus.publisher(TOPIC).provision(Provision::CreateOnly(spec)).on_failure(drop).open().await
}
