use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Process, nanos};
use crate::dump::Row;

/// Subject of a life entry that speaks of all publishers and members of its process.
pub const WHOLE_BUS: &str = "bus";

/// A fault began or ended. The last start of the same kind and target is the one that a stop ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Fault {
    /// Written before the fault is made.
    Start(FaultStart),
    /// Written after it is over.
    Stop(FaultEnd),
}

/// A fault as it was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultStart {
    /// Kind, for example `F1`.
    pub kind: String,
    /// What it was done to.
    pub target: Target,
    /// Seed that chose it.
    pub seed: u64,
    /// Its parameter in words, for example `pause 8 s`.
    pub parameter: String,
    /// What it can take from stored records.
    pub crash: Crash,
    /// Copies it can take at once, at least 1 where `crash` takes anything.
    pub copies: u8,
    /// Whether the bus must go on working meanwhile.
    pub tolerance: Tolerance,
}

/// The end of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultEnd {
    /// Kind, as at its start.
    pub kind: String,
    /// Target, as at its start.
    pub target: Target,
    /// What shows that it bit: connections lost, an error seen, a gap between acks. `None`: it had no effect.
    pub proof: Option<String>,
}

/// What a fault is done to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// A broker, by name.
    Broker(String),
    /// A process that uses the bus.
    Process(Process),
    /// A connection, by name.
    Network(String),
    /// A file or file system.
    Disk(String),
    /// A clock.
    Clock(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(name) => write!(f, "broker {name}"),
            Self::Process(process) => write!(f, "process {}.{}", process.pid, process.epoch),
            Self::Network(name) => write!(f, "network {name}"),
            Self::Disk(name) => write!(f, "disk {name}"),
            Self::Clock(name) => write!(f, "clock {name}"),
        }
    }
}

/// What a fault can take from the records that its target stores, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crash {
    /// Nothing: a cut, a pause, a delay, the death of a mere client.
    Nothing,
    /// The process that stores them ended.
    Process,
    /// Its operating system crashed or lost power.
    Power,
    /// The medium itself was damaged.
    Medium,
}

/// Whether progress is owed during a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tolerance {
    /// Progress must go on, for example with one of three brokers gone.
    Within,
    /// Nobody could go on; progress is owed again after it ends.
    Beyond,
}

/// Births and deaths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Life {
    /// A process, publisher or member is there.
    Open {
        /// Name of the publisher or member, or [`WHOLE_BUS`].
        subject: String,
        /// How far the process's monotonic clock is ahead of the machine's, in nanoseconds; merging takes it off.
        mono_shift_ns: i64,
        /// How far its wall clock is ahead, in nanoseconds.
        wall_shift_ns: i64,
    },
    /// Faults are healed, publishing is over, and the groups are waited for.
    DrainBegin,
    /// The wait is over.
    DrainEnd {
        /// How it ended.
        reached: Reached,
    },
    /// Written before a close is called.
    CloseBegin {
        /// What is closed: a publisher or member, or [`WHOLE_BUS`].
        subject: String,
        /// Deadline given to the close.
        #[serde(rename = "deadline_ns", with = "nanos")]
        deadline: Duration,
    },
    /// The close returned.
    CloseOk {
        /// What was closed.
        subject: String,
        /// Its result, in words; a repeated close must give the same.
        result: String,
    },
    /// The process is about to die, or was seen dead.
    Crash {
        /// Why, on one line.
        reason: String,
    },
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reached {
    /// Every group reached the end of its topics.
    End,
    /// The limit was over first.
    Limit,
}

/// A gauge was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Sample {
    /// Its value.
    Ok(Sampled),
}

/// Value of a gauge that has a bound: memory, a queue, a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampled {
    /// Name of the gauge, unit included, for example `window_bytes`.
    pub gauge: String,
    /// Its value.
    pub value: u64,
}

/// A part of an independent read of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum DumpRead {
    /// Some rows; a topic may take several entries, and one without rows says that the topic is empty.
    Ok(Dumped),
}

/// Rows of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dumped {
    /// Number of the read: the rows of one number belong together, the highest is the last read.
    pub read: u32,
    /// Topic that was read.
    pub topic: String,
    /// Rows found.
    pub rows: Vec<Row>,
}
