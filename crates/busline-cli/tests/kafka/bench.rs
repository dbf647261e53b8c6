//! The benchmark in every way that Kafka has.

use crate::{bus, ways};

#[test]
fn strategies_headers_and_durability_on_a_real_broker() {
    ways::all_strategies_are_judged("kafka", &bus());
    ways::headers_are_stored_where_they_are_on("kafka", &bus());
    for medium in ["written", "synced"] {
        let runs = ways::runs(&bus(), &format!("--level low --durability {medium} --strategy fast,pipelined"));
        assert_eq!(runs.len(), 2);
        for run in &runs {
            assert_eq!(run["durability"], format!("{medium} × 1"), "{run}");
            assert!(run["success_percent"] == 100.0 && run["twin"].is_object(), "{run}");
        }
    }
}
