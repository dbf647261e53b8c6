use std::collections::HashMap;

use crate::dump::{Dump, Row};
use crate::position::Partition;

/// The dump, by id and by partition.
#[derive(Debug, Default)]
pub(crate) struct Stored<'a> {
    by_id: HashMap<&'a str, Vec<&'a Row>>,
    partitions: Vec<(Partition<'a>, Vec<&'a Row>)>,
    at: HashMap<Partition<'a>, usize>,
}

impl<'a> Stored<'a> {
    pub(crate) fn gather(dump: &'a Dump) -> Self {
        let mut stored = Self::default();
        for row in dump.rows() {
            if let Some(id) = &row.id {
                stored.by_id.entry(id).or_default().push(row);
            }
            stored.partition(row.position().partition).push(row);
        }
        let partitions = stored.partitions.iter_mut().map(|(_, rows)| rows);
        let rows = stored.by_id.values_mut().chain(partitions);
        rows.for_each(|rows| rows.sort_by_key(|row| row.position()));
        stored
    }

    /// The rows of an id, lowest position first.
    pub(crate) fn of(&self, id: &str) -> &[&'a Row] {
        self.by_id.get(id).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn holds(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// The rows of a partition, lowest offset first.
    pub(crate) fn in_partition(&self, partition: Partition<'_>) -> &[&'a Row] {
        self.at.get(&partition).map_or(&[], |at| &self.partitions[*at].1)
    }

    /// Every id with its rows, in no order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (&'a str, &[&'a Row])> {
        self.by_id.iter().map(|(id, rows)| (*id, rows.as_slice()))
    }

    /// Every partition with its rows, in order of their first row in the dump.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (Partition<'a>, &[&'a Row])> {
        self.partitions.iter().map(|(partition, rows)| (*partition, rows.as_slice()))
    }

    fn partition(&mut self, partition: Partition<'a>) -> &mut Vec<&'a Row> {
        let at = *self.at.entry(partition).or_insert_with(|| {
            self.partitions.push((partition, Vec::new()));
            self.partitions.len() - 1
        });
        &mut self.partitions[at].1
    }
}
