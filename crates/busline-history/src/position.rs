use std::fmt;

use crate::dump::Row;
use crate::entry::{Delivery, Settlement};

/// A partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Partition<'a> {
    pub(crate) topic: &'a str,
    pub(crate) number: u32,
}

impl<'a> Partition<'a> {
    pub(crate) fn at(self, offset: u64) -> Position<'a> {
        Position { partition: self, offset }
    }
}

impl fmt::Display for Partition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

/// A place in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Position<'a> {
    pub(crate) partition: Partition<'a>,
    pub(crate) offset: u64,
}

impl fmt::Display for Position<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)
    }
}

impl Delivery {
    pub(crate) fn position(&self) -> Position<'_> {
        Partition { topic: &self.topic, number: self.partition }.at(self.offset)
    }
}

impl Settlement {
    pub(crate) fn position(&self) -> Position<'_> {
        Partition { topic: &self.topic, number: self.partition }.at(self.offset)
    }
}

impl Row {
    pub(crate) fn position(&self) -> Position<'_> {
        Partition { topic: &self.topic, number: self.partition }.at(self.offset)
    }
}
