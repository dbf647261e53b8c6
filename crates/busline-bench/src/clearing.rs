//! Deleting what a run leaves on a bus that lives on.

use anyhow::Result;
use busline::{Bus, TopicName};

use crate::at_once::at_once;

/// Deletes topics of a run, all at once.
///
/// # Errors
/// Those of the driver.
pub(crate) async fn delete(bus: &Bus, topics: Vec<TopicName>) -> Result<()> {
    let deletions = topics.into_iter().map(|topic| {
        let bus = bus.clone();
        async move { bus.driver().delete_topic(&topic).await }
    });
    at_once(deletions).await.map(drop)
}
