use std::time::Duration;

use busline_history::WHOLE_BUS;

use crate::story::story;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a25_a_closed_publisher_accepted_another_envelope() {
    let story = story().close_begins("p", SECOND).close_ends("p", "ok").publish("a", "k", 0);
    let said = story.shows(&["A25"]);
    assert!(said.contains("a was published at 0.040 s and accepted; close of p began at 0.000 s"), "{said}");
}

#[test]
fn a25_so_did_a_publisher_of_a_closed_bus() {
    story().close_begins(WHOLE_BUS, SECOND).publish("a", "k", 0).close_ends(WHOLE_BUS, "ok").shows(&["A25"]);
}

#[test]
fn a25_a_close_was_late_or_never_returned() {
    story().close_begins("p", SECOND).seconds(2).close_ends("p", "ok").shows(&["A25"]);
    story().close_begins("p", SECOND).publisher("q").publish("a", "k", 0).shows(&["A25"]);
}

#[test]
fn a25_a_second_close_told_something_else() {
    let story = story().close_begins("p", SECOND).close_ends("p", "2 indeterminate");
    let said = story.close_begins("p", SECOND).close_ends("p", "ok").shows(&["A25"]);
    assert!(said.contains("close of p gave `2 indeterminate` and then `ok`"), "{said}");
}

#[test]
fn a25_looks_alike_published_before_and_accepted_while_the_close_began() {
    let story = story().call("a", "k").close_begins("p", SECOND).accept("a").store("a", 0).ack("a", 0);
    story.close_ends("p", "ok").is_clean();
}

#[test]
fn a25_looks_alike_refused_after_the_close() {
    story().close_begins("p", SECOND).close_ends("p", "ok").call("a", "k").fail("a").is_clean();
}

#[test]
fn a25_looks_alike_another_publisher_and_another_process_go_on() {
    let story = story().close_begins("p", SECOND).close_ends("p", "ok").publisher("q").publish("a", "k", 0);
    story.publisher("p").process(2).publish("b", "k", 1).is_clean();
}

#[test]
fn a25_looks_alike_closed_twice_alike_and_killed_in_a_close() {
    let story = story().close_begins("p", SECOND).close_ends("p", "ok").close_begins("p", SECOND);
    story.close_ends("p", "ok").close_begins("m", SECOND).killed().is_clean();
}

#[test]
fn a25_accepted_after_the_close_whatever_its_outcome() {
    story().close_begins("p", SECOND).close_ends("p", "ok").call("a", "k").accept("a").info("a").shows(&["A25"]);
}
