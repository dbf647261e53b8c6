//! Real events from SQLite over NATS to the processes of a group.

use crate::{Market, journey};

#[test]
fn real_events_travel_to_three_processes_past_a_killed_member_and_a_killed_server() {
    let Market { server, .. } = Market::open();
    journey::past_a_killed_member_and_a_killed_server(&server.url(), || {
        server.kill().expect("it runs");
        server.start_again().expect("it starts on its store");
    });
}
