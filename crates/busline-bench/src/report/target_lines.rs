//! Promised figures, as text for people.

use std::io::{self, Write};

use crate::targets::{Bound, Target, Verdict};

/// Writes each with what was measured of it.
pub(super) fn targets(targets: &[Target], out: &mut dyn Write) -> io::Result<()> {
    if !targets.is_empty() {
        writeln!(out)?;
    }
    for target in targets {
        let (sign, bound) = match target.bound {
            Bound::AtLeast(bound) => ("≥", bound),
            Bound::AtMost(bound) => ("≤", bound),
        };
        let spread = target.spread_percent.map_or_else(String::new, |spread| format!(" (± {spread:.0} %)"));
        let verdict = match target.verdict {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::Undecided => "unsure",
        };
        writeln!(out, "{verdict:7}{}: {:.2}{spread}, wanted {sign} {bound}", target.what, target.measured)?;
    }
    Ok(())
}
