//! How a topic comes to exist when a publisher or a subscription opens.

use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::retention::Retention;
use crate::topic::{GroupName, Provision, TopicInfo, TopicName, TopicSpec};

/// Finds or makes the topic as the provision says.
///
/// # Errors
/// `NotFound/Topic`, `Invalid/TopicMismatch` with the fields that differ, `Invalid/PartitionCount`.
///
/// # Source
/// Promise T2.
pub(crate) async fn provision(driver: &dyn Driver, name: &TopicName, provision: &Provision) -> Result<TopicInfo> {
    match provision {
        Provision::Skip => driver.topic(name).await,
        Provision::Validate(wanted) => validate(driver.topic(name).await?, wanted),
        Provision::CreateOnly(spec) => find_or_create(driver, name, spec).await,
        Provision::CreateOrUpdate(spec) => {
            let found = find_or_create(driver, name, spec).await?;
            if found.spec == *spec { Ok(found) } else { driver.update_topic(name, spec).await }
        }
    }
}

/// Finds or makes the topic in which a group parks the records of this topic.
///
/// # Errors
/// `Invalid/PartitionCount` if it is there for another count: the topic was made anew.
pub(crate) async fn provision_parking(driver: &dyn Driver, topic: &TopicInfo, group: &GroupName) -> Result<TopicInfo> {
    let name = topic.name.parking(group);
    let spec = TopicSpec { retention: Retention::default(), ..topic.spec.clone() };
    let found = find_or_create(driver, &name, &spec).await?;
    found.spec.check_update(&spec).map_err(|error| {
        error
            .next("the topic was made anew with another count: delete its old parking topic")
            .at("parking topic", &name)
    })?;
    Ok(found)
}

async fn find_or_create(driver: &dyn Driver, name: &TopicName, spec: &TopicSpec) -> Result<TopicInfo> {
    match driver.topic(name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    spec.validate()?;
    match driver.create_topic(name, spec).await {
        // Somebody else made it in the meantime.
        Err(error) if error.code() == "AlreadyExists/Topic" => driver.topic(name).await,
        Ok(made) => {
            tracing::info!(topic = %name, partitions = spec.partitions, "created a missing topic");
            Ok(made)
        }
        refused => refused,
    }
}

fn validate(found: TopicInfo, wanted: &TopicSpec) -> Result<TopicInfo> {
    let differences = found.spec.differences(wanted);
    if differences.is_empty() {
        return Ok(found);
    }
    Err(Error::invalid("TopicMismatch")
        .cause(differences.join("; "))
        .next("change the wanted spec, or the topic")
        .at("validate topic", &found.name))
}
