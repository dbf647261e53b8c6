use std::time::Duration;

use crate::story::story;

#[test]
fn a11_two_of_one_key_are_stored_in_the_wrong_order() {
    let said = story().publish("a", "k", 1).publish("b", "k", 0).shows(&["A11"]);
    assert!(said.contains("a (kseq 1) at orders/0@1, b (kseq 2) at orders/0@0"), "{said}");
}

#[test]
fn a11_also_if_nobody_was_told_that_they_are_stored() {
    let story = story().call("a", "k").accept("a").call("b", "k").accept("b").info("a").info("b");
    story.store("a", 1).store("b", 0).shows(&["A11"]);
}

#[test]
fn a11_also_far_behind() {
    let story = story().publish("a", "k", 0).publish("b", "k", 9);
    story.publish("c", "k", 3).publish("d", "k", 10).shows(&["A11"]);
}

#[test]
fn a11_one_key_in_two_partitions_has_no_order() {
    story().publish("a", "k", 0).partition(1).publish("b", "k", 1).shows(&["A11"]);
}

#[test]
fn a11_looks_alike_other_keys_and_other_publishers_go_their_own_way() {
    let story = story().publish("a", "k", 9).publish("b", "l", 8).publisher("q").publish("c", "k", 7);
    story.process(2).publish("d", "k", 6).is_clean();
}

#[test]
fn a11_looks_alike_published_again_after_its_successor_was_stored() {
    let story = story().call("a", "k").accept("a").call("b", "k").accept("b").info("a").info("b").store("b", 0);
    story.publish("a", "k", 1).is_clean();
}

#[test]
fn a11_published_again_it_still_comes_before_what_followed_its_last_call() {
    let story = story().call("a", "k").accept("a").info("a").publish("a", "k", 5);
    story.publish("b", "k", 4).shows(&["A11"]);
}

#[test]
fn a11_acked_behind_a_failed_one() {
    let story = story().call("a", "k").accept("a").call("b", "k").accept("b").store("b", 0).ack("b", 0).fail("a");
    let said = story.shows(&["A11"]);
    assert!(said.contains("acked behind a hole: publisher p, key k: a (kseq 1) was not acked"), "{said}");
}

#[test]
fn a11_acked_behind_an_indeterminate_one_even_if_that_is_stored() {
    let story = story().call("a", "k").accept("a").call("b", "k").accept("b").info("a");
    story.store("a", 0).store("b", 1).ack("b", 1).shows(&["A11"]);
}

#[test]
fn a11_acked_behind_one_that_a_killed_publisher_never_stored() {
    let story = story().call("a", "k").accept("a").call("b", "k").accept("b").store("b", 0).ack("b", 0);
    story.killed().shows(&["A11"]);
}

#[test]
fn a11_looks_alike_the_killed_publisher_stored_it_and_could_not_tell() {
    let story = story().call("a", "k").accept("a").call("b", "k").accept("b").store("a", 0).store("b", 1).ack("b", 1);
    story.killed().is_clean();
}

#[test]
fn a11_looks_alike_accepted_after_the_failure_was_reported() {
    story().call("a", "k").accept("a").fail("a").publish("b", "k", 0).is_clean();
}

#[test]
fn a11_looks_alike_reported_a_moment_before_its_entry_was_written() {
    let story = story().plan(|plan| plan.report_lag = Duration::from_millis(50));
    let story = story.call("a", "k").accept("a").call("b", "k").accept("b").fail("a");
    story.store("b", 0).ack("b", 0).is_clean();
}

#[test]
fn a11_looks_alike_refused_before_it_was_accepted() {
    let story = story().call("a", "k").call("b", "k").accept("b").store("b", 0).ack("b", 0);
    story.fail("a").is_clean();
}

#[test]
fn a11_looks_alike_the_ones_before_and_beside_the_hole_are_acked() {
    let story = story().call("a", "k").accept("a").call("x", "k").accept("x").call("b", "l").accept("b");
    let story = story.store("a", 0).ack("a", 0).store("b", 1).ack("b", 1);
    story.fail("x").is_clean();
}

#[test]
fn a11_the_hole_that_is_open_longest_counts() {
    let story = story().call("a", "k").accept("a").call("x", "k").accept("x").fail("x");
    story.call("b", "k").accept("b").store("b", 0).ack("b", 0).info("a").shows(&["A11"]);
}

#[test]
fn a11_looks_alike_published_again_it_keeps_the_place_of_its_first_call() {
    let story = story().call("b", "k").accept("b").info("b").store("b", 1).publish("c", "k", 2);
    story.call("b", "k").accept("b").info("b").is_clean();
}
