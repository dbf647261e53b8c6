use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::entry::Process;

/// What the run was meant to be: facts that no history can show, and the limits it is judged by.
///
/// Keep it beside the histories of a failed run, so that the run can be judged again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// Processes that the harness killed: their open publishes are indeterminate, their handlers ended at their death.
    pub killed: BTreeSet<Process>,
    /// Groups that must handle what is acked. Groups that are not named are judged by order and progress only.
    pub groups: Vec<GroupPlan>,
    /// Whether ids were deduplicated for the application. Default: they were not.
    pub deduplication: Deduplication,
    /// Order that the groups promise. Default: by key.
    pub order: Order,
    /// What a parked record means for its key. Default: the key flows.
    pub parked: Parked,
    /// Effects that the handlers promise. Default: at least once.
    pub effects: Effects,
    /// Whether a group may pass over positions. Default: never.
    pub gaps: Gaps,
    /// Attempts after which a record must be parked. `None`, the default: nothing is ever parked by count.
    pub attempts_max: Option<u32>,
    /// Highest value allowed for each gauge that is sampled.
    pub gauge_bounds: BTreeMap<String, u64>,
    /// How much later than the event itself its entry may be written by a thread that only observes it. Default 10 ms.
    ///
    /// It is granted wherever an earlier event would be innocent. Too short and a loaded machine accuses the bus; too
    /// long and a slip within that time is not seen.
    pub report_lag: Duration,
    /// Grace on top of a publish deadline before its outcome counts as lost. Default 1 s, promise P2.
    pub outcome_grace: Duration,
    /// Grace on top of the deadline of a close, for the scheduler. Default 250 ms.
    pub close_grace: Duration,
    /// How early a delay may fire. Default 1 ms, a tick of the timer.
    pub timer_tick: Duration,
    /// Rest after a fault beyond tolerance before progress is owed again. Default 10 s.
    pub calm: Duration,
    /// Longest time without a handler start while something waits. Default 30 s.
    pub stuck_after: Duration,
    /// Longest drain. Default 60 s.
    pub drain_limit: Duration,
    /// Fewest acked envelopes that make a run count. Default 1,000.
    pub acked_min: u64,
    /// Fewest faults with proof that make a run count. Default 1; 0 for a run without faults.
    pub effective_faults_min: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            killed: BTreeSet::new(),
            groups: Vec::new(),
            deduplication: Deduplication::None,
            order: Order::ByKey,
            parked: Parked::KeyFlows,
            effects: Effects::AtLeastOnce,
            gaps: Gaps::Never,
            attempts_max: None,
            gauge_bounds: BTreeMap::new(),
            report_lag: Duration::from_millis(10),
            outcome_grace: Duration::from_secs(1),
            close_grace: Duration::from_millis(250),
            timer_tick: Duration::from_millis(1),
            calm: Duration::from_secs(10),
            stuck_after: Duration::from_secs(30),
            drain_limit: Duration::from_secs(60),
            acked_min: 1_000,
            effective_faults_min: 1,
        }
    }
}

/// A group that reads a topic to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlan {
    /// Group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// First offset it must handle, by partition; a partition that is not named starts at its beginning.
    pub start: BTreeMap<u32, u64>,
}

impl GroupPlan {
    /// A group that reads a topic from the beginning.
    pub fn from_beginning(group: impl Into<String>, topic: impl Into<String>) -> Self {
        Self { group: group.into(), topic: topic.into(), start: BTreeMap::new() }
    }
}

/// What happens to a second publish of an id by the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deduplication {
    /// It is a second record.
    None,
    /// It is no record if it comes within this time after the one before.
    Within(Duration),
}

/// Order in which a group handles records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// In offset order within a key.
    ByKey,
    /// None.
    None,
}

/// What a parked record means for its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Parked {
    /// Later records run on once it is acked in the parking topic.
    KeyFlows,
    /// Later records wait until it was replayed or given up, also those that are parked behind it.
    KeyWaits,
}

/// How often a record may take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effects {
    /// Once or more.
    AtLeastOnce,
    /// Once.
    Once,
}

/// Whether a group may pass over stored positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gaps {
    /// Never.
    Never,
    /// It filters, or the topic is compacted.
    Legal,
}
