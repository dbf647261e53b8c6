//! A bus that breaks its promises is named before any speed, and has none.

use std::sync::Arc;

use busline_bench::{BenchReport, BenchRequest, Connect, Level, Mode, Quiet, run_on, write_table};

use super::broken::{BrokenBuses, Place};
use super::fault::Fault;

fn report_of(place: Place, fault: Option<Fault>) -> BenchReport {
    let request = BenchRequest {
        buses: vec!["memory:".into()],
        levels: vec![Level::Medium],
        modes: vec![Mode::Async],
        runs: 1,
        ..BenchRequest::default()
    };
    let connect: Arc<dyn Connect> = Arc::new(BrokenBuses { place, fault });
    run_on(&request, &connect, &mut Quiet).expect("it runs")
}

fn table_of(report: &BenchReport) -> String {
    let mut table = Vec::new();
    write_table(report, &mut table).expect("memory takes all");
    String::from_utf8(table).expect("text")
}

/// One test, because the threads of another one would be counted as left behind.
#[test]
fn one_broken_envelope_in_a_thousand_is_named_first_and_has_no_speed() {
    for (place, fault, wanted) in [
        (Place::Store, Fault::Drop, "2 lost"),
        (Place::Store, Fault::Double, "2 doubled"),
        (Place::Store, Fault::Swap, "2 out of order"),
        (Place::Delivery, Fault::Drop, "not delivered"),
        (Place::Delivery, Fault::Double, "delivered again"),
        (Place::Delivery, Fault::Swap, "delivered out of order"),
    ] {
        let report = report_of(place, Some(fault));
        assert!(!report.is_sound(), "{place:?} {fault:?}");
        let table = table_of(&report);
        let first = table.lines().next().expect("a line");
        assert!(first.starts_with("WRONG: memory medium async run 1: "), "{place:?} {fault:?}: {table}");
        assert!(first.contains(wanted), "{place:?} {fault:?}: wanted {wanted} in {first}");
        assert!(!table.contains("stored and delivered once"), "{table}");
        let run = &report.results[0];
        let speeds = [run.accepted_per_s, run.acked_per_s, run.consumed_per_s, run.followed_per_s];
        let costs = [run.client_cpu_us, run.consume_cpu_us];
        assert!(speeds.iter().chain(&costs).all(Option::is_none), "{place:?} {fault:?}: {run:?}");
        let latencies = [run.publish_to_ack_ms, run.call_to_ack_ms, run.publish_to_handler_ms];
        assert!(latencies.iter().all(Option::is_none), "{place:?} {fault:?}: {run:?}");
    }
    let sound = report_of(Place::Delivery, None);
    assert!(sound.is_sound() && sound.results[0].acked_per_s.is_some(), "the same wrapper without a fault: {sound:?}");
}
