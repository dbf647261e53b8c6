use std::time::Duration;

use busline_history::{Action, Crash, GroupPlan, Life, Reached};

use crate::story::{Story, story};

/// Three of one key, acked and stored.
fn three() -> Story {
    story().billing_from(0).publish("a", "k", 0).publish("b", "k", 1).publish("c", "k", 2)
}

/// The same, where a long wait alone is no fault.
fn patient() -> Story {
    three().plan(|plan| plan.stuck_after = Duration::from_secs(1_000))
}

#[test]
fn a1_the_middle_of_a_key_was_never_handled() {
    let said = three().handle("a").handle("c").drained().shows(&["A1", "A13"]);
    assert!(said.contains("never finished b (key k, kseq 2) at orders/0@1"), "{said}");
    assert!(said.contains("middle of its line, stored"), "{said}");
}

#[test]
fn a1_the_tail_and_the_prefix_and_the_whole_of_a_key() {
    let tail = three().handle("a").handle("b").drained().shows(&["A1", "A13"]);
    assert!(tail.contains("c (key k, kseq 3) at orders/0@2") && tail.contains("tail of its line"), "{tail}");
    let prefix = three().handle("b").handle("c").drained().shows(&["A1", "A13"]);
    assert!(prefix.contains("prefix of its line"), "{prefix}");
    let whole = three().drained().shows(&["A1", "A13"]);
    assert!(whole.contains("whole of its line"), "{whole}");
}

#[test]
fn a1_without_a_drain_a_later_record_of_the_key_tells() {
    three().handle("a").handle("c").shows(&["A1", "A13"]);
}

#[test]
fn a1_started_and_never_ended_is_lost_too() {
    three().handle("a").handle("b").deliver("c").start("c").drained().shows(&["A1"]);
}

#[test]
fn a1_an_acked_envelope_lost_at_the_broker_is_lost_to_the_group() {
    let story = story().billing_from(0).call("a", "k").accept("a").ack("a", 0).drained();
    let said = story.shows(&["A1", "A2"]);
    assert!(said.contains("not stored"), "{said}");
}

#[test]
fn a1_looks_alike_handled_parked_and_skipped_are_ends() {
    let story = three().handle("a").deliver("b").start("b").err("b").settle("b", Action::Park);
    story.settle("c", Action::Skip).drained().is_clean();
}

#[test]
fn a1_looks_alike_not_read_yet_is_not_lost() {
    three().handle("a").is_clean();
}

#[test]
fn a1_looks_alike_the_group_began_later() {
    let story = story().billing_from(1).publish("a", "k", 0).publish("b", "k", 1);
    story.handle("b").commit(2).drained().is_clean();
}

#[test]
fn a1_looks_alike_memory_is_gone_at_a_restart() {
    let memory = busline_history::Durability { medium: busline_history::Medium::Memory, copies: 1 };
    let story = story().billing_from(0).call_as("a", "k", |sent| sent.durability = memory).accept("a").ack("a", 0);
    story.fault(Crash::Process).drained().is_clean();
}

#[test]
fn a1_looks_alike_retention_deleted_it_unread() {
    three().trimmed_below(1).handle("b").handle("c").drained().is_clean();
}

#[test]
fn a19_the_drain_gave_up_and_one_was_still_open() {
    let story = patient().handle("a").op(Life::DrainBegin).seconds(10).handle("b").seconds(50);
    let said = story.op(Life::DrainEnd { reached: Reached::Limit }).shows(&["A19"]);
    assert!(said.contains("the first is c (key k); open: 2 at"), "{said}");
    assert!(said.contains("1 at 60."), "{said}");
}

#[test]
fn a19_the_drain_reached_the_end_too_late() {
    let story = patient().handle("a").handle("b").op(Life::DrainBegin).seconds(61).handle("c");
    story.op(Life::DrainEnd { reached: Reached::End }).shows(&["A19"]);
}

#[test]
fn a19_the_drain_never_ended() {
    let story = patient().op(Life::DrainBegin).seconds(30).handle("a").seconds(40);
    story.op(Life::Crash { reason: "the harness gave up".into() }).shows(&["A19"]);
}

#[test]
fn a19_looks_alike_all_was_finished_within_the_limit() {
    let story = patient().handle("a").op(Life::DrainBegin).seconds(59).handle("b").handle("c");
    story.op(Life::DrainEnd { reached: Reached::End }).is_clean();
}

#[test]
fn a19_looks_alike_an_indeterminate_envelope_is_not_waited_for() {
    let story = story().billing_from(0).call("a", "k").accept("a").info("a").op(Life::DrainBegin).seconds(60);
    story.op(Life::DrainEnd { reached: Reached::Limit }).is_clean();
}

#[test]
fn a1_an_ack_without_a_position_counts_after_a_drain_and_not_before() {
    let story = story().plan(|plan| plan.groups.push(GroupPlan::from_beginning("billing", "orders")));
    let story = story.call("a", "k").accept("a").ack_as("a", |_| {});
    story.shows(&["A2"]);
    story.drained().shows(&["A1", "A2"]);
}

#[test]
fn a1_looks_alike_without_a_position_nobody_can_say_that_it_was_the_group_s() {
    let story = || story().call("a", "k").accept("a").ack_as("a", |_| {});
    story().billing_from(5).drained().shows(&["A2"]);
    let story = story().plan(|plan| plan.groups.push(GroupPlan::from_beginning("billing", "orders")));
    story.trimmed_below(1).drained().is_clean();
}
