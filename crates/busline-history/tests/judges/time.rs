use std::time::Duration;

use busline_history::Action;

use crate::story::{Story, story};

fn retried_after(wait: Duration) -> Story {
    let retry = Action::Retry { delay: Duration::from_millis(500) };
    let story = story().publish("a", "k", 0).deliver("a").start("a").err("a").settle("a", retry);
    story.wait(wait).attempt(2).handle("a")
}

#[test]
fn a26_a_retry_came_before_its_delay_was_over() {
    let said = retried_after(Duration::from_millis(100)).shows(&["A26"]);
    assert!(said.contains("was to wait 500ms"), "{said}");
}

#[test]
fn a26_the_stored_time_went_back() {
    let story = story().call("a", "k").accept("a").ack("a", 0).store_as("a", 0, |row| row.time_ns = Some(1_000));
    let story = story.call("b", "k").accept("b").ack("b", 1).store_as("b", 1, |row| row.time_ns = Some(999));
    let said = story.shows(&["A26"]);
    assert!(said.contains("orders/0@1 was stored 1 ns before"), "{said}");
}

#[test]
fn a26_looks_alike_the_delay_was_kept() {
    retried_after(Duration::from_millis(450)).is_clean();
}

#[test]
fn a26_looks_alike_equal_times_unknown_times_and_other_partitions() {
    let story = story().call("a", "k").accept("a").ack("a", 0).store_as("a", 0, |row| row.time_ns = Some(1_000));
    let story = story.publish("b", "k", 1).call("c", "k").accept("c").ack("c", 2);
    let story = story.store_as("c", 2, |row| row.time_ns = Some(1_000)).partition(1).call("d", "l").accept("d");
    story.store_as("d", 0, |row| row.time_ns = Some(5)).ack("d", 0).is_clean();
}

#[test]
fn a26_looks_alike_each_delay_counts_for_its_own_retry() {
    let retry = Action::Retry { delay: Duration::from_millis(10) };
    let story = story().publish("a", "k", 0).deliver("a").start("a").err("a");
    let story = story.settle("a", Action::Retry { delay: Duration::from_millis(500) }).wait(Duration::from_millis(500));
    let story = story.attempt(2).deliver("a").start("a").err("a").settle("a", retry);
    story.attempt(3).handle("a").is_clean();
}
