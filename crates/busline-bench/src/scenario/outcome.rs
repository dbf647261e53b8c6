//! Which scenarios there are, and what each came to.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;

use super::steps::Steps;
use super::{consume, failing_keys, sleep, slow, wake};
use crate::compare::Figure;
use crate::connect::ByUrl;
use crate::extent::Extent;
use crate::measure::Load;
use crate::place::Place;
use crate::progress::Progress;
use crate::targets::Target;

/// A condition to consume under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// All is stored and handlers do nothing; beside the twin.
    Consume,
    /// Handlers sleep 1 ms, on 64 keys.
    Sleep,
    /// Another process publishes to an idle subscription.
    Wake,
    /// 1 % of the keys fail and are tried again.
    FailingKeys,
    /// Handlers are slower than the store.
    Slow,
}

impl Scenario {
    /// All scenarios.
    pub const ALL: [Self; 5] = [Self::Consume, Self::Sleep, Self::Wake, Self::FailingKeys, Self::Slow];

    fn name(self) -> &'static str {
        match self {
            Self::Consume => "consume",
            Self::Sleep => "sleep",
            Self::Wake => "wake",
            Self::FailingKeys => "failing-keys",
            Self::Slow => "slow",
        }
    }

    /// What it does so many times, the warm-up included.
    fn steps(self, runs: u32) -> u64 {
        match self {
            Self::Consume => u64::from(runs) + 1,
            Self::FailingKeys => failing_keys::FILES * (u64::from(runs) + 1),
            Self::Sleep | Self::Wake => runs.into(),
            Self::Slow => 1,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Scenario {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|one| one.name() == text);
        known.with_context(|| format!("no workload '{text}'; there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioRequest {
    /// Scenarios in the order they are run.
    pub scenarios: Vec<Scenario>,
    /// Measurements of each. Default 5.
    pub runs: u32,
    /// Size of a payload. Unit: bytes. Default 256.
    pub payload_bytes: usize,
    /// Program and arguments that lead to [`publish_process`](crate::publish_process); its own are put behind them.
    pub child: Vec<OsString>,
}

/// All scenarios of one call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioReport {
    /// What was asked for: the runs of all scenarios together, and one more of each that warms up.
    #[serde(flatten)]
    pub extent: Extent,
    /// One for each.
    pub scenarios: Vec<ScenarioResult>,
    /// Runs that were made, the warming ones among them.
    pub runs_made: u64,
}

impl ScenarioReport {
    /// Whether everything that was to be delivered was, once and in order.
    pub fn is_sound(&self) -> bool {
        self.scenarios.iter().all(|scenario| scenario.wrong.is_empty())
    }

    /// Whether all runs that were asked for were made. If not, the program fails.
    pub fn is_whole(&self) -> bool {
        self.extent.is_whole(self.runs_made as usize)
    }

    /// What of the runs that were asked for is missing, in words; `None` of a whole benchmark.
    pub fn missing(&self) -> Option<String> {
        self.extent.missing(self.runs_made as usize, "runs")
    }
}

/// What one scenario came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioResult {
    /// The condition.
    pub scenario: Scenario,
    /// The settings it ran with, in words.
    pub settings: String,
    /// What was lost, doubled or reordered; its speeds are then left out.
    pub wrong: Vec<String>,
    /// What was measured.
    pub measures: Vec<Measure>,
    /// Promised figures.
    pub targets: Vec<Target>,
    /// Share of all processors that other processes used, in 100.
    pub others_cpu_percent: f64,
}

/// One measured figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// What it is, with its unit.
    pub what: String,
    /// The figure.
    pub figure: Figure,
}

/// What a scenario gives before the machine's load is known.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) settings: String,
    pub(super) wrong: Vec<String>,
    pub(super) measures: Vec<Measure>,
    /// Targets that a busy machine leaves undecided.
    pub(super) targets: Vec<Target>,
    /// Targets that need neither a quiet machine nor many runs.
    pub(super) certain: Vec<Target>,
}

impl Outcome {
    pub(super) fn measure(&mut self, what: &str, values: impl IntoIterator<Item = f64>) -> Option<Figure> {
        let figure = Figure::of(values)?;
        self.measures.push(Measure { what: what.into(), figure });
        Some(figure)
    }
}

/// Runs the scenarios, each on a fresh temporary file; cancelled, it ends after its present run.
///
/// Blocks; call it from outside every runtime. While it runs nothing else in the process should start threads or open
/// files.
///
/// # Errors
/// A store that cannot be made; a child that fails. What was lost is no error: see [`ScenarioReport::is_sound`].
pub fn scenarios(request: &ScenarioRequest, progress: &mut dyn Progress) -> Result<ScenarioReport> {
    let place = Place::new(None, Arc::new(ByUrl))?;
    let steps_of = |scenario: &Scenario| scenario.steps(request.runs);
    let runs = request.scenarios.iter().map(steps_of).sum();
    let mut report = ScenarioReport { extent: Extent::of(runs), scenarios: Vec::new(), runs_made: 0 };
    progress.begin(runs);
    for scenario in &request.scenarios {
        if progress.is_cancelled() {
            break;
        }
        let mut steps = Steps::new(scenario.name(), steps_of(scenario), progress);
        let steps = &mut steps;
        let load = Load::now()?;
        let outcome = match scenario {
            Scenario::Consume => consume::measure(&place, request, steps)?,
            Scenario::Sleep => sleep::measure(&place, request, steps)?,
            Scenario::Wake => wake::measure(&place, request, steps)?,
            Scenario::FailingKeys => failing_keys::measure(&place, request, steps)?,
            Scenario::Slow => slow::measure(&place, request, steps)?,
        };
        report.runs_made += steps.begun();
        let others = load.others_since()? * 100.0;
        let decided = |target: Target| target.of_runs(request.runs as usize, others);
        let sound = outcome.wrong.is_empty();
        report.scenarios.push(ScenarioResult {
            scenario: *scenario,
            settings: outcome.settings,
            wrong: outcome.wrong,
            measures: if sound { outcome.measures } else { Vec::new() },
            targets: if sound {
                outcome.targets.into_iter().map(decided).chain(outcome.certain).collect()
            } else {
                Vec::new()
            },
            others_cpu_percent: others,
        });
    }
    progress.end();
    report.extent.interrupted = report.runs_made < runs;
    Ok(report)
}
