use busline_history::ContentHash;

use crate::story::story;

#[test]
fn a3_a_delivery_of_what_nobody_published_is_a_phantom() {
    let said =
        story().publish("a", "k", 0).deliver_as("a", |seen| seen.delivery.id = "ghost".into()).shows(&["A3", "A12"]);
    assert!(said.contains("ghost (key k) was delivered to billing"), "{said}");
}

#[test]
fn a3_so_is_a_stored_one() {
    story().publish("a", "k", 0).store("ghost", 1).shows(&["A3"]);
}

#[test]
fn a3_looks_alike_foreign_bytes_are_no_envelope() {
    story().publish("a", "k", 0).store_as("foreign", 1, |row| row.id = None).is_clean();
}

#[test]
fn a3_looks_alike_the_publisher_died_before_it_could_tell_the_end() {
    story().call("a", "k").killed().store("a", 0).process(2).deliver("a").is_clean();
}

#[test]
fn a4_a_failed_envelope_is_stored() {
    let said = story().call("a", "k").accept("a").fail("a").store("a", 0).shows(&["A4"]);
    assert!(said.contains("a (key k) is stored although its publish failed"), "{said}");
}

#[test]
fn a4_a_failed_envelope_is_delivered() {
    story().call("a", "k").accept("a").fail("a").deliver("a").shows(&["A4"]);
}

#[test]
fn a4_looks_alike_an_indeterminate_one_turned_up() {
    story().call("a", "k").accept("a").info("a").store("a", 0).handle("a").is_clean();
}

#[test]
fn a4_looks_alike_it_failed_and_was_published_again() {
    story().call("a", "k").accept("a").fail("a").publish("a", "k", 0).is_clean();
}

#[test]
fn a5_the_content_changed_on_the_way() {
    let other = ContentHash::of(b"a", [("trace", b"1".as_slice())]);
    story().publish("a", "k", 0).deliver_as("a", |seen| seen.hash = other).shows(&["A5"]);
}

#[test]
fn a5_the_stored_content_or_key_is_not_the_published_one() {
    let story1 = story().call("a", "k").accept("a").ack("a", 0);
    story1.store_as("a", 0, |row| row.hash = ContentHash(0)).shows(&["A5"]);
    let story2 = story().call("a", "k").accept("a").ack("a", 0);
    story2.store_as("a", 0, |row| row.key = "K".into()).shows(&["A5"]);
}

#[test]
fn a5_it_arrived_from_another_topic() {
    story().publish("a", "k", 0).deliver_as("a", |seen| seen.delivery.topic = "payments".into()).shows(&["A5"]);
}

#[test]
fn a5_looks_alike_an_id_published_again_with_other_content_may_arrive_as_either() {
    let other = ContentHash(5);
    let story = story().publish("a", "k", 0).call_as("a", "k", |sent| sent.hash = other).accept("a");
    story.store_as("a", 1, |row| row.hash = other).ack("a", 1).handle("a").is_clean();
}
