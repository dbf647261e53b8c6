//! `busline topic`: create, update, show, list and delete.

use std::fmt;
use std::time::Duration;

use busline::{
    Bounds, Bus, Deletion, Driver, ErrorKind, ParkedCount, Partition, Result, Retention, TopicInfo, TopicName,
    TopicSpec, topic_not_found,
};
use serde::Serialize;

use super::Ended;
use super::group::GroupView;
use super::job::close;
use super::limits::millis;
use super::mode::Mode;
use crate::args::{Limit, Topic, TopicUpdate};
use crate::output::Output;
use crate::target::Target;

pub(crate) struct Request {
    bus: Target,
    action: Action,
}

enum Action {
    Create(TopicName, TopicSpec),
    Update(TopicName, Changes, Mode),
    Show(TopicName),
    List,
    Delete(TopicName, Deletion),
}

/// What is to change of a spec.
struct Changes {
    partitions: Option<u32>,
    replicas: Option<u8>,
    age_max: Option<Limit<Duration>>,
    bytes_max: Option<Limit<u64>>,
    records_max: Option<Limit<u64>>,
}

impl Changes {
    fn of(args: &TopicUpdate) -> Self {
        Self {
            partitions: args.partitions,
            replicas: args.replicas,
            age_max: args.retain_age,
            bytes_max: args.retain_bytes,
            records_max: args.retain_records,
        }
    }

    /// The spec as it is to be.
    fn applied(&self, is: &TopicSpec) -> TopicSpec {
        TopicSpec {
            partitions: self.partitions.unwrap_or(is.partitions),
            replicas: self.replicas.unwrap_or(is.replicas),
            retention: Retention {
                age_max: self.age_max.map_or(is.retention.age_max, Limit::at),
                bytes_max: self.bytes_max.map_or(is.retention.bytes_max, Limit::at),
                records_max: self.records_max.map_or(is.retention.records_max, Limit::at),
            },
            ..is.clone()
        }
    }
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
            Topic::Update(args) => {
                Action::Update(TopicName::new(&args.topic)?, Changes::of(&args), Mode::of(args.dry_run))
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
        (Action::Show(topic) | Action::Update(topic, ..) | Action::Delete(topic, _), None) => {
            return Err(topic_not_found(topic));
        }
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
        Action::Update(name, changes, mode) => output.data(&update(driver, &name, &changes, mode).await?)?,
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

async fn update(driver: &dyn Driver, name: &TopicName, changes: &Changes, mode: Mode) -> Result<Update> {
    let is = driver.topic(name).await?;
    let wanted = changes.applied(&is.spec);
    wanted.validate().and_then(|()| is.spec.check_update(&wanted)).map_err(|error| error.at("update topic", name))?;
    let changes = is.spec.differences(&wanted);
    let updated = mode == Mode::ForGood && !changes.is_empty();
    let info = if updated { driver.update_topic(name, &wanted).await? } else { TopicInfo { spec: wanted, ..is } };
    Ok(Update { topic: TopicView::of(&info), updated, changes })
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

/// A topic that was changed, or would be, as it is then.
#[derive(Serialize)]
struct Update {
    #[serde(flatten)]
    topic: TopicView,
    updated: bool,
    /// Each as `field: is … , wanted …`.
    changes: Vec<String>,
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.updated, self.changes.is_empty()) {
            (true, _) => "updated",
            (false, false) => "would update",
            (false, true) => "nothing to change:",
        };
        write!(f, "{what} {}", self.topic.topic)?;
        self.changes.iter().try_for_each(|change| write!(f, "\n  {change}"))
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
