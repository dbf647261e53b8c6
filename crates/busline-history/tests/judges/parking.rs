use busline_history::{Action, Content, ParkedRow, StoredAt};

use crate::story::{Story, story};

fn parked_at(offset: u64) -> StoredAt {
    StoredAt { topic: "parking".into(), partition: 0, offset }
}

/// Two attempts, and the last one failed.
fn used_up() -> Story {
    let story = story().plan(|plan| plan.attempts_max = Some(2)).billing_from(0).publish("a", "k", 0);
    story.deliver("a").start("a").err("a").attempt(2).deliver("a").start("a").err("a")
}

fn complete() -> ParkedRow {
    ParkedRow {
        parking_topic: "parking".into(),
        parking_partition: 0,
        parking_offset: 3,
        content: Content::Envelope,
        topic: Some("orders".into()),
        partition: Some(0),
        offset: Some(0),
        key: Some("k".into()),
        id: Some("a".into()),
        attempts: Some(2),
        error: Some("told".into()),
        first_ns: Some(1),
        last_ns: Some(2),
    }
}

#[test]
fn a20_out_of_attempts_and_not_parked() {
    let said = used_up().drained().shows(&["A1", "A20"]);
    assert!(said.contains("a at orders/0@0 failed for the last time (attempt 2)"), "{said}");
}

#[test]
fn a20_the_group_went_on_without_parking_it() {
    used_up().commit(1).shows(&["A15", "A20"]);
}

#[test]
fn a20_parked_and_then_handled_without_a_replay() {
    used_up()
        .settle("a", Action::Park)
        .attempt(3)
        .start("a")
        .ok("a")
        .plan(|plan| plan.attempts_max = None)
        .shows(&["A20"]);
}

#[test]
fn a20_handled_and_parked_all_the_same() {
    let story = story().publish("a", "k", 0).handle("a").settle("a", Action::Park);
    let said = story.shows(&["A20"]);
    assert!(said.contains("a at orders/0@0 was handled at") && said.contains("and parked at"), "{said}");
}

#[test]
fn a20_the_parking_topic_does_not_hold_it() {
    let story = used_up().settle_as("a", Action::Park, |parked| parked.parked_at = Some(parked_at(9)));
    story.parked_row(complete()).shows(&["A20"]);
}

#[test]
fn a20_looks_alike_parked_where_it_says() {
    let story = used_up().settle_as("a", Action::Park, |parked| parked.parked_at = Some(parked_at(3)));
    story.parked_row(complete()).commit(1).drained().is_clean();
}

#[test]
fn a20_looks_alike_the_parking_is_still_under_way() {
    used_up().is_clean();
}

#[test]
fn a20_looks_alike_replayed_and_handled() {
    let story = used_up().settle("a", Action::Park).settle("a", Action::Replay);
    story.attempt(1).handle("a").drained().is_clean();
}

#[test]
fn a20_looks_alike_handled_by_one_that_died_and_parked_by_the_next() {
    let story = story().publish("a", "k", 0).assign(1).handle("a").killed();
    let story = story.process(2).member("n").assign(2).deliver("a").start("a").err("a");
    story.settle("a", Action::Park).is_clean();
}

#[test]
fn a21_any_part_of_the_diagnosis_is_missing() {
    type Remove = fn(&mut ParkedRow);
    let holes: [(&str, Remove); 9] = [
        ("topic", |row| row.topic = None),
        ("partition", |row| row.partition = None),
        ("offset", |row| row.offset = None),
        ("key", |row| row.key = None),
        ("id", |row| row.id = None),
        ("attempts", |row| row.attempts = None),
        ("error", |row| row.error = None),
        ("first time", |row| row.first_ns = None),
        ("last time", |row| row.last_ns = None),
    ];
    for (part, remove) in holes {
        let mut row = complete();
        remove(&mut row);
        let said = story().parked_row(row).shows(&["A21"]);
        assert!(said.contains(&format!("parking/0@3 lacks {part}")), "{said}");
    }
}

#[test]
fn a21_an_undecodable_record_still_needs_its_place_and_reason() {
    let row = ParkedRow { content: Content::Undecodable, error: None, ..complete() };
    story().parked_row(row).shows(&["A21"]);
}

#[test]
fn a21_looks_alike_complete_and_undecodable() {
    let raw = ParkedRow { content: Content::Undecodable, key: None, id: None, attempts: None, ..complete() };
    story().parked_row(complete()).parked_row(raw).is_clean();
}

#[test]
fn a20_looks_alike_the_group_stands_at_the_record_that_is_to_be_parked() {
    used_up().commit(0).is_clean();
}

/// A process begins to park `a`, which failed, and the next one finds it parked and goes on.
fn cut_off(is_killed: bool) -> Story {
    let story = story().billing_from(0).publish("a", "k", 0).assign(1).deliver("a").start("a").err("a");
    let story = story.begin_parking("a");
    let story = if is_killed { story.killed() } else { story };
    story.process(2).member("n").assign(2).commit(1)
}

#[test]
fn a15_looks_alike_a_killed_process_parked_it_and_could_not_tell() {
    cut_off(true).is_clean();
}

#[test]
fn a15_a_parking_was_begun_and_nobody_knows_its_end() {
    cut_off(false).shows(&["A15"]);
}
