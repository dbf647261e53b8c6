//! `busline group`: list, show, seek and delete.

use std::fmt;

use busline::{
    Bus, Deletion, Driver, Error, ErrorKind, GroupName, Lag, Member, Offset, Partition, Result, Start, TopicName,
    group_active, group_not_found, offset_beyond_end,
};
use serde::Serialize;

use super::Ended;
use super::job::close;
use super::mode::Mode;
use crate::args::Group;
use crate::output::Output;
use crate::target::Target;

pub(crate) struct Request {
    bus: Target,
    action: Action,
}

enum Action {
    List,
    Show(GroupName, Option<TopicName>),
    Seek { group: GroupName, topic: TopicName, to: Start, mode: Mode },
    Delete { group: GroupName, topic: TopicName, deletion: Deletion },
}

impl Request {
    pub(crate) fn new(args: Group, bus: Target) -> Result<Self> {
        let action = match args {
            Group::List => Action::List,
            Group::Show { group, topic } => {
                Action::Show(GroupName::new(&group)?, topic.map(|topic| TopicName::new(&topic)).transpose()?)
            }
            Group::Seek { group, topic, to, dry_run } => Action::Seek {
                group: GroupName::new(&group)?,
                topic: TopicName::new(&topic)?,
                to,
                mode: Mode::of(dry_run),
            },
            Group::Delete { group, topic, with_parked, dry_run } => Action::Delete {
                group: GroupName::new(&group)?,
                topic: TopicName::new(&topic)?,
                deletion: Deletion { with_parked, dry_run },
            },
        };
        Ok(Self { bus, action })
    }
}

pub(crate) async fn run(request: Request, output: &mut Output) -> Result<Ended> {
    let Some(bus) = request.bus.connect_existing().await? else {
        return match request.action {
            Action::List => Ok(Ended::Done),
            Action::Show(group, topic) => Err(no_such_group(&group, topic.as_ref())),
            Action::Seek { topic, .. } | Action::Delete { topic, .. } => Err(busline::topic_not_found(&topic)),
        };
    };
    let outcome = act(&bus, request.action, output).await;
    close(&bus, outcome).await
}

async fn act(bus: &Bus, action: Action, output: &mut Output) -> Result<Ended> {
    let driver = &**bus.driver();
    match action {
        Action::List => {
            for (group, topic) in driver.groups().await?.into_iter().filter(|(_, topic)| !topic.is_own()) {
                if let Some(view) = GroupView::look_if_there(driver, &group, &topic).await? {
                    output.data(&GroupLine::of(&view))?;
                }
            }
        }
        Action::Show(group, topic) => {
            let topics = topics_of(driver, &group, topic.as_ref()).await?;
            for topic in topics {
                output.data(&GroupView::look(driver, &group, &topic).await?)?;
            }
        }
        Action::Seek { group, topic, to, mode } => seek(bus, &group, &topic, &to, mode, output).await?,
        Action::Delete { group, topic, deletion } => {
            driver.topic(&topic).await?;
            let found = GroupView::look(driver, &group, &topic).await?;
            let parked = bus.delete_group(group.as_str(), topic.as_str(), deletion).await?;
            let parked = parked.into_iter().map(|parked| parked.records).sum();
            output.data(&Deleted { deleted: !deletion.dry_run, group: found, parked })?;
        }
    }
    Ok(Ended::Done)
}

/// The topics on which the group is known, or the one that is asked for.
async fn topics_of(driver: &dyn Driver, group: &GroupName, topic: Option<&TopicName>) -> Result<Vec<TopicName>> {
    if let Some(topic) = topic {
        driver.topic(topic).await?;
    }
    let known = driver.groups().await?.into_iter().filter(|(name, _)| name == group).map(|(_, topic)| topic);
    let topics: Vec<_> = known.filter(|known| topic.is_none_or(|topic| topic == known)).collect();
    if topics.is_empty() { Err(no_such_group(group, topic)) } else { Ok(topics) }
}

fn no_such_group(group: &GroupName, topic: Option<&TopicName>) -> Error {
    topic.map_or_else(
        || {
            Error::new(ErrorKind::NotFound, "Group")
                .cause("no such group")
                .next("see the groups with 'busline group list'")
                .at("group", group)
        },
        |topic| group_not_found(group, topic),
    )
}

/// The group as it is, if it exists and nobody is at work in it.
async fn idle(driver: &dyn Driver, group: &GroupName, topic: &TopicName) -> Result<GroupView> {
    topics_of(driver, group, Some(topic)).await?;
    let found = GroupView::look(driver, group, topic).await?;
    if found.members.is_empty() {
        return Ok(found);
    }
    Err(group_active(group, &found.members.into_iter().map(|member| member.name).collect::<Vec<_>>()))
}

/// What had been parked and replayed runs again from here on.
async fn forget_closed(bus: &Bus, group: &GroupName, topic: &TopicName, from: &[(Partition, Offset)]) -> Result<()> {
    match bus.parked(topic.as_str(), group.as_str()).await {
        Ok(parked) => parked.forget_closed(from).await,
        Err(error) if error.code() == "NotFound/Parking" => Ok(()),
        Err(error) => Err(error),
    }
}

async fn seek(
    bus: &Bus,
    group: &GroupName,
    topic: &TopicName,
    to: &Start,
    mode: Mode,
    output: &mut Output,
) -> Result<()> {
    let driver = &**bus.driver();
    let found = idle(driver, group, topic).await?;
    let moves = moves(driver, topic, &found, to).await?;
    let moved = mode == Mode::ForGood;
    if moved {
        let offsets: Vec<_> = moves.iter().map(|Move { partition, to, .. }| (*partition, *to)).collect();
        forget_closed(bus, group, topic, &offsets).await?;
        driver.move_committed(group, topic, &offsets).await?;
    }
    output.data(&Seek { group: found.group, topic: found.topic, moved, partitions: moves })
}

/// Where each partition goes that is to be moved.
async fn moves(driver: &dyn Driver, topic: &TopicName, found: &GroupView, to: &Start) -> Result<Vec<Move>> {
    let named: Vec<Partition> = match to {
        Start::Offsets(offsets) => offsets.iter().map(|(partition, _)| *partition).collect(),
        _ => found.partitions.iter().map(|lag| lag.partition).collect(),
    };
    let mut moves = Vec::with_capacity(named.len());
    for partition in named {
        let bounds = driver.bounds(topic, partition).await?;
        let to = match to {
            Start::Earliest => bounds.start,
            Start::Latest => bounds.end,
            Start::Time(time) => driver.offset_at(topic, partition, *time).await?,
            Start::Offsets(offsets) => {
                offsets.iter().find(|(named, _)| *named == partition).map_or(bounds.start, |(_, offset)| *offset)
            }
        };
        if to > bounds.end {
            return Err(offset_beyond_end(partition, to, bounds.end).at("seek", topic));
        }
        let from = found.partitions.iter().find(|lag| lag.partition == partition).and_then(|lag| lag.committed);
        moves.push(Move { partition, from, to });
    }
    Ok(moves)
}

/// A group on a topic, as `show` prints it.
#[derive(Serialize)]
pub(super) struct GroupView {
    group: String,
    topic: String,
    /// Records that are there and not finished, in all.
    lag: u64,
    /// Records that were deleted before the group had finished them, in all.
    deleted_unread: Option<u64>,
    members: Vec<MemberView>,
    partitions: Vec<LagView>,
}

impl GroupView {
    /// The group as it is; `None` if its topic was deleted after it had been listed.
    async fn look_if_there(driver: &dyn Driver, group: &GroupName, topic: &TopicName) -> Result<Option<Self>> {
        match Self::look(driver, group, topic).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    pub(super) async fn look(driver: &dyn Driver, group: &GroupName, topic: &TopicName) -> Result<Self> {
        let lag = driver.lag(group, topic).await?;
        let members = driver.members(group, topic).await?;
        Ok(Self {
            group: group.to_string(),
            topic: topic.to_string(),
            lag: lag.iter().map(|lag| lag.records).sum(),
            deleted_unread: lag.iter().map(|lag| lag.deleted).sum(),
            partitions: lag.iter().map(|lag| LagView::of(lag, &members)).collect(),
            members: members.into_iter().map(MemberView::of).collect(),
        })
    }
}

#[derive(Serialize)]
struct MemberView {
    name: String,
    partitions: Vec<Partition>,
}

impl MemberView {
    fn of(member: Member) -> Self {
        Self { name: member.name, partitions: member.partitions }
    }
}

#[derive(Serialize)]
struct LagView {
    partition: Partition,
    committed: Option<Offset>,
    end: Offset,
    lag: u64,
    deleted_unread: Option<u64>,
    owner: Option<String>,
}

impl LagView {
    fn of(lag: &Lag, members: &[Member]) -> Self {
        let owner = members.iter().find(|member| member.partitions.contains(&lag.partition));
        Self {
            partition: lag.partition,
            committed: lag.committed,
            end: lag.end,
            lag: lag.records,
            deleted_unread: lag.deleted,
            owner: owner.map(|owner| owner.name.clone()),
        }
    }
}

impl fmt::Display for LagView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, committed, end, lag, deleted_unread, owner } = self;
        write!(
            f,
            "partition {partition}  committed {} of {end}  lag {lag}{}",
            or_none(*committed),
            unread(*deleted_unread)
        )?;
        owner.as_ref().map_or(Ok(()), |owner| write!(f, "  held by {owner}"))
    }
}

/// What is said of records that were deleted before they were finished; nothing, if none were.
fn unread(deleted: Option<u64>) -> String {
    deleted.filter(|deleted| *deleted > 0).map_or_else(String::new, |deleted| format!("  deleted unread {deleted}"))
}

fn or_none(offset: Option<Offset>) -> String {
    offset.map_or_else(|| "none".into(), |offset| offset.to_string())
}

impl GroupView {
    fn headline(&self) -> String {
        let members = self.members.len();
        let deleted = unread(self.deleted_unread);
        format!("{}  topic {}  {members} members  lag {}{deleted}", self.group, self.topic, self.lag)
    }
}

impl fmt::Display for GroupView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        self.partitions.iter().try_for_each(|partition| write!(f, "\n  {partition}"))?;
        self.members
            .iter()
            .filter(|member| member.partitions.is_empty())
            .try_for_each(|member| write!(f, "\n  member {} holds nothing", member.name))
    }
}

/// A group on a topic, as `list` prints it.
#[derive(Serialize)]
struct GroupLine {
    group: String,
    topic: String,
    members: usize,
    lag: u64,
    #[serde(skip)]
    headline: String,
}

impl GroupLine {
    fn of(view: &GroupView) -> Self {
        Self {
            group: view.group.clone(),
            topic: view.topic.clone(),
            members: view.members.len(),
            lag: view.lag,
            headline: view.headline(),
        }
    }
}

impl fmt::Display for GroupLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline)
    }
}

/// A group that was moved, or would be.
#[derive(Serialize)]
struct Seek {
    group: String,
    topic: String,
    moved: bool,
    partitions: Vec<Move>,
}

#[derive(Serialize)]
struct Move {
    partition: Partition,
    from: Option<Offset>,
    to: Offset,
}

impl fmt::Display for Seek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} on {}", if self.moved { "moved" } else { "would move" }, self.group, self.topic)?;
        self.partitions.iter().try_for_each(|Move { partition, from, to }| {
            write!(f, "\n  partition {partition}  from {} to {to}", or_none(*from))
        })
    }
}

/// A group that was forgotten, or would be.
#[derive(Serialize)]
struct Deleted {
    deleted: bool,
    #[serde(flatten)]
    group: GroupView,
    /// Parked records that went too.
    parked: u64,
}

impl fmt::Display for Deleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.deleted { "deleted" } else { "would delete" }, self.group)?;
        if self.parked > 0 { write!(f, "\n  {} parked records", self.parked) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use busline::TopicSpec;

    use super::*;

    #[tokio::test]
    async fn a_group_whose_topic_is_deleted_while_groups_are_listed_is_none() {
        let bus = busline::connect("memory:").await.expect("it opens");
        let (driver, group) = (&**bus.driver(), GroupName::new("billing").expect("legal"));
        for name in ["orders", "payments"] {
            let topic = TopicName::new(name).expect("legal");
            driver.create_topic(&topic, &TopicSpec::default()).await.expect("it is new");
            driver.move_committed(&group, &topic, &[(Partition(0), Offset(0))]).await.expect("nobody reads");
        }
        let listed = driver.groups().await.expect("it answers");
        driver.delete_topic(&listed[0].1).await.expect("it is there");
        let mut found = Vec::new();
        for (group, topic) in &listed {
            found.push(GroupView::look_if_there(driver, group, topic).await.expect("nothing is wrong").is_some());
        }
        assert_eq!(found, [false, true]);
    }
}
