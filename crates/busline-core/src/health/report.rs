//! What a look at a bus finds.

use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::subscription::Blocked;
use crate::topic::{GroupName, Partition, TopicName};

/// How a bus is. `Display` is one line, or several with a reason each.
///
/// # Source
/// Promise B1.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Health {
    /// The verdict.
    pub state: HealthState,
    /// Why it is not better, at least one if it is not healthy; in no order of importance.
    pub reasons: Vec<Reason>,
}

/// The verdict on a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthState {
    /// What is to move, moves.
    Healthy,
    /// Some of it does not, or something was lost; the reasons say what.
    Degraded,
    /// Nothing moves: the backend does not answer, or every publisher and subscription stands still.
    Down,
}

/// Whose work is spoken of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A publisher of this bus on a topic.
    Publisher(TopicName),
    /// A subscription of this bus.
    Subscription(GroupName, TopicName),
}

/// Why a bus is not healthy. `Display` is one line, with the next step.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Reason {
    /// The backend gives no sign of life, or refuses to.
    NoAnswer(Error),
    /// What the sink or the source says keeps it from moving; or why nothing more is read.
    Trouble(Work, Error),
    /// Envelopes of a publisher wait and none is acked, or records of a partition wait and no offset is committed.
    NoProgress {
        /// Whose.
        work: Work,
        /// The partition that waits longest; `None` for a publisher.
        partition: Option<Partition>,
        /// Envelopes or records that wait.
        waiting: u64,
        /// Since when nothing has moved, as far as the looks before this one show.
        standing: Duration,
    },
    /// Envelopes failed or are indeterminate since the look before, and none was acked.
    Failing {
        /// The topic.
        topic: TopicName,
        /// How many.
        envelopes: u64,
    },
    /// A record holds its key or its partition back.
    Blocked(GroupName, Blocked),
    /// Handlers have held their threads for longer than half a second without a pause; their keys wait for them, and once
    /// every thread of the runtime is held, everything on it does.
    HandlerBlocked {
        /// The topic.
        topic: TopicName,
        /// The group.
        group: GroupName,
        /// How many do at the moment.
        handlers: usize,
        /// The partitions of what they work on.
        partitions: Vec<Partition>,
    },
    /// Since the look before, handlers of this topic published about as many envelopes to the topic itself as they
    /// handled, or more: it never comes to its end. What they hand to tasks of their own is not seen.
    SelfFeedingTopic {
        /// The topic.
        topic: TopicName,
        /// The group whose handlers publish.
        group: GroupName,
        /// How many envelopes they published.
        envelopes: u64,
    },
    /// Records were deleted, by a limit of retention or a trim, before the group had finished them. Said for 10 minutes
    /// after the last of them, and by a bus that finds older ones.
    Deleted {
        /// The topic.
        topic: TopicName,
        /// The group, whether this bus has a member of it or not.
        group: GroupName,
        /// How many, in all.
        records: u64,
    },
    /// A subscription of this bus has found records missing that it was to read. Said for 10 minutes after the last.
    Missing {
        /// The topic.
        topic: TopicName,
        /// The group.
        group: GroupName,
        /// How many positions, since it was opened.
        positions: u64,
    },
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publisher(topic) => write!(f, "publisher of {topic}"),
            Self::Subscription(group, topic) => write!(f, "group {group} on {topic}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(error) => write!(f, "no answer: {error}"),
            Self::Trouble(work, error) => write!(f, "{work}: {error}"),
            Self::NoProgress { work, partition, waiting, standing } => {
                write!(f, "{work}: nothing has moved for {standing:.0?} while {waiting} wait")?;
                partition.map_or(Ok(()), |partition| write!(f, " in partition {partition}"))?;
                match work {
                    Work::Publisher(_) => f.write_str("; see whether the backend takes writes"),
                    Work::Subscription(..) => f.write_str("; see what its handlers wait for"),
                }
            }
            Self::Failing { topic, envelopes } => {
                write!(f, "publisher of {topic}: {envelopes} envelopes failed and none was acked; see their errors")
            }
            Self::Blocked(group, blocked) => write!(f, "group {group}: {blocked}"),
            Self::HandlerBlocked { topic, group, handlers, partitions } => {
                let partitions: Vec<_> = partitions.iter().map(ToString::to_string).collect();
                let partitions = partitions.join(", ");
                write!(
                    f,
                    "HandlerBlocked: group {group} on {topic}: {handlers} handlers block their threads, at work on \
                     partitions {partitions}; let them wait asynchronously or in tokio's spawn_blocking"
                )
            }
            Self::SelfFeedingTopic { topic, group, envelopes } => write!(
                f,
                "SelfFeedingTopic: handlers of group {group} published {envelopes} envelopes to their own topic {topic}, \
                 about as many as they handled or more; publish to another topic, or stop once nothing is left to do"
            ),
            Self::Deleted { topic, group, records } => write!(
                f,
                "{topic}: {records} records were deleted before group {group} had finished them; keep more of the topic, \
                 or let the group work faster"
            ),
            Self::Missing { topic, group, positions } => write!(
                f,
                "group {group} on {topic}: {positions} positions were missing where it read on; see what deleted them"
            ),
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Down => "down",
        })
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)?;
        self.reasons.iter().try_for_each(|reason| write!(f, "\n  {reason}"))
    }
}
