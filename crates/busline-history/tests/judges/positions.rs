use busline_history::{DumpRead, Dumped};

use crate::story::story;

#[test]
fn a12_two_acks_name_one_position() {
    let story = story().publish("a", "k", 0).process(2).call("b", "l").accept("b").ack("b", 0).store("b", 1);
    let said = story.shows(&["A12"]);
    assert!(said.contains("orders/0@0 holds a by its ack and b by its ack"), "{said}");
}

#[test]
fn a12_a_restart_gave_the_position_to_another() {
    let story = story().publish("a", "k", 0).publish("b", "l", 1);
    let rows = vec![story.row("b", 0, |_| {}), story.row("a", 1, |_| {})];
    story.op(DumpRead::Ok(Dumped { read: 1, topic: "orders".into(), rows })).shows(&["A12"]);
}

#[test]
fn a12_a_consumer_was_given_another_envelope_than_the_dump_shows() {
    let story = story().publish("a", "k", 0).publish("b", "l", 1);
    story.deliver_as("a", |seen| seen.delivery.offset = 1).shows(&["A12"]);
}

#[test]
fn a12_looks_alike_all_agree_and_partitions_count_for_themselves() {
    let story = story().publish("a", "k", 0).partition(1).publish("b", "l", 0);
    let rows = vec![story.row("b", 0, |_| {})];
    story.op(DumpRead::Ok(Dumped { read: 1, topic: "orders".into(), rows })).handle("b").is_clean();
}
