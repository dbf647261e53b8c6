//! Real events from SQLite over Kafka to the processes of a group.

use busline_brokers::kafka::{Options, Server};

use crate::{journey, patient};

#[test]
fn real_events_travel_to_three_processes_past_a_killed_member_and_a_killed_broker() {
    // Its own: others would notice.
    let server = Server::start(&Options::default()).expect("a broker starts");
    journey::past_a_killed_member_and_a_killed_server(&patient(&server.url()), || {
        server.kill().expect("it runs");
        server.start_again().expect("it starts on its log");
    });
}
