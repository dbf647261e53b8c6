use busline_history::{Action, Commit, Crash, GroupPlan};

use crate::story::{Story, story};

fn two() -> Story {
    story().publish("a", "k", 0).publish("b", "k", 1).assign(1)
}

#[test]
fn a14_a_key_went_back_to_what_it_had_passed() {
    let said = two().deliver("b").deliver("a").shows(&["A14"]);
    assert!(said.contains("group billing, key k: a at orders/0@0 came at"), "{said}");
}

#[test]
fn a14_a_finished_record_came_again_after_its_successor() {
    two().handle("a").handle("b").handle("a").shows(&["A7", "A14"]);
}

#[test]
fn a14_a_member_committed_less_than_before() {
    let said = two().handle("a").handle("b").commit(2).commit(1).shows(&["A14"]);
    assert!(said.contains("m committed 1 at") && said.contains("after 2 was committed"), "{said}");
}

#[test]
fn a14_a_new_owner_committed_less_than_the_old_one_had() {
    let story = two().handle("a").handle("b").commit(2).revoke(1);
    story.process(2).member("n").assign(2).commit(1).shows(&["A14"]);
}

#[test]
fn a14_looks_alike_a_new_owner_starts_at_the_committed_offset() {
    let story = two().handle("a").commit(1).handle("b").killed();
    story.process(2).member("n").assign(2).handle("b").commit(2).is_clean();
}

#[test]
fn a14_looks_alike_the_same_member_got_the_partition_back() {
    two().deliver("b").revoke(1).assign(3).deliver("a").is_clean();
}

#[test]
fn a14_looks_alike_sent_back_or_failed_over() {
    two().handle("a").handle("b").commit(2).seek(0).handle("a").commit(1).is_clean();
    two().handle("a").handle("b").fault(Crash::Process).handle("a").is_clean();
}

#[test]
fn a14_looks_alike_two_commits_at_once_and_the_later_word_about_the_first() {
    let story = two().handle("a").handle("b");
    let (one, both) = (story.progress(1), story.progress(2));
    let story = story.op(Commit::Invoke(one.clone())).process(2).op(Commit::Invoke(both.clone())).op(Commit::Ok(both));
    story.process(1).op(Commit::Ok(one)).is_clean();
}

#[test]
fn a15_a_commit_passed_a_running_record() {
    let said = two().handle("a").deliver("b").start("b").commit(2).ok("b").shows(&["A15"]);
    assert!(said.contains("m committed orders/0@2 at") && said.contains("orders/0@1 ended at"), "{said}");
}

#[test]
fn a15_a_commit_passed_a_failed_head() {
    let story = story().publish("a", "k", 0).publish("x", "l", 1);
    story.deliver("a").start("a").err("a").handle("x").commit(2).shows(&["A15"]);
}

#[test]
fn a15_a_commit_passed_a_stored_record_that_nobody_was_given() {
    let story = story().billing_from(0).publish("a", "k", 0).publish("x", "l", 1);
    story.handle("x").commit(2).shows(&["A15"]);
}

#[test]
fn a15_it_was_parked_only_after_the_commit() {
    let story = two().deliver("a").start("a").err("a").commit(1).settle("a", Action::Park);
    story.shows(&["A15"]);
}

#[test]
fn a15_a_commit_of_unknown_end_must_not_have_been_called_either() {
    let story = two().deliver("a").start("a");
    let progress = story.progress(1);
    story.op(Commit::Invoke(progress.clone())).op(Commit::Info(progress)).shows(&["A15"]);
}

#[test]
fn a15_looks_alike_the_commit_stops_at_the_running_record() {
    two().handle("a").deliver("b").start("b").commit(1).is_clean();
}

#[test]
fn a15_looks_alike_the_fence_refused_it() {
    let story = two().deliver("a").start("a");
    let progress = story.progress(1);
    story.op(Commit::Invoke(progress.clone())).op(Commit::Fail(progress)).is_clean();
}

#[test]
fn a15_looks_alike_everything_before_was_parked_skipped_or_below_the_start() {
    let story = story().billing_from(1).publish("a", "k", 0).publish("b", "k", 1).publish("c", "k", 2);
    let story = story.deliver("b").start("b").err("b").settle("b", Action::Park).settle("c", Action::Skip);
    story.commit(3).is_clean();
}

#[test]
fn a15_looks_alike_positions_that_nothing_holds() {
    story().publish("a", "k", 5).publish("b", "k", 9).handle("a").commit(9).handle("b").commit(12).is_clean();
}

#[test]
fn a15_the_start_of_another_group_of_the_topic_does_not_count() {
    let mut audit = GroupPlan::from_beginning("audit", "orders");
    audit.start.insert(0, 9);
    let story = story().plan(|plan| plan.groups.push(audit)).billing_from(0).publish("a", "k", 0).publish("x", "l", 1);
    story.handle("x").commit(2).shows(&["A15"]);
}

#[test]
fn a15_looks_alike_the_refusal_is_that_of_the_old_owner() {
    let story = two().handle("a").deliver("b").start("b");
    let (old, new) = (story.progress(2), story.progress(1));
    let story = story.op(Commit::Invoke(old.clone())).process(2).op(Commit::Invoke(new));
    story.process(1).op(Commit::Fail(old)).is_clean();
}

#[test]
fn a14_the_change_of_another_member_is_none_of_its_own() {
    two().deliver("b").member("n").revoke(1).member("m").deliver("a").shows(&["A14"]);
}

#[test]
fn a15_looks_alike_foreign_bytes_are_passed_over() {
    story()
        .billing_from(0)
        .publish("a", "k", 0)
        .store_as("foreign", 1, |row| row.id = None)
        .handle("a")
        .commit(2)
        .is_clean();
}
