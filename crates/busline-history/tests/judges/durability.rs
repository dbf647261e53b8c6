use busline_history::{Crash, Durability, Medium};

use crate::story::story;

fn durability(medium: Medium, copies: u8) -> Durability {
    Durability { medium, copies }
}

/// One envelope acked with that durability, then a fault, then it is gone.
fn gone_after(got: Durability, crash: Crash) -> crate::story::Story {
    story().call_as("a", "k", |sent| sent.durability = got).accept("a").ack("a", 0).fault(crash)
}

#[test]
fn a2_an_acked_envelope_that_nobody_stored_is_lost_at_the_broker() {
    let said = story().publish("a", "k", 0).call("b", "k").accept("b").ack("b", 1).shows(&["A2"]);
    assert!(said.contains("b (key k) was acked written x 1 at orders/0@1"), "{said}");
}

#[test]
fn a2_an_ack_without_a_position_is_an_ack() {
    story().call("a", "k").accept("a").ack_as("a", |_| {}).shows(&["A2"]);
}

#[test]
fn a2_a_fault_that_came_before_the_ack_excuses_nothing() {
    let memory = durability(Medium::Memory, 1);
    let story = story().fault(Crash::Process).call_as("a", "k", |sent| sent.durability = memory);
    story.accept("a").ack("a", 0).shows(&["A2"]);
}

#[test]
fn a2_a_network_cut_takes_nothing_from_memory() {
    gone_after(durability(Medium::Memory, 1), Crash::Nothing).shows(&["A2"]);
}

#[test]
fn a2_looks_alike_memory_at_a_restart_and_written_at_a_power_loss() {
    gone_after(durability(Medium::Memory, 1), Crash::Process).is_clean();
    gone_after(durability(Medium::Written, 1), Crash::Power).is_clean();
}

#[test]
fn a2_looks_alike_retention_deleted_it() {
    story().call("a", "k").accept("a").ack("a", 0).publish("b", "k", 1).trimmed_below(1).is_clean();
}

#[test]
fn a2_looks_alike_a_failed_and_an_indeterminate_envelope_owe_nothing() {
    story().call("a", "k").accept("a").fail("a").call("b", "l").accept("b").info("b").is_clean();
}

#[test]
fn a16_an_ack_that_claims_to_outlive_the_fault_lied() {
    gone_after(durability(Medium::Written, 1), Crash::Process).shows(&["A2", "A16"]);
    gone_after(durability(Medium::Synced, 1), Crash::Power).shows(&["A2", "A16"]);
}

#[test]
fn a16_a_second_copy_outlives_the_loss_of_one() {
    let said = gone_after(durability(Medium::Memory, 2), Crash::Power).shows(&["A2", "A16"]);
    assert!(said.contains("a was acked memory x 2"), "{said}");
}

#[test]
fn a16_looks_alike_the_medium_of_the_only_copy_was_damaged() {
    gone_after(durability(Medium::Synced, 1), Crash::Medium).is_clean();
}

#[test]
fn a16_looks_alike_a_fault_without_effect_took_nothing_so_only_the_broker_is_accused() {
    let story = story().call("a", "k").accept("a").ack("a", 0);
    let planned = busline_history::Tolerance::Within;
    story.fault_begins(Crash::Process, planned).fault_ends(None).shows(&["A2"]);
}

#[test]
fn a23_a_weaker_medium_or_a_missing_copy_is_a_downgrade() {
    for got in [durability(Medium::Memory, 2), durability(Medium::Synced, 1)] {
        let asked = durability(Medium::Written, 2);
        let story = story().call_as("a", "k", |sent| sent.durability = asked).accept("a").store("a", 0);
        story.ack_as("a", |acked| (acked.durability, acked.offset) = (got, Some(0))).shows(&["A23"]);
    }
}

#[test]
fn a23_looks_alike_more_than_asked_for() {
    let got = durability(Medium::Synced, 3);
    let story = story().call("a", "k").accept("a").store("a", 0);
    story.ack_as("a", |acked| (acked.durability, acked.offset) = (got, Some(0))).is_clean();
}

#[test]
fn a2_looks_alike_the_fault_that_took_it_never_ended() {
    let memory = durability(Medium::Memory, 1);
    let story = story().call_as("a", "k", |sent| sent.durability = memory).accept("a").ack("a", 0);
    story.fault_begins(Crash::Process, busline_history::Tolerance::Within).is_clean();
}
