//! The records of a backend by the driver's bounded reads: no group, no sink and no code of publishing is part of them.

use anyhow::Result;
use busline::{Bus, Offset, Partition, ReadRequest, Record, TopicName};
use tokio::sync::mpsc;

use super::judge::{Judge, Row, Verdict};
use crate::at_once::at_once;
use crate::workload::Workload;

/// Records asked for at once.
const RECORDS_MAX: usize = 4_096;

/// Reads all partitions of these topics and judges them.
///
/// Topics are read side by side, since a server takes hardly longer for all than for one; each waits with its next records
/// until the judge has taken those before.
pub(crate) async fn judge_driver(bus: &Bus, topics: &[String], workload: &Workload) -> Result<Verdict> {
    let (found, mut pieces) = mpsc::channel(1);
    let reading = topics.iter().enumerate().map(|(topic, name)| {
        let (bus, name, found) = (bus.clone(), name.clone(), found.clone());
        async move { read(&bus, topic, &name, &found).await }
    });
    let reading = at_once(reading.collect::<Vec<_>>());
    drop(found);
    let mut judge = Judge::new(workload);
    let judging = async {
        while let Some(Piece { topic, partition, records }) = pieces.recv().await {
            for Record { offset, key, headers, body, .. } in &records {
                judge.row(&Row { topic, partition, offset: offset.0, key, headers, body });
            }
        }
    };
    let (read, ()) = tokio::join!(reading, judging);
    read?;
    Ok(judge.finish())
}

/// Records of a partition, behind those of the piece before.
struct Piece {
    topic: usize,
    partition: u32,
    records: Vec<Record>,
}

/// Reads all partitions of one topic, each from its start to its end.
async fn read(bus: &Bus, topic: usize, name: &str, found: &mpsc::Sender<Piece>) -> Result<()> {
    let (driver, name) = (bus.driver(), TopicName::new(name)?);
    for partition in 0..driver.topic(&name).await?.spec.partitions {
        let bounds = driver.bounds(&name, Partition(partition)).await?;
        let mut from = bounds.start;
        while from < bounds.end {
            let request = ReadRequest {
                partition: Partition(partition),
                from,
                to: bounds.end,
                records_max: RECORDS_MAX,
                bytes_max: usize::MAX,
            };
            let records = driver.read(&name, request).await?;
            from = records.last().map_or(bounds.end, |last| Offset(last.offset.0 + 1));
            // The judge ends behind the last of those who read.
            drop(found.send(Piece { topic, partition, records }).await);
        }
    }
    Ok(())
}
