//! Deleting topics and groups together with what was parked for them.

use std::sync::Arc;

use super::parked::Parked;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::topic::{GroupName, TopicInfo, TopicName, group_active, group_not_found};

/// How a topic or a group is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Parked records go as well. Default: they keep their topic and their group from being deleted, since nothing else may
    /// hold them any more.
    pub with_parked: bool,
    /// Only say what would be deleted, and what keeps it. Default: delete it.
    pub dry_run: bool,
}

/// What a group has parked of a topic, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedCount {
    /// The group.
    pub group: GroupName,
    /// Records that wait.
    pub records: u64,
}

/// A parking topic, and what waits in it.
struct Leftover {
    parking: TopicName,
    count: ParkedCount,
}

/// Deletes a topic, its groups' offsets and their parking topics, those first: whoever is broken off in between calls again.
pub(crate) async fn delete_topic(
    driver: &Arc<dyn Driver>,
    name: &TopicName,
    deletion: Deletion,
) -> Result<Vec<ParkedCount>> {
    let topics = driver.topics().await?;
    let topic = topics.iter().find(|info| info.name == *name);
    let mut leftovers = Vec::new();
    for parking in topics.iter().filter(|info| info.name.parked_for().is_some_and(|(of, _)| of == *name)) {
        leftovers.extend(look(driver, topic, parking).await?);
    }
    if topic.is_none() && leftovers.is_empty() {
        // The driver names what is missing, or deletes what is left of a topic that was not made or deleted to its end.
        match deletion.dry_run {
            true => drop(driver.topic(name).await?),
            false => driver.delete_topic(name).await?,
        }
    }
    if topic.is_some() && driver.capabilities().groups {
        for (group, _) in driver.groups().await?.into_iter().filter(|(_, of)| of == name) {
            check_idle(driver, &group, name).await?;
        }
    }
    retire(driver, &leftovers, deletion).await.map_err(|error| error.at("delete topic", name))?;
    if topic.is_some() && !deletion.dry_run {
        driver.delete_topic(name).await?;
    }
    Ok(counts(leftovers))
}

/// Deletes a group's parking topic, and then its offsets.
pub(crate) async fn delete_group(
    driver: &Arc<dyn Driver>,
    topic: &TopicName,
    group: &GroupName,
    deletion: Deletion,
) -> Result<Vec<ParkedCount>> {
    let info = driver.topic(topic).await?;
    let leftover = match driver.topic(&topic.parking(group)).await {
        Ok(parking) => look(driver, Some(&info), &parking).await?,
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let leftovers: Vec<Leftover> = leftover.into_iter().collect();
    if leftovers.is_empty() && !driver.groups().await?.contains(&(group.clone(), topic.clone())) {
        return Err(group_not_found(group, topic));
    }
    check_idle(driver, group, topic).await?;
    retire(driver, &leftovers, deletion).await.map_err(|error| error.at("delete group", group))?;
    if !deletion.dry_run {
        match driver.delete_group(group, topic).await {
            // It had a parking topic, and no offset yet.
            Err(error) if error.kind() == ErrorKind::NotFound && !leftovers.is_empty() => {}
            deleted => deleted?,
        }
    }
    Ok(counts(leftovers))
}

/// What waits in a parking topic. Entries of another incarnation of its topic are none: nobody can replay them.
async fn look(driver: &Arc<dyn Driver>, topic: Option<&TopicInfo>, parking: &TopicInfo) -> Result<Option<Leftover>> {
    let Some((_, group)) = parking.name.parked_for() else { return Ok(None) };
    let records = match topic {
        Some(topic) => {
            let (driver, topic, parking) = (Arc::clone(driver), topic.clone(), parking.clone());
            Parked { driver, topic, parking, group: group.clone() }.count().await?
        }
        None => 0,
    };
    Ok(Some(Leftover { parking: parking.name.clone(), count: ParkedCount { group, records } }))
}

async fn retire(driver: &Arc<dyn Driver>, leftovers: &[Leftover], deletion: Deletion) -> Result<()> {
    for Leftover { parking, count } in leftovers {
        if count.records > 0 && !deletion.with_parked {
            return Err(holds_parked(count));
        }
        if driver.capabilities().groups {
            check_idle(driver, &count.group.replayers(), parking).await?;
        }
    }
    if !deletion.dry_run {
        for Leftover { parking, .. } in leftovers {
            driver.delete_topic(parking).await?;
        }
    }
    Ok(())
}

async fn check_idle(driver: &Arc<dyn Driver>, group: &GroupName, topic: &TopicName) -> Result<()> {
    let members: Vec<String> = driver.members(group, topic).await?.into_iter().map(|member| member.name).collect();
    if members.is_empty() { Ok(()) } else { Err(group_active(group, &members)) }
}

fn counts(leftovers: Vec<Leftover>) -> Vec<ParkedCount> {
    leftovers.into_iter().map(|leftover| leftover.count).collect()
}

fn holds_parked(count: &ParkedCount) -> Error {
    Error::new(ErrorKind::Unavailable, "ParkedRecords")
        .cause(format!(
            "group {} has {} records parked, and nothing else may hold them any more",
            count.group, count.records
        ))
        .next("replay or discard them with 'busline parked', or delete them as well (--with-parked)")
}
