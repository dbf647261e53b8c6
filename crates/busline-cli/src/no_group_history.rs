//! Stands in for the history of a member where the feature is off.

use busline::{Ack, Commit, Delivery, Diagnosis, GroupName, Partition, Record, Result, TopicName};

use crate::watched::Step;

/// No history.
#[derive(Debug)]
pub(crate) struct GroupHistory;

impl GroupHistory {
    pub(crate) fn start(_group: &GroupName, _topic: &TopicName) -> Result<Self> {
        Ok(Self)
    }

    pub(crate) fn joining(&self, _member: &str) {}

    pub(crate) fn step(&self, _delivery: &Delivery, _step: Step) -> Result<()> {
        Ok(())
    }

    pub(crate) fn parking(&self, _record: &Record, _diagnosis: &Diagnosis) -> Result<()> {
        Ok(())
    }

    pub(crate) fn parked(
        &self,
        _record: &Record,
        _diagnosis: &Diagnosis,
        _at: Option<(&TopicName, &Ack)>,
    ) -> Result<()> {
        Ok(())
    }

    pub(crate) fn replaying(&self, _delivery: &Delivery) -> Result<()> {
        Ok(())
    }

    pub(crate) fn assigned(&self, _partition: Partition, _generation: u64) -> Result<()> {
        Ok(())
    }

    pub(crate) fn revoked(&self, _partition: Partition, _generation: u64) -> Result<()> {
        Ok(())
    }

    pub(crate) fn committing(&self, _commit: &Commit) -> Result<()> {
        Ok(())
    }

    pub(crate) fn committed(&self, _commit: &Commit, _outcome: &Result<()>) -> Result<()> {
        Ok(())
    }
}
