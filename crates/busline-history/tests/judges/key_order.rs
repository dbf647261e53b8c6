use std::time::Duration;

use busline_history::{Action, Order, Parked};

use crate::story::{Story, story};

fn two() -> Story {
    story().publish("a", "k", 0).publish("b", "k", 1)
}

#[test]
fn a9_the_second_was_started_before_the_first_had_ended() {
    let story = two().deliver("a").deliver("b").start("a").start("b").ok("a").ok("b");
    let said = story.shows(&["A9", "A10"]);
    assert!(said.contains("b at orders/0@1 started at"), "{said}");
}

#[test]
fn a9_the_second_was_handled_while_the_first_waited_for_its_retry() {
    let story = two().deliver("a").start("a").err("a").handle("b");
    story.attempt(2).handle("a").shows(&["A9"]);
}

#[test]
fn a9_the_new_owner_began_behind_what_the_dead_one_left() {
    let story = two().assign(1).deliver("a").start("a").killed();
    story.process(2).member("n").assign(2).handle("b").handle("a").shows(&["A9"]);
}

#[test]
fn a9_looks_alike_the_dead_owner_s_record_runs_first_again() {
    let story = two().assign(1).deliver("a").start("a").killed();
    story.process(2).member("n").assign(2).handle("a").handle("b").is_clean();
}

#[test]
fn a9_looks_alike_an_old_record_comes_again_after_a_crash() {
    let story = two().assign(1).handle("a").handle("b").killed();
    story.process(2).member("n").assign(2).handle("a").handle("b").is_clean();
}

#[test]
fn a9_looks_alike_other_keys_and_a_group_without_order() {
    let story = story().publish("a", "k", 0).publish("b", "l", 1);
    story.deliver("a").deliver("b").start("b").start("a").ok("a").ok("b").is_clean();
    let story = two().plan(|plan| plan.order = Order::None);
    story.deliver("b").deliver("a").start("b").start("a").ok("a").ok("b").is_clean();
}

#[test]
fn a9_looks_alike_the_first_was_parked_alone_and_the_key_went_on() {
    let story = two().deliver("a").start("a").err("a").settle("a", Action::Park);
    story.handle("b").is_clean();
}

#[test]
fn a9_a_key_went_on_although_its_parked_record_had_not_been_replayed() {
    let waits = || two().plan(|plan| plan.parked = Parked::KeyWaits).deliver("a").start("a").err("a");
    waits().settle("a", Action::Park).handle("b").shows(&["A9"]);
    let behind = waits().settle("a", Action::Park).settle("b", Action::Park).settle("b", Action::Replay).handle("b");
    behind.settle("a", Action::Replay).handle("a").shows(&["A9"]);
}

#[test]
fn a9_looks_alike_the_parked_record_was_replayed_before_what_is_behind_it() {
    let waits = || two().plan(|plan| plan.parked = Parked::KeyWaits).deliver("a").start("a").err("a");
    let story = waits().settle("a", Action::Park).settle("b", Action::Park).settle("a", Action::Replay).handle("a");
    story.settle("b", Action::Replay).handle("b").is_clean();
    waits().settle("a", Action::Park).settle("a", Action::Skip).handle("b").is_clean();
}

#[test]
fn a9_looks_alike_the_parking_was_seen_a_moment_after_the_key_went_on() {
    let story = two().plan(|plan| plan.report_lag = Duration::from_millis(50));
    let story = story.deliver("a").start("a").err("a").deliver("b").start("b");
    story.settle("a", Action::Park).ok("b").is_clean();
}

#[test]
fn a9_looks_alike_the_group_was_sent_past_the_first() {
    two().deliver("a").start("a").err("a").seek(1).handle("b").is_clean();
}

#[test]
fn a10_two_members_of_one_generation_run_one_key() {
    let story = two().assign(1).process(2).member("n").assign(1).process(1).member("m");
    let story = story.deliver("a").start("a").process(2).member("n").deliver("b").start("b").ok("b");
    story.process(1).member("m").ok("a").shows(&["A9", "A10"]);
}

#[test]
fn a10_one_record_runs_twice_at_once() {
    let story = two().deliver("a").start("a").err("a").attempt(2).deliver("a").start("a");
    let said = story.attempt(3).start("a").ok("a").attempt(2).ok("a").shows(&["A10"]);
    assert!(said.contains("group billing, key k: a at orders/0@0 in m"), "{said}");
}

#[test]
fn a10_a_retry_began_while_the_timed_out_handler_still_blocked() {
    let story = two().deliver("a").start("a").attempt(2).start("a").ok("a");
    story.attempt(1).timeout("a").shows(&["A10"]);
}

#[test]
fn a10_looks_alike_a_frozen_owner_of_an_older_generation_wakes_up() {
    let story = two().assign(1).deliver("a").start("a").process(2).member("n").assign(2).handle("a");
    story.deliver("b").start("b").process(1).member("m").ok("a").process(2).member("n").ok("b").is_clean();
}

#[test]
fn a10_looks_alike_a_killed_handler_has_ended() {
    let story = two().assign(1).deliver("a").start("a").killed();
    story.process(2).member("n").assign(1).handle("a").is_clean();
}

#[test]
fn a9_looks_alike_the_group_was_sent_far_ahead_afterwards() {
    two().handle("a").handle("b").seek(5).is_clean();
}

#[test]
fn a10_looks_alike_two_generations_whose_members_have_one_name() {
    let story = two().assign(1).deliver("a").process(2).assign(2).process(1).start("a");
    story.process(2).handle("a").process(1).ok("a").is_clean();
}

#[test]
fn a9_every_record_that_overtook_is_told() {
    let story = two().publish("c", "k", 2).deliver("a").start("a").handle("b").handle("c").ok("a");
    let said = story.shows(&["A9", "A10"]);
    assert!(said.contains("A9 key reorder: group billing, key k: c at orders/0@2 started"), "{said}");
}

#[test]
fn a10_the_end_of_the_frozen_owner_s_handler_is_not_that_of_the_new_one() {
    let story = two().assign(1).deliver("a").start("a").process(2).member("n").assign(2).deliver("a").start("a");
    let story = story.process(1).member("m").ok("a").process(2).member("n").handle("b");
    story.ok("a").shows(&["A10"]);
}
