//! `busline topic`: create, show, list and delete.

use std::fmt;

use busline::{
    Bounds, Bus, Deletion, Driver, ErrorKind, ParkedCount, Partition, Result, Retention, TopicInfo, TopicName,
    TopicSpec, topic_not_found,
};
use serde::Serialize;

use super::Ended;
use super::group::GroupView;
use super::job::close;
use super::limits::millis;
use crate::args::Topic;
use crate::output::Output;
use crate::target::Target;

pub(crate) struct Request {
    bus: Target,
    action: Action,
}

enum Action {
    Create(TopicName, TopicSpec),
    Show(TopicName),
    List,
    Delete(TopicName, Deletion),
}

impl Request {
    pub(crate) fn new(args: Topic, bus: Target) -> Result<Self> {
        let action = match args {
            Topic::Create { topic, partitions, retention } => {
                let retention = Retention {
                    age_max: retention.retain_age,
                    bytes_max: retention.retain_bytes,
                    records_max: retention.retain_records,
                };
                let spec = TopicSpec { partitions, retention, ..TopicSpec::default() };
                let topic = TopicName::new(&topic)?;
                spec.validate().map_err(|error| error.at("create topic", &topic))?;
                Action::Create(topic, spec)
            }
            Topic::Show { topic } => Action::Show(TopicName::new(&topic)?),
            Topic::List => Action::List,
            Topic::Delete { topic, with_parked, dry_run } => {
                Action::Delete(TopicName::new(&topic)?, Deletion { with_parked, dry_run })
            }
        };
        Ok(Self { bus, action })
    }
}

pub(crate) async fn run(request: Request, output: &mut Output) -> Result<Ended> {
    let bus = match (&request.action, request.bus.connect_existing().await?) {
        (_, Some(bus)) => bus,
        (Action::Create(..), None) => request.bus.connect().await?,
        (Action::List, None) => return Ok(Ended::Done),
        (Action::Show(topic) | Action::Delete(topic, _), None) => return Err(topic_not_found(topic)),
    };
    let outcome = act(&bus, request.action, output).await;
    close(&bus, outcome).await
}

async fn act(bus: &Bus, action: Action, output: &mut Output) -> Result<Ended> {
    let driver = &**bus.driver();
    match action {
        Action::Create(name, spec) => {
            output.data(&TopicView::of(&driver.create_topic(&name, &spec).await?))?;
        }
        Action::Show(name) => {
            let info = driver.topic(&name).await?;
            let (partitions, groups) = (contents(driver, &info).await?, groups(driver, &name).await?);
            output.data(&TopicContents { topic: TopicView::of(&info), partitions, groups })?;
        }
        Action::List => {
            for info in driver.topics().await?.iter().filter(|info| !info.name.is_own()) {
                output.data(&TopicView::of(info))?;
            }
        }
        Action::Delete(name, deletion) => {
            let partitions = match driver.topic(&name).await {
                Ok(info) => contents(driver, &info).await?,
                // What is left of its parking may be there all the same.
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(error),
            };
            let parked = bus.delete_topic(name.as_str(), deletion).await?;
            output.data(&Deleted {
                topic: name.to_string(),
                deleted: !deletion.dry_run,
                partitions,
                parked: parked.into_iter().map(ParkedView::of).collect(),
            })?;
        }
    }
    Ok(Ended::Done)
}

async fn contents(driver: &dyn Driver, info: &TopicInfo) -> Result<Vec<PartitionView>> {
    let mut contents = Vec::with_capacity(info.spec.partitions as usize);
    for partition in (0..info.spec.partitions).map(Partition) {
        contents.push(PartitionView::of(partition, driver.bounds(&info.name, partition).await?));
    }
    Ok(contents)
}

/// How far each group of the topic is.
async fn groups(driver: &dyn Driver, topic: &TopicName) -> Result<Vec<GroupView>> {
    let mut groups = Vec::new();
    if driver.capabilities().groups {
        for (group, _) in driver.groups().await?.into_iter().filter(|(_, of)| of == topic) {
            groups.push(GroupView::look(driver, &group, topic).await?);
        }
    }
    Ok(groups)
}

/// A topic as it is printed.
#[derive(Serialize)]
struct TopicView {
    topic: String,
    partitions: u32,
    replicas: u8,
    retention: String,
    retain_age_ms: Option<u64>,
    retain_bytes: Option<u64>,
    retain_records: Option<u64>,
    incarnation: String,
}

impl TopicView {
    fn of(info: &TopicInfo) -> Self {
        Self {
            topic: info.name.to_string(),
            partitions: info.spec.partitions,
            replicas: info.spec.replicas,
            retention: info.spec.retention.to_string(),
            retain_age_ms: info.spec.retention.age_max.map(millis),
            retain_bytes: info.spec.retention.bytes_max,
            retain_records: info.spec.retention.records_max,
            incarnation: info.incarnation.to_string(),
        }
    }
}

impl fmt::Display for TopicView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partitions, replicas, retention, .. } = self;
        write!(f, "{topic}  {partitions} partitions, {replicas} replicas, retention {retention}")
    }
}

/// What a partition holds: from `start` up to, not including, `end`.
#[derive(Serialize)]
struct PartitionView {
    partition: Partition,
    start: u64,
    end: u64,
}

impl PartitionView {
    fn of(partition: Partition, bounds: Bounds) -> Self {
        Self { partition, start: bounds.start.0, end: bounds.end.0 }
    }
}

impl fmt::Display for PartitionView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  partition {}  offsets {} to {}", self.partition, self.start, self.end)?;
        if self.start == self.end { write!(f, " (empty)") } else { Ok(()) }
    }
}

#[derive(Serialize)]
struct TopicContents {
    #[serde(flatten)]
    topic: TopicView,
    #[serde(rename = "contents")]
    partitions: Vec<PartitionView>,
    groups: Vec<GroupView>,
}

impl fmt::Display for TopicContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.topic.fmt(f)?;
        self.partitions.iter().try_for_each(|partition| partition.fmt(f))?;
        self.groups.iter().try_for_each(|group| write!(f, "\ngroup {group}"))
    }
}

/// A topic that was deleted, or would be.
#[derive(Serialize)]
struct Deleted {
    topic: String,
    deleted: bool,
    #[serde(rename = "contents")]
    partitions: Vec<PartitionView>,
    parked: Vec<ParkedView>,
}

/// What a group had parked that went too.
#[derive(Serialize)]
pub(super) struct ParkedView {
    group: String,
    records: u64,
}

impl ParkedView {
    pub(super) fn of(count: ParkedCount) -> Self {
        Self { group: count.group.to_string(), records: count.records }
    }
}

impl fmt::Display for ParkedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n  {} records parked by group {}", self.records, self.group)
    }
}

impl fmt::Display for Deleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.deleted { "deleted" } else { "would delete" }, self.topic)?;
        self.partitions.iter().try_for_each(|partition| partition.fmt(f))?;
        self.parked.iter().filter(|parked| parked.records > 0).try_for_each(|parked| parked.fmt(f))
    }
}
