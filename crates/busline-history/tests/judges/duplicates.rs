use std::time::Duration;

use busline_history::{Action, Commit, Crash, Deduplication, Effects, Tolerance};

use crate::story::{Story, story};

#[test]
fn a6_one_publish_is_stored_twice() {
    let said = story().publish("a", "k", 0).store("a", 1).shows(&["A6"]);
    assert!(said.contains("a is stored at orders/0@0, orders/0@1; its publishes allow 1"), "{said}");
}

#[test]
fn a6_an_indeterminate_publish_was_resent_into_a_second_record() {
    story().call("a", "k").accept("a").info("a").store("a", 0).store("a", 7).shows(&["A6"]);
}

#[test]
fn a6_a_second_publish_within_the_window_made_a_second_record() {
    let story = story().plan(|plan| plan.deduplication = Deduplication::Within(Duration::from_secs(120)));
    story.publish("a", "k", 0).publish("a", "k", 1).shows(&["A6"]);
}

#[test]
fn a6_a_failed_publish_explains_no_record() {
    story().publish("a", "k", 0).call("a", "k").accept("a").fail("a").store("a", 1).shows(&["A6"]);
}

#[test]
fn a6_looks_alike_two_publishes_are_two_records() {
    let said = story().publish("a", "k", 0).publish("a", "k", 1).is_clean();
    assert!(said.contains("A6"), "it is counted: {said}");
}

#[test]
fn a6_looks_alike_the_second_publish_came_after_the_window() {
    let story = story().plan(|plan| plan.deduplication = Deduplication::Within(Duration::from_secs(120)));
    story.publish("a", "k", 0).seconds(121).publish("a", "k", 1).is_clean();
}

fn delivered_once() -> Story {
    story().publish("a", "k", 0).assign(1).handle("a")
}

#[test]
fn a7_a_handled_record_comes_again_for_no_reason() {
    let said = delivered_once().handle("a").shows(&["A7"]);
    assert!(said.contains("group billing got a at orders/0@0"), "{said}");
}

#[test]
fn a7_two_members_of_one_generation_got_it() {
    delivered_once().process(2).member("n").handle("a").shows(&["A7"]);
}

#[test]
fn a7_a_crash_is_no_excuse_once_the_progress_is_committed() {
    delivered_once().commit(1).killed().process(2).member("n").assign(2).handle("a").shows(&["A7"]);
}

#[test]
fn a7_a_retry_excuses_only_where_an_attempt_failed() {
    let story = story().publish("a", "k", 0).assign(1).deliver("a").start("a").attempt(2).deliver("a");
    story.shows(&["A7"]);
}

#[test]
fn a7_looks_alike_its_member_died_before_the_commit() {
    delivered_once().killed().process(2).member("n").assign(2).handle("a").is_clean();
}

#[test]
fn a7_looks_alike_a_failed_attempt_runs_again() {
    let story = story().publish("a", "k", 0).deliver("a").start("a").err("a");
    story.attempt(2).handle("a").is_clean();
}

#[test]
fn a7_looks_alike_its_member_was_closed_or_lost_the_partition() {
    let closed = delivered_once().close_begins("m", Duration::from_secs(1)).close_ends("m", "ok");
    closed.process(2).member("n").handle("a").is_clean();
    delivered_once().revoke(1).process(2).member("n").assign(2).handle("a").is_clean();
    delivered_once().process(2).member("n").assign(2).handle("a").is_clean();
}

#[test]
fn a7_looks_alike_nobody_knows_whether_the_commit_was_stored() {
    let story = delivered_once();
    let progress = story.progress(1);
    story.op(Commit::Invoke(progress.clone())).op(Commit::Info(progress)).handle("a").is_clean();
}

#[test]
fn a7_a_refused_commit_is_not_a_lost_one() {
    let story = delivered_once();
    let progress = story.progress(1);
    story.op(Commit::Invoke(progress.clone())).op(Commit::Fail(progress)).handle("a").shows(&["A7"]);
}

#[test]
fn a7_looks_alike_the_broker_failed_over() {
    delivered_once().fault(Crash::Process).handle("a").is_clean();
}

#[test]
fn a7_looks_alike_the_group_was_sent_back() {
    delivered_once().commit(1).seek(0).handle("a").is_clean();
}

#[test]
fn a7_looks_alike_a_parked_record_was_replayed() {
    let story = story().publish("a", "k", 0).deliver("a").start("a").err("a").settle("a", Action::Park);
    story.commit(1).settle("a", Action::Replay).handle("a").is_clean();
}

#[test]
fn a8_an_effect_promised_once_happened_again_after_a_crash() {
    let story = delivered_once().plan(|plan| plan.effects = Effects::Once).killed();
    let said = story.process(2).member("n").assign(2).handle("a").shows(&["A8"]);
    assert!(said.contains("group billing handled a at"), "{said}");
}

#[test]
fn a8_a_second_record_of_the_id_acted_again() {
    let story = story().plan(|plan| plan.effects = Effects::Once).publish("a", "k", 0).publish("a", "k", 1);
    story.handle("a").moved_to("a", 1).handle("a").shows(&["A8"]);
}

#[test]
fn a8_looks_alike_delivered_twice_and_handled_once() {
    let story = story().plan(|plan| plan.effects = Effects::Once).publish("a", "k", 0).assign(1);
    story.deliver("a").start("a").killed().process(2).member("n").assign(2).handle("a").is_clean();
}

#[test]
fn a8_looks_alike_twice_is_legal_where_nothing_else_is_promised() {
    delivered_once().killed().process(2).member("n").assign(2).handle("a").is_clean();
}

#[test]
fn a7_a_cut_or_an_earlier_fault_or_the_death_of_another_excuses_nothing() {
    delivered_once().fault(Crash::Nothing).handle("a").shows(&["A7"]);
    story().fault(Crash::Process).publish("a", "k", 0).handle("a").handle("a").shows(&["A7"]);
    delivered_once().process(3).publish("x", "l", 1).killed().process(1).handle("a").shows(&["A7"]);
}

#[test]
fn a7_looks_alike_the_broker_is_still_failing_over() {
    delivered_once().fault_begins(Crash::Process, Tolerance::Within).handle("a").is_clean();
}

#[test]
fn a7_neither_the_close_nor_the_revoke_of_another_member_excuses() {
    let closed = delivered_once().close_begins("n", Duration::from_secs(1)).close_ends("n", "ok");
    closed.handle("a").shows(&["A7"]);
    delivered_once().process(2).member("n").revoke(1).process(1).member("m").handle("a").shows(&["A7"]);
    delivered_once().member("n").revoke(1).member("m").handle("a").shows(&["A7"]);
    delivered_once().process(2).revoke(1).process(1).handle("a").shows(&["A7"]);
}

#[test]
fn a7_looks_alike_its_own_partition_was_taken() {
    delivered_once().revoke(1).handle("a").is_clean();
}
