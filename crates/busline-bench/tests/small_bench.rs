//! A whole benchmark, small: on a file of its own, on a file that lives on, and in memory.

use busline_bench::{BenchRequest, Level, Mode, Quiet, run, write_table};

fn small(bus: Option<String>) -> BenchRequest {
    BenchRequest {
        buses: bus.into_iter().collect(),
        levels: vec![Level::Low],
        modes: Mode::ALL.into(),
        runs: 2,
        ..BenchRequest::default()
    }
}

/// One test, because threads of another one would be counted as left behind.
#[test]
fn small_benchmarks_are_sound_and_leave_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("results.json");
    let request = BenchRequest { json: Some(json.clone()), ..small(None) };
    let report = run(&request, &mut Quiet).expect("it runs");
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.results.len(), 8);
    for result in &report.results {
        assert!(result.leaked.is_none(), "{result:?}");
        assert!(result.acked_per_s.is_some() && result.twin.is_some(), "{result:?}");
    }
    let written: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&json).expect("written after each run")).expect("json");
    assert_eq!(written["results"].as_array().map(Vec::len), Some(8));

    let kept = folder.path().join("kept.db");
    let report = run(&small(Some(format!("sqlite:{}", kept.display()))), &mut Quiet).expect("it runs");
    assert!(report.is_sound() && kept.exists());

    let report = run(&small(Some("memory:".into())), &mut Quiet).expect("it runs");
    assert!(report.is_sound() && report.results.iter().all(|result| result.twin.is_none()));
    let mut table = Vec::new();
    write_table(&report, &mut table).expect("memory takes all");
    assert!(String::from_utf8(table).expect("text").starts_with("All 4,000 envelopes"));
}
