use busline_history::{Action, Crash, Fault, FaultStart, Target, Tolerance, Verdict};

use crate::story::story;

#[test]
fn the_summary_counts_everything() {
    let story = story()
        .publish("a", "k", 0)
        .publish("b", "l", 1)
        .call("c", "m")
        .accept("c")
        .info("c")
        .store("c", 2)
        .call("d", "n")
        .accept("d")
        .info("d")
        .call("e", "o")
        .accept("e")
        .fail("e")
        .assign(1)
        .deliver("a")
        .start("a")
        .err("a")
        .attempt(2)
        .handle("a")
        .attempt(1)
        .deliver("b")
        .start("b")
        .err("b")
        .settle("b", Action::Park)
        .fault(Crash::Process)
        .fault_begins(Crash::Process, Tolerance::Within)
        .fault_ends(None)
        .handle("a");
    let expected = "\
attempted      5
acked          2
failed         1
indeterminate  2, of which 1 recovered
delivered      2
duplicates     fail-over 1, retry 1
parked         1
lost           0
reordered      0
faults         F1 2 (1 effective)";
    assert_eq!(story.report().summary.to_string(), expected);
}

#[test]
fn a_run_that_is_too_small_or_had_no_effective_fault_is_void() {
    let story = story().publish("a", "k", 0).plan(|plan| (plan.acked_min, plan.effective_faults_min) = (2, 1));
    let small = story.fault_begins(Crash::Process, Tolerance::Within).fault_ends(None);
    let reasons = vec!["1 acked, fewer than 2".to_owned(), "0 faults with proof of an effect, fewer than 1".to_owned()];
    assert_eq!(small.report().verdict, Verdict::Void(reasons));
    assert_eq!(small.publish("b", "k", 1).fault(Crash::Process).report().verdict, Verdict::Green);
}

#[test]
fn a_run_with_groups_and_without_a_drain_is_void() {
    let story = story().billing_from(0).publish("a", "k", 0).handle("a");
    assert!(matches!(story.report().verdict, Verdict::Void(_)));
    assert_eq!(story.drained().report().verdict, Verdict::Green);
}

#[test]
fn a_broken_rule_is_red_however_small_the_run() {
    let story = story().plan(|plan| plan.acked_min = 1_000).call("a", "k").accept("a").ack("a", 0);
    assert_eq!(story.report().verdict, Verdict::Red);
}

#[test]
fn what_is_only_counted_keeps_a_run_green() {
    let report = story().publish("a", "k", 0).publish("a", "k", 1).report();
    assert_eq!((report.verdict, report.violations.len()), (Verdict::Green, 1));
}

#[test]
fn the_open_publishes_of_a_killed_process_are_indeterminate() {
    let story = story().call("a", "k").accept("a").store("a", 0).killed().process(2).call("b", "l").accept("b");
    let summary = story.report().summary;
    assert_eq!((summary.attempted, summary.indeterminate, summary.recovered), (2, 1, 1));
}

#[test]
fn a_stop_ends_the_fault_of_its_own_kind_and_target() {
    let fault = |kind: &str, broker: &str| FaultStart {
        kind: kind.to_owned(),
        target: Target::Broker(broker.to_owned()),
        seed: 1,
        parameter: "once".to_owned(),
        crash: Crash::Nothing,
        copies: 1,
        tolerance: Tolerance::Within,
    };
    let story = story().fault_begins(Crash::Nothing, Tolerance::Within).op(Fault::Start(fault("F1", "b2")));
    let story = story.op(Fault::Start(fault("F2", "b1"))).fault_ends(Some("cut")).fault_ends(Some("cut"));
    let faults = story.report().summary.faults;
    assert_eq!((faults["F1"].effective, faults["F2"].effective), (1, 0), "the second stop has nothing to end");
}
