//! What the rounds told.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The lines of all rounds until now.
#[derive(Debug, Default)]
pub(crate) struct Report {
    runs: Vec<Value>,
}

impl Report {
    /// Adds what a round told, a line of JSON for each run that was judged.
    ///
    /// # Errors
    /// A line that is no JSON.
    pub(crate) fn add(&mut self, round: u32, told: &str) -> Result<()> {
        for line in told.lines() {
            let mut run: Value = serde_json::from_str(line).with_context(|| format!("`{line}` tells of no run"))?;
            run["round"] = round.into();
            self.runs.push(run);
        }
        Ok(())
    }

    /// The sum of a number over all runs.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        self.runs.iter().filter_map(|run| run[name].as_u64()).sum()
    }

    /// How often each fault happened, and to how many acked records.
    fn faults(&self) -> BTreeMap<&str, (u64, u64)> {
        let mut faults = BTreeMap::new();
        for run in &self.runs {
            let sums: &mut (u64, u64) = faults.entry(run["fault"].as_str().unwrap_or_default()).or_default();
            sums.0 += run["times"].as_u64().unwrap_or_default();
            sums.1 += run["acked"].as_u64().unwrap_or_default();
        }
        faults
    }

    /// A line for each fault, and the totals.
    pub(crate) fn lines(&self) -> String {
        let mut lines = String::new();
        for (fault, (times, acked)) in self.faults() {
            lines += &format!("{fault:<44} {times:>6} times {acked:>12} acked\n");
        }
        let [acked, failed, open] = ["acked", "failed", "indeterminate"].map(|name| self.sum(name));
        lines + &format!("in all {acked} acked, {failed} failed, {open} indeterminate; every one judged")
    }

    /// The report for programs. `broken` is what the tests of the last round said when they failed.
    pub(crate) fn json(&self, backend: &str, rounds: u32, broken: Option<&str>) -> Value {
        json!({
            "schema": 1,
            "backend": backend,
            "rounds": rounds,
            "acked": self.sum("acked"),
            "failed": self.sum("failed"),
            "indeterminate": self.sum("indeterminate"),
            "handled_again": self.sum("handled_again"),
            "broken": broken,
            "runs": self.runs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = r#"{"fault":"killed, fast","times":3,"seed":18446744073709551615,"acked":10,"failed":1,"indeterminate":0,"handled_again":null}
{"fault":"cut","times":2,"seed":null,"acked":5,"failed":0,"indeterminate":2,"handled_again":7}
"#;

    #[test]
    fn runs_of_all_rounds_add_up() {
        let mut report = Report::default();
        report.add(1, TOLD).expect("lines of JSON");
        report.add(2, TOLD).expect("lines of JSON");
        let json = report.json("nats", 2, None);
        assert_eq!(
            ["acked", "failed", "indeterminate", "handled_again"].map(|name| json[name].as_u64()),
            [30, 2, 4, 14].map(Some)
        );
        assert_eq!((json["runs"].as_array().map(Vec::len), json["runs"][3]["round"].as_u64()), (Some(4), Some(2)));
        assert_eq!((json["runs"][0]["seed"].as_u64(), json["runs"][1]["seed"].as_u64()), (Some(u64::MAX), None));
        assert_eq!(report.faults()["killed, fast"], (6, 20));
        assert!(report.lines().ends_with("in all 30 acked, 2 failed, 4 indeterminate; every one judged"));
    }

    #[test]
    fn what_is_no_json_is_told() {
        assert!(Report::default().add(1, "killed 3 times").is_err());
    }
}
