//! Groups: where the source and the committed offsets join the driver.
//!
//! Hand-over point. Until groups are built, [`Capabilities::groups`] is `false` and each call is refused by name. What
//! the driver gives to whoever builds them is [`NatsDriver::admin`] (questions and reads through the leader),
//! [`NatsDriver::home`] (the thread for leases and heartbeats) and [`NatsDriver::dialer`] (links for readers).

use busline_core::{Capabilities, GroupName, Lag, Member, Offset, Partition, Result, Source, SourceRequest, TopicName};
use std::sync::Arc;

use crate::driver::NatsDriver;

#[expect(clippy::unused_async, reason = "the contract's calls wait for the server once groups are built")]
impl NatsDriver {
    fn no_groups<T>(&self) -> Result<T> {
        let capabilities: &Capabilities = busline_core::Driver::capabilities(self);
        Err(capabilities.groups_unsupported())
    }

    pub(crate) async fn join(&self, _request: SourceRequest) -> Result<Arc<dyn Source>> {
        self.no_groups()
    }

    pub(crate) async fn group_committed(&self, _group: &GroupName, _topic: &TopicName) -> Result<Vec<Option<Offset>>> {
        self.no_groups()
    }

    pub(crate) async fn group_lag(&self, _group: &GroupName, _topic: &TopicName) -> Result<Vec<Lag>> {
        self.no_groups()
    }

    pub(crate) async fn move_group(
        &self,
        _group: &GroupName,
        _topic: &TopicName,
        _to: &[(Partition, Offset)],
    ) -> Result<()> {
        self.no_groups()
    }

    pub(crate) async fn forget_group(&self, _group: &GroupName, _topic: &TopicName) -> Result<()> {
        self.no_groups()
    }

    pub(crate) async fn all_groups(&self) -> Result<Vec<(GroupName, TopicName)>> {
        self.no_groups()
    }

    pub(crate) async fn group_members(&self, _group: &GroupName, _topic: &TopicName) -> Result<Vec<Member>> {
        self.no_groups()
    }
}
