//! Power loss under the driver: what was acked is there afterwards, in order, and nothing that failed.

use busline_core::{Bus, Envelope, ErrorKind, Publisher};

use super::bus::{TOPIC, close, open, plain, publisher, read_all};
use super::dice::Dice;
use super::vfs::{Loss, PowerDisk};
use crate::ledger::{Entry, Ledger, Told, dump, envelope};

/// Times that the power goes in one run.
const LIVES: usize = 3;

/// Bursts of a publisher whose power stays on.
const BURSTS: usize = 8;

/// A writer in its lives.
struct Writer {
    dice: Dice,
    ledger: Ledger,
    published: u64,
}

impl Writer {
    fn new(seed: u64) -> Self {
        Self { dice: Dice::new(!seed), ledger: Ledger::default(), published: 0 }
    }

    fn envelopes(&mut self, count: usize) -> Vec<Envelope> {
        (0..count)
            .map(|_| {
                self.published += 1;
                let key = format!("key-{}", self.dice.below(5));
                // Up to two pages, so that some records overflow theirs.
                let bytes = self.dice.below(4) * self.dice.below(4_000);
                envelope("p", &key, self.published, bytes)
            })
            .collect()
    }

    /// Publishes burst by burst until done or until the disk fails; then once more, which must fail too.
    async fn work(&mut self, publisher: &Publisher) {
        for _ in 0..BURSTS {
            let count = 1 + self.dice.below(9);
            let envelopes = self.envelopes(count);
            let whole = if self.dice.below(3) == 0 {
                self.publish_atomic(publisher, envelopes).await
            } else {
                self.ledger.publish(publisher, envelopes).await.iter().all(Result::is_ok)
            };
            if !whole {
                let late = self.envelopes(2);
                let outcomes = self.ledger.publish(publisher, late).await;
                assert!(outcomes.iter().all(Result::is_err), "an ack without power");
                return;
            }
        }
    }

    async fn publish_atomic(&mut self, publisher: &Publisher, mut envelopes: Vec<Envelope>) -> bool {
        envelopes.truncate(6);
        let named: Vec<_> = envelopes.iter().map(|it| (it.id.clone(), it.aggregate_id.clone())).collect();
        let outcome = publisher.publish_atomic(envelopes).await;
        for (place, (id, key)) in named.into_iter().enumerate() {
            let outcome = outcome.as_ref().map(|acks| acks[place]).map_err(Clone::clone);
            self.ledger.0.push(Entry { id, key, told: Told::of(&outcome) });
        }
        outcome.is_ok()
    }

    /// Settles what was indeterminate by what the disk has kept.
    fn resume(&mut self, rows: &[crate::ledger::Row]) {
        for entry in &mut self.ledger.0 {
            if entry.told == Told::Indeterminate {
                let kept = rows.iter().find(|row| row.id == entry.id);
                entry.told =
                    kept.map_or(Told::Failed, |row| Told::Acked { partition: row.partition, offset: row.offset });
            }
        }
    }
}

/// One life: publishes until the power goes after `cut` more operations, restarts, and judges.
async fn live(disk: &PowerDisk, writer: &mut Writer, cut: u64) {
    disk.power_off_at(disk.ops() + cut);
    let bus = open(disk).await.ok();
    let publisher = match &bus {
        Some(bus) => publisher(bus).await.ok(),
        None => None,
    };
    if let Some(publisher) = &publisher {
        writer.work(publisher).await;
    }
    disk.restart(Loss::Any);
    // Only after the restart: closing with the power on would tidy up.
    if let Some(bus) = &bus {
        close(bus).await;
    }
    judge(disk, writer).await;
}

async fn judge(disk: &PowerDisk, writer: &mut Writer) {
    let bus = open(disk).await.expect("the file opens after any power loss");
    match read_all(&bus).await {
        Ok(rows) => {
            assert_eq!(rows, dump(&plain(disk), TOPIC));
            writer.ledger.judge(&rows).unwrap_or_else(|broken| panic!("{broken}"));
            writer.resume(&rows);
        }
        // The power went before the topic was made.
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert_eq!(writer.ledger.count(|told| matches!(told, Told::Acked { .. })), 0);
        }
    }
    if writer.dice.below(2) == 0 {
        disk.kill_process();
    }
    close(&bus).await;
}

/// Operations of one uncut life.
async fn ops_of_a_life() -> (u64, u64) {
    let disk = PowerDisk::new(0);
    let bus: Bus = open(&disk).await.expect("the power is on");
    let publisher = publisher(&bus).await.expect("the power is on");
    let opened = disk.ops();
    Writer::new(0).work(&publisher).await;
    (opened, disk.ops())
}

#[tokio::test]
async fn power_loss_keeps_what_was_acked() {
    let (_, ops) = ops_of_a_life().await;
    println!("seeds 0..250, {LIVES} power losses each, within {ops} operations");
    for seed in 0..250 {
        println!("seed {seed}");
        let (disk, mut writer) = (PowerDisk::new(seed), Writer::new(seed));
        for _ in 0..LIVES {
            let cut = writer.dice.below(ops as usize) as u64;
            live(&disk, &mut writer, cut).await;
        }
    }
}

#[tokio::test]
async fn power_loss_while_file_and_topic_are_made_keeps_what_was_acked() {
    let (opened, _) = ops_of_a_life().await;
    println!("cuts 0..{}, 4 seeds each", opened + 12);
    for (cut, throw) in (0..opened + 12).flat_map(|cut| (0..4).map(move |throw| (cut, throw))) {
        let seed = cut * 4 + throw;
        println!("seed {seed}, cut after {cut} operations");
        let (disk, mut writer) = (PowerDisk::new(seed), Writer::new(seed));
        live(&disk, &mut writer, cut).await;
        live(&disk, &mut writer, cut).await;
    }
}
