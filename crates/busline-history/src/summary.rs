use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::entry::Action;
use crate::run::{Run, State, redeliveries};
use crate::violation::{Anomaly, Severity, Violation};

/// A run in numbers. Each is printed by every run, also a good one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Publish calls, items of batches among them.
    pub attempted: u64,
    /// Of these acked.
    pub acked: u64,
    /// Of these certainly not stored.
    pub failed: u64,
    /// Of these unknown, those of killed processes among them.
    pub indeterminate: u64,
    /// Of the unknown, those found stored or delivered.
    pub recovered: u64,
    /// Envelopes that reached a group, counted once for each group.
    pub delivered: u64,
    /// Hand-overs beyond the first, by cause; `none` is A7.
    pub duplicates: BTreeMap<&'static str, u64>,
    /// Records parked, counted once for each group.
    pub parked: u64,
    /// Findings of A1 and A2.
    pub lost: u64,
    /// Findings of A9, A11 and A14.
    pub reordered: u64,
    /// Faults by kind.
    pub faults: BTreeMap<String, FaultCount>,
}

/// Faults of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultCount {
    /// Faults made.
    pub made: u64,
    /// Of these with proof that they had an effect.
    pub effective: u64,
}

impl Summary {
    /// Counts a run, given what its judges found.
    pub fn of(run: &Run<'_>, violations: &[Violation]) -> Self {
        let mut summary = Self {
            delivered: delivered(run),
            parked: parked(run),
            lost: count(violations, &[Anomaly::Lost, Anomaly::LostAtBroker]),
            reordered: count(violations, &[Anomaly::KeyReorder, Anomaly::PublishReorder, Anomaly::Backwards]),
            ..Self::default()
        };
        summary.count_calls(run);
        for redelivery in redeliveries(run) {
            let cause = redelivery.cause.map_or("none", |cause| cause.name());
            *summary.duplicates.entry(cause).or_default() += 1;
        }
        for span in run.faults.spans() {
            let kind = summary.faults.entry(span.start.kind.clone()).or_default();
            kind.made += 1;
            kind.effective += u64::from(span.proof.is_some());
        }
        summary
    }

    /// Faults with proof, of all kinds.
    pub fn effective_faults(&self) -> u64 {
        self.faults.values().map(|kind| kind.effective).sum()
    }

    fn count_calls(&mut self, run: &Run<'_>) {
        let seen = seen(run);
        for call in run.publishes.calls() {
            self.attempted += 1;
            match call.state(&run.processes) {
                State::Acked => self.acked += 1,
                State::Failed => self.failed += 1,
                State::Indeterminate => {
                    self.indeterminate += 1;
                    let id = call.publication.id.as_str();
                    self.recovered += u64::from(run.stored.holds(id) || seen.contains(id));
                }
                State::Open => {}
            }
        }
    }
}

fn seen<'a>(run: &Run<'a>) -> HashSet<&'a str> {
    run.courses.all().iter().filter_map(|course| course.id).collect()
}

fn delivered(run: &Run<'_>) -> u64 {
    let handed = run.courses.all().iter().filter(|course| !course.handed.is_empty());
    let unique: HashSet<_> = handed.map(|course| (course.group, course.id)).collect();
    unique.len() as u64
}

fn parked(run: &Run<'_>) -> u64 {
    run.courses.all().iter().filter(|course| course.done(Action::Park).next().is_some()).count() as u64
}

fn count(violations: &[Violation], anomalies: &[Anomaly]) -> u64 {
    let counts =
        |violation: &&Violation| violation.severity > Severity::Counted && anomalies.contains(&violation.anomaly);
    violations.iter().filter(counts).count() as u64
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "attempted      {}", self.attempted)?;
        writeln!(f, "acked          {}", self.acked)?;
        writeln!(f, "failed         {}", self.failed)?;
        writeln!(f, "indeterminate  {}, of which {} recovered", self.indeterminate, self.recovered)?;
        writeln!(f, "delivered      {}", self.delivered)?;
        let causes: Vec<String> = self.duplicates.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
        writeln!(f, "duplicates     {}", or_none(&causes))?;
        writeln!(f, "parked         {}", self.parked)?;
        writeln!(f, "lost           {}", self.lost)?;
        writeln!(f, "reordered      {}", self.reordered)?;
        let kinds = self.faults.iter();
        let kinds: Vec<String> =
            kinds.map(|(kind, count)| format!("{kind} {} ({} effective)", count.made, count.effective)).collect();
        write!(f, "faults         {}", or_none(&kinds))
    }
}

fn or_none(parts: &[String]) -> String {
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}
