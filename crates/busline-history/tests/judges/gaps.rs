use busline_history::{Action, Gaps, GroupPlan};

use crate::story::{Story, story};

fn three() -> Story {
    story().publish("a", "k", 0).publish("b", "k", 1).publish("c", "k", 2).assign(1)
}

#[test]
fn a13_a_record_of_the_key_was_jumped_over() {
    let said = three().handle("a").handle("c").shows(&["A13"]);
    assert!(said.contains("group billing passed over orders/0@1 (b): later records of its key came"), "{said}");
}

#[test]
fn a13_an_indeterminate_envelope_that_is_stored_must_not_be_jumped_over_either() {
    let story = story().publish("a", "k", 0).call("b", "k").accept("b").info("b").store("b", 1).publish("c", "k", 2);
    story.handle("a").handle("c").shows(&["A13"]);
}

#[test]
fn a13_a_drained_group_never_got_it() {
    let story = story().billing_from(0).publish("a", "k", 0).call("b", "l").accept("b").info("b").store("b", 1);
    let said = story.handle("a").drained().shows(&["A13"]);
    assert!(said.contains("the drained group never got it"), "{said}");
}

#[test]
fn a13_looks_alike_offsets_that_nothing_holds() {
    story().publish("a", "k", 0).publish("c", "k", 7).handle("a").handle("c").is_clean();
}

#[test]
fn a13_looks_alike_the_next_owner_goes_on_where_the_last_one_ended() {
    let story = three().handle("a").handle("b").commit(2).revoke(1);
    story.process(2).member("n").assign(2).handle("c").is_clean();
}

#[test]
fn a13_looks_alike_another_key_overtook_a_waiting_one() {
    let story = story().publish("a", "k", 0).publish("b", "k", 1).publish("x", "l", 2).assign(1);
    story.deliver("a").start("a").handle("x").is_clean();
}

#[test]
fn a13_looks_alike_parked_behind_its_key_without_a_delivery() {
    let story = three().deliver("a").start("a").err("a").settle("a", Action::Park).settle("b", Action::Park);
    story.settle("a", Action::Replay).handle("a").handle("c").is_clean();
}

#[test]
fn a13_looks_alike_a_filter_passes_over() {
    three().plan(|plan| plan.gaps = Gaps::Legal).handle("a").handle("c").is_clean();
}

#[test]
fn a13_a_group_from_the_beginning_must_get_everything_and_one_from_later_on_only_that() {
    let stored = || story().call("a", "k").accept("a").info("a").store("a", 0);
    let from_beginning = GroupPlan::from_beginning("billing", "orders");
    stored().plan(|plan| plan.groups.push(from_beginning)).drained().shows(&["A13"]);
    stored().billing_from(1).drained().is_clean();
}
