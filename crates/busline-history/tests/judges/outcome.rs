use busline_history::{Batch, BatchEnd, BatchMode, BatchResults, ItemEnd, Life, NotAcked};

use crate::story::story;

#[test]
fn a17_a_publish_never_ended() {
    let said = story().call("a", "k").accept("a").publish("b", "l", 0).shows(&["A17"]);
    assert!(said.contains("a, in since 0.020 s, has no outcome and its process lived on"), "{said}");
}

#[test]
fn a17_a_publish_ended_after_its_deadline() {
    story().call("a", "k").accept("a").seconds(32).info("a").shows(&["A17"]);
}

#[test]
fn a17_it_was_overdue_long_before_its_process_died() {
    let story = story().call("a", "k").accept("a").seconds(40);
    story.op(Life::Crash { reason: "abort".into() }).shows(&["A17"]);
}

#[test]
fn a17_two_outcomes_for_one_publish() {
    story().publish("a", "k", 0).info("a").shows(&["A17"]);
}

#[test]
fn a17_looks_alike_its_process_was_killed_or_crashed_first() {
    story().call("a", "k").accept("a").killed().is_clean();
    story().call("a", "k").accept("a").op(Life::Crash { reason: "abort".into() }).is_clean();
}

#[test]
fn a17_looks_alike_the_wait_for_room_does_not_count() {
    story().call("a", "k").seconds(60).accept("a").store("a", 0).ack("a", 0).is_clean();
}

#[test]
fn a17_looks_alike_indeterminate_just_within_the_grace() {
    story().call("a", "k").accept("a").wait(std::time::Duration::from_millis(30_900)).info("a").is_clean();
}

#[test]
fn a17_an_item_of_a_batch_was_forgotten() {
    let mut story = story().batch("x", BatchMode::Itemwise, &[("a", "k"), ("b", "l")]);
    let acked = story.acked("a", |acked| acked.offset = Some(0));
    let results = vec![ItemEnd::Ok(acked)];
    story.store("a", 0).op(Batch::Ok(BatchResults { batch: "x".into(), results })).shows(&["A17"]);
}

#[test]
fn p6_a_killed_process_left_half_an_atomic_batch() {
    let story = story().batch("x", BatchMode::Atomic, &[("a", "k"), ("b", "l")]).killed().store("a", 0);
    let said = story.shows(&["P6"]);
    assert!(said.contains("of 2 items of atomic batch x 1 are stored"), "{said}");
}

#[test]
fn p6_an_atomic_batch_gave_two_kinds_of_outcome() {
    let mut story = story().batch("x", BatchMode::Atomic, &[("a", "k"), ("b", "l")]);
    let acked = story.acked("a", |acked| acked.offset = Some(0));
    let not = NotAcked { id: "b".into(), error: "connection lost".into() };
    let results = vec![ItemEnd::Ok(acked), ItemEnd::Info(not)];
    let story = story.op(Batch::Ok(BatchResults { batch: "x".into(), results }));
    story.store("a", 0).store("b", 1).shows(&["P6"]);
}

#[test]
fn p6_looks_alike_all_or_none_is_stored() {
    let items = [("a", "k"), ("b", "l")];
    story().batch("x", BatchMode::Atomic, &items).killed().store("a", 0).store("b", 1).is_clean();
    let end = BatchEnd { batch: "x".into(), error: "refused whole".into() };
    story().batch("x", BatchMode::Atomic, &items).op(Batch::Fail(end)).is_clean();
}

#[test]
fn p6_looks_alike_an_itemwise_batch_may_be_stored_in_part() {
    let mut story = story().batch("x", BatchMode::Itemwise, &[("a", "k"), ("b", "l")]);
    let acked = story.acked("a", |acked| acked.offset = Some(0));
    let not = NotAcked { id: "b".into(), error: "too large".into() };
    let results = vec![ItemEnd::Ok(acked), ItemEnd::Fail(not)];
    story.store("a", 0).op(Batch::Ok(BatchResults { batch: "x".into(), results })).is_clean();
}

#[test]
fn p6_looks_alike_the_stored_one_may_be_of_another_publish_of_its_id() {
    let story = story().publish("a", "k", 0).batch("x", BatchMode::Atomic, &[("a", "k"), ("b", "l")]);
    story.killed().is_clean();
}
