//! The records of a backend by the driver's bounded reads: no group, no sink and no code of publishing is part of them.

use anyhow::Result;
use busline::{Bus, Offset, Partition, ReadRequest, TopicName};

use super::judge::{Judge, Row, Verdict};
use crate::workload::Workload;

/// Records asked for at once.
const RECORDS_MAX: usize = 4_096;

/// Reads all partitions of these topics and judges them.
pub(crate) async fn judge_driver(bus: &Bus, topics: &[String], workload: &Workload) -> Result<Verdict> {
    let driver = bus.driver();
    let mut judge = Judge::new(workload);
    for (topic, name) in topics.iter().enumerate() {
        let name = TopicName::new(name)?;
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
                for record in &records {
                    let offset = record.offset.0;
                    let (key, headers, body) = (&record.key, &record.headers, &record.body);
                    judge.row(&Row { topic, partition, offset, key, headers, body });
                }
                from = records.last().map_or(bounds.end, |last| Offset(last.offset.0 + 1));
            }
        }
    }
    Ok(judge.finish())
}
