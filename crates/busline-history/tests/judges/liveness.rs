use std::time::Duration;

use busline_history::{Crash, Tolerance};

use crate::story::{Story, story};

fn two() -> Story {
    story().billing_from(0).assign(1).publish("a", "k", 0).publish("b", "k", 1)
}

#[test]
fn a18_nothing_was_started_while_a_record_waited() {
    let said = two().handle("a").seconds(31).handle("b").shows(&["A18"]);
    assert!(said.contains("started no handler from") && said.contains("while b (key k) waited"), "{said}");
}

#[test]
fn a18_nor_ever_again() {
    two().handle("a").seconds(40).publish("x", "l", 2).shows(&["A18"]);
}

#[test]
fn a18_progress_is_owed_within_tolerance() {
    let story = two().handle("a").fault_begins(Crash::Nothing, Tolerance::Within).seconds(35);
    story.fault_ends(Some("one broker gone")).handle("b").shows(&["A18"]);
}

#[test]
fn a18_and_again_after_healing_and_a_rest() {
    let story = two().handle("a").fault_begins(Crash::Nothing, Tolerance::Beyond).seconds(60);
    story.fault_ends(Some("all brokers gone")).seconds(41).handle("b").shows(&["A18"]);
}

#[test]
fn a18_looks_alike_nobody_could_go_on_and_then_there_was_a_rest() {
    let story = two().handle("a").fault_begins(Crash::Nothing, Tolerance::Beyond).seconds(60);
    story.fault_ends(Some("all brokers gone")).seconds(39).handle("b").is_clean();
}

#[test]
fn a18_looks_alike_there_was_nothing_to_do() {
    two().handle("a").handle("b").seconds(100).publish("x", "l", 2).handle("x").is_clean();
}

#[test]
fn a18_looks_alike_the_members_had_left() {
    let story = two().handle("a").close_begins("m", Duration::from_secs(1)).close_ends("m", "ok").seconds(100);
    story.process(2).publish("x", "l", 2).is_clean();
}

#[test]
fn a18_looks_alike_other_records_kept_starting() {
    let story = two().publish("x", "l", 2).publish("y", "l", 3).deliver("a").start("a").seconds(20);
    story.handle("x").seconds(20).handle("y").ok("a").handle("b").is_clean();
}

#[test]
fn a18_one_member_left_and_the_other_was_stuck() {
    let story = two().process(2).member("n").assign(1).handle("a").close_begins("n", Duration::from_secs(1));
    story.close_ends("n", "ok").seconds(60).process(3).publish("x", "l", 2).shows(&["A18"]);
}

#[test]
fn a18_stuck_before_the_fault_began() {
    let story = two().handle("a").seconds(35).fault_begins(Crash::Nothing, Tolerance::Beyond);
    story.fault_ends(Some("all brokers gone")).handle("b").shows(&["A18"]);
}

#[test]
fn a18_looks_alike_the_member_had_left_long_before_its_process_died() {
    let story = two().handle("a").close_begins("m", Duration::from_secs(1)).close_ends("m", "ok").seconds(100);
    story.publish("x", "l", 2).killed().is_clean();
}
