//! A benchmark that is cancelled, as by Ctrl-C: it never looks like a whole one.

use std::time::Duration;

use busline_bench::{
    BenchRequest, Level, Mode, OpenRequest, Progress, Rates, open_load, run, write_open_load, write_open_page,
    write_page, write_table,
};

/// Cancels once so many steps have begun.
struct CancelledAt(u32);

impl Progress for CancelledAt {
    fn begin(&mut self, _steps: u64) {}

    fn step(&mut self, _what: &str) {
        self.0 -= 1;
    }

    fn end(&mut self) {}

    fn is_cancelled(&self) -> bool {
        self.0 == 0
    }
}

/// What writes a report.
type Form<R> = fn(&R, &mut dyn std::io::Write) -> std::io::Result<()>;

/// What is written in these forms.
fn written<R>(report: &R, forms: [Form<R>; 2]) -> [String; 2] {
    forms.map(|form| {
        let mut out = Vec::new();
        form(report, &mut out).expect("memory takes all");
        String::from_utf8(out).expect("text")
    })
}

/// One test, because threads of another one would be counted as left behind.
#[test]
fn what_is_missing_is_told_and_nothing_is_said_of_what_was_not_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("results.json");
    let request = BenchRequest {
        buses: vec!["memory:".into()],
        levels: vec![Level::Low],
        modes: vec![Mode::Async],
        runs: 2,
        json: Some(json.clone()),
        ..BenchRequest::default()
    };
    // Before the first step; behind the warm-up; behind one run.
    for (steps, made) in [(0, 0), (1, 0), (2, 1)] {
        let report = run(&request, &mut CancelledAt(steps)).expect("it runs");
        assert!(!report.is_whole() && report.results.len() == made, "{report:?}");
        let told = format!("interrupted after {made} of 2 runs");
        let [table, page] = written(&report, [write_table, write_page]);
        assert!(table.starts_with(&told) && page.contains(&told), "{table}");
        assert_eq!(table.contains("were stored"), made > 0, "{table}");
        assert_eq!(page.contains("were stored"), made > 0, "{page}");
        let text = std::fs::read(&json).expect("written, though nothing was measured");
        let text: serde_json::Value = serde_json::from_slice(&text).expect("json");
        assert!(text["interrupted"] == true && text["runs_asked"] == 2, "{text}");
    }
    assert!(run(&request, &mut CancelledAt(3)).expect("it runs").is_whole(), "cancelled behind the last run");

    let request = OpenRequest {
        buses: vec!["memory:".into()],
        rates: Rates::Each(vec![50.0, 60.0]),
        duration: Duration::from_secs(1),
        slo: Duration::from_secs(60),
        ..OpenRequest::default()
    };
    for (rates, asked) in [(request.rates.clone(), "0 of 2 rates"), (Rates::Auto, "0 rates, before the search ended")] {
        let report = open_load(&OpenRequest { rates, ..request.clone() }, &mut CancelledAt(0)).expect("it runs");
        let told = format!("interrupted after {asked}: nothing was measured");
        let [table, page] = written(&report, [write_open_load, write_open_page]);
        assert!(!report.is_whole() && table.starts_with(&told) && page.contains(&told), "{table}");
        assert!(!table.contains("were stored") && !page.contains("were stored"), "{table}");
    }
    let report = open_load(&request, &mut CancelledAt(1)).expect("it runs");
    let [table, page] = written(&report, [write_open_load, write_open_page]);
    assert!(table.starts_with("interrupted after 1 of 2 rates") && page.contains("interrupted after 1 of"), "{table}");
}
