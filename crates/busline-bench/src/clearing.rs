//! Deleting what a run leaves on a bus that lives on.

use anyhow::Result;
use busline::{Bus, TopicName};

use crate::at_once::at_once;
use crate::connect::CLOSE_MAX;
use crate::place::{Stage, remove_file};
use crate::runtime::runtime;

/// Works on a stage and takes away what that leaves there, also of work that failed.
///
/// # Errors
/// Those of the work, else those of taking away.
pub(crate) fn leaving_nothing<T>(stage: &Stage, work: impl FnOnce() -> Result<T>) -> Result<T> {
    stage.note();
    let done = work();
    let cleared = clear(stage);
    let done = done?;
    cleared.map(|()| done)
}

/// Takes a run's records away: its topics from a bus that lives on, else its file.
fn clear(stage: &Stage) -> Result<()> {
    if !stage.lives_on {
        if let Some(file) = stage.file() {
            remove_file(&file);
        }
        return Ok(());
    }
    runtime()?.block_on(async {
        let bus = stage.bus().await?;
        let found = bus.driver().topics().await?.into_iter().map(|topic| topic.name);
        delete(&bus, found.filter(|name| stage.owns(name.as_str())).collect()).await?;
        bus.close(CLOSE_MAX).await?;
        stage.cleared();
        Ok(())
    })
}

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
