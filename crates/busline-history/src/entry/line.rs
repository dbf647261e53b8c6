use serde::{Deserialize, Serialize};

use super::{
    Accept, Assign, Batch, Commit, Deliver, DumpRead, Fault, Handler, Life, Publish, Revoke, Sample, Seek, Settle,
};

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Number of the entry in its process, from 0. Threads may write their lines out of this order.
    pub idx: u64,
    /// Monotonic clock of the machine in nanoseconds: comparable between its processes.
    pub mono_ns: u64,
    /// Wall clock in nanoseconds since 1970. For the eyes only; no order is judged by it.
    pub wall_ns: u64,
    /// Process that wrote the entry.
    pub pid: u32,
    /// How often that role was restarted before, from 0.
    pub epoch: u32,
    /// Who in the process wrote it: a sender, a handler, the harness.
    pub actor: String,
    /// What happened; written as the fields `op`, `type` and those of the operation.
    #[serde(flatten)]
    pub op: Op,
}

impl Entry {
    /// The process, told apart from an earlier one that had the same pid.
    pub fn process(&self) -> Process {
        Process { pid: self.pid, epoch: self.epoch }
    }
}

/// One run of an OS process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// Its restart number, from 0.
    pub epoch: u32,
}

/// What an entry says; the variant is the field `op`, the variant inside it the field `type`.
///
/// `sample` and `seek` are needed by the judges of bounds (A24) and of positions that go back (A14).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Op {
    /// A publish call and its outcome.
    Publish(Publish),
    /// The moment an envelope entered the window.
    Accept(Accept),
    /// A batch call and its outcomes, one per item.
    Batch(Batch),
    /// A record was handed to a group.
    Deliver(Deliver),
    /// A handler started or ended.
    Handler(Handler),
    /// What was decided about a record after its handler ended.
    Settle(Settle),
    /// A group's offset was committed.
    Commit(Commit),
    /// A member was given partitions.
    Assign(Assign),
    /// Partitions were taken from a member.
    Revoke(Revoke),
    /// A group's position was moved on purpose.
    Seek(Seek),
    /// A fault began or ended.
    Fault(Fault),
    /// Something opened, drained, closed or crashed.
    Life(Life),
    /// A gauge was read.
    Sample(Sample),
    /// A part of an independent read of a topic.
    Dump(DumpRead),
}

macro_rules! op_from {
    ($($name:ident),*) => {$(
        impl From<$name> for Op {
            fn from(op: $name) -> Self {
                Self::$name(op)
            }
        }
    )*};
}

op_from!(Publish, Accept, Batch, Deliver, Handler, Settle, Commit, Assign, Revoke, Seek, Fault, Life, Sample);

impl From<DumpRead> for Op {
    fn from(read: DumpRead) -> Self {
        Self::Dump(read)
    }
}
