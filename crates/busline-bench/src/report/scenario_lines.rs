//! What the scenarios came to, as text for people.

use std::io::{self, Write};

use super::folded::folded;
use super::numbers::grouped;
use super::target_lines::targets;
use crate::scenario::{ScenarioReport, ScenarioResult};

/// Writes what the scenarios came to. What is wrong comes before any figure.
///
/// # Errors
/// Those of `out`.
pub fn write_scenarios(report: &ScenarioReport, out: &mut dyn Write) -> io::Result<()> {
    report.missing().map_or(Ok(()), |missing| folded(out, "", &missing))?;
    for result in &report.scenarios {
        result.wrong.iter().try_for_each(|wrong| writeln!(out, "WRONG: {}: {wrong}", result.scenario))?;
    }
    report.scenarios.iter().try_for_each(|result| scenario(result, out))
}

fn scenario(result: &ScenarioResult, out: &mut dyn Write) -> io::Result<()> {
    folded(out, "", &format!("{}: {}", result.scenario, result.settings))?;
    for measure in &result.measures {
        let figure = measure.figure;
        let value = if figure.median >= 1_000.0 { grouped(figure.median) } else { format!("{:.3}", figure.median) };
        writeln!(out, "  {:<60}{value:>12}  ± {:.0} %", measure.what, figure.spread_percent)?;
    }
    targets(&result.targets, out)?;
    writeln!(out, "  others used {:.0} % of the processors meanwhile", result.others_cpu_percent)
}
