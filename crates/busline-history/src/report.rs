use std::fmt;

use crate::judges::judge;
use crate::run::Run;
use crate::summary::Summary;
use crate::violation::{Severity, Violation};

/// What came out of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its numbers.
    pub summary: Summary,
    /// What the judges found, in order of the anomalies' numbers; also what is only counted.
    pub violations: Vec<Violation>,
    /// Whether it passed.
    pub verdict: Verdict,
}

/// Whether a run passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It broke no rule, and it was a test.
    Green,
    /// It broke a rule.
    Red,
    /// It broke no rule and proves nothing, for the reasons given.
    Void(Vec<String>),
}

impl Report {
    /// Judges and counts a run.
    pub fn of(run: &Run<'_>) -> Self {
        let violations = judge(run);
        let summary = Summary::of(run, &violations);
        let verdict = verdict(run, &summary, &violations);
        Self { summary, violations, verdict }
    }
}

/// A broken rule stays broken in a run that is too small to prove the others.
fn verdict(run: &Run<'_>, summary: &Summary, violations: &[Violation]) -> Verdict {
    if violations.iter().any(|violation| violation.severity > Severity::Counted) {
        return Verdict::Red;
    }
    let reasons = void_reasons(run, summary);
    if reasons.is_empty() { Verdict::Green } else { Verdict::Void(reasons) }
}

fn void_reasons(run: &Run<'_>, summary: &Summary) -> Vec<String> {
    let mut reasons = Vec::new();
    let (acked, acked_min) = (summary.acked, run.plan.acked_min);
    if acked < acked_min {
        reasons.push(format!("{acked} acked, fewer than {acked_min}"));
    }
    let (effective, effective_min) = (summary.effective_faults(), run.plan.effective_faults_min);
    if effective < effective_min {
        reasons.push(format!("{effective} faults with proof of an effect, fewer than {effective_min}"));
    }
    if !run.plan.groups.is_empty() && run.drain.ended.is_none() {
        reasons.push("groups are planned and no drain ended".to_owned());
    }
    reasons
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary)?;
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        match &self.verdict {
            Verdict::Green => f.write_str("verdict        green"),
            Verdict::Red => f.write_str("verdict        RED"),
            Verdict::Void(reasons) => write!(f, "verdict        VOID: {}", reasons.join("; ")),
        }
    }
}
