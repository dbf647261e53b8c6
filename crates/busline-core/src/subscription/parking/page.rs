//! Reading a parking topic, a page at a time.

use crate::driver::{Driver, ReadRequest};
use crate::error::Result;
use crate::record::Record;
use crate::topic::{Offset, Partition, TopicName};

/// Entries read at once.
const PAGE_RECORDS: usize = 1_024;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The next entries of a partition, none at its end.
pub(super) async fn read_page(
    driver: &dyn Driver,
    topic: &TopicName,
    partition: Partition,
    from: Offset,
) -> Result<Vec<Record>> {
    let to = Offset(u64::MAX);
    let request = ReadRequest { partition, from, to, records_max: PAGE_RECORDS, bytes_max: PAGE_BYTES };
    driver.read(topic, request).await
}

/// Whether entries may have gone between two pages, the first of which began with `first`: what was open there may have
/// been closed by entries that were never read.
pub(super) async fn was_trimmed(
    driver: &dyn Driver,
    topic: &TopicName,
    partition: Partition,
    first: Option<Offset>,
) -> Result<bool> {
    let Some(first) = first else { return Ok(false) };
    Ok(driver.bounds(topic, partition).await?.start > first)
}
