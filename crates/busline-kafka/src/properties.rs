//! The client properties that a URL may set, and why the others are refused.

use busline_core::{Error, Result, escaped};

/// Properties of librdkafka that a user may set. None of them can break a promise.
const ALLOWED: [&str; 20] = [
    "broker.address.family",
    "client.rack",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "linger.ms",
    "metadata.max.age.ms",
    "sasl.mechanism",
    "sasl.username",
    "security.protocol",
    "socket.keepalive.enable",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
];

/// Our own keys beside those of librdkafka.
pub(crate) const PASSWORD_FILE: &str = "sasl.password.file";
pub(crate) const KEY_PASSWORD_FILE: &str = "ssl.key.password.file";
pub(crate) const GROUP_PROTOCOL: &str = "group.protocol";
pub(crate) const PATIENCE: &str = "patience.ms";
const OURS: [&str; 4] = [GROUP_PROTOCOL, PATIENCE, PASSWORD_FILE, KEY_PASSWORD_FILE];

/// Why a property cannot be set, by the beginning of its name.
const REFUSED: [(&str, &str); 45] = [
    ("acks", "every ack is one of all in-sync replicas"),
    ("allow.auto.create.topics", "topics come to exist only as their provision says"),
    ("auto.commit", "the bus commits what handlers have finished"),
    ("auto.offset.reset", "a lost position is reported, never skipped"),
    ("batch.", "the size of batches follows the topic's limit"),
    ("bootstrap.servers", "the brokers stand in front of the '?'"),
    ("builtin.features", "it is fixed when the client is built"),
    ("check.crcs", "every batch that is read is checked"),
    ("client.id", "it is the name under which members are listed"),
    ("debug", "the client's log could show what is secret"),
    ("delivery.timeout.ms", "a timeout of the client leaves holes; the publisher has a deadline of its own"),
    ("dr_", "the driver reads the client's reports itself"),
    ("enable.auto", "the bus commits what handlers have finished"),
    ("enable.gapless.guarantee", "without it a failure leaves holes"),
    ("enable.idempotence", "without it a resend reorders and doubles"),
    ("enable.metrics.push", "a client that pushes its metrics waits for the last push when it ends"),
    ("enable.ssl.certificate.verification", "an unchecked certificate protects from nobody"),
    ("fetch.queue.backoff.ms", "a long backoff makes readers pause"),
    ("group.id", "the group is named when a topic is subscribed to"),
    ("group.instance.id", "a second member of that id would be refused for good"),
    ("group.remote.assignor", "the assignor belongs to the broker"),
    ("heartbeat.interval.ms", "it belongs to the broker"),
    ("isolation.level", "readers see committed records only"),
    ("log", "the client's log goes to the program's own"),
    ("max.in.flight", "it follows the partitions of a broker, and more than five reorder"),
    ("max.poll.interval.ms", "the driver polls by itself"),
    ("message.max.bytes", "it follows the topic's limit"),
    ("message.send.max.retries", "the driver resends until the deadline"),
    ("message.timeout.ms", "a timeout of the client leaves holes; the publisher has a deadline of its own"),
    ("metadata.broker.list", "the brokers stand in front of the '?'"),
    ("partition.assignment.strategy", "members of different strategies cannot share a group"),
    ("partitioner", "a key's partition is the same on every backend"),
    ("plugin.library.paths", "no code is loaded from a URL"),
    ("queue", "the publisher's window bounds what is in flight"),
    ("receive.message.max.bytes", "it follows the other limits"),
    ("request", "the driver decides when a request has failed"),
    ("retr", "the driver resends until the deadline"),
    ("sasl.kerberos", "Kerberos starts programs by a command line, which no URL may"),
    ("sasl.oauthbearer", "a login from an address in a URL has been an attack before"),
    ("sasl.password", "a secret never stands in a URL; use sasl.password.file or BUSLINE_KAFKA_PASSWORD"),
    ("session.timeout.ms", "it belongs to the broker"),
    ("ssl.endpoint.identification", "an unchecked certificate protects from nobody"),
    ("ssl.key.p", "a secret never stands in a URL; use ssl.key.password.file or BUSLINE_KAFKA_KEY_PASSWORD"),
    ("ssl.keystore.password", "a secret never stands in a URL; use a certificate and a key in files"),
    ("transaction", "transactions are opened by the publisher that asks for them"),
];

/// Checks that a property may be set.
///
/// # Errors
/// `Invalid/RefusedKey` with the reason; `Invalid/UnknownKey` with the nearest name.
pub(crate) fn check(name: &str) -> Result<()> {
    if ALLOWED.contains(&name) || OURS.contains(&name) {
        return Ok(());
    }
    if let Some((_, why)) = REFUSED.iter().find(|(beginning, _)| name.starts_with(beginning)) {
        return Err(Error::invalid("RefusedKey")
            .cause(format!("'{}' cannot be set: {why}", escaped(name)))
            .next("leave it out"));
    }
    let known = ALLOWED.iter().chain(&OURS);
    let nearest = known.min_by_key(|known| distance(known, name)).copied().unwrap_or_default();
    Err(Error::invalid("UnknownKey")
        .cause(format!("'{}' is no setting", escaped(name)))
        .next(format!("did you mean '{nearest}'?")))
}

/// Edits that lead from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    const SEEN_MAX: usize = 64;
    let to: Vec<char> = to.chars().take(SEEN_MAX).collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (place, right) in to.iter().enumerate() {
            let edited = (diagonal + usize::from(left != *right)).min(row[place] + 1).min(row[place + 1] + 1);
            diagonal = std::mem::replace(&mut row[place + 1], edited);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_set_is_a_property_of_the_client() {
        for name in ALLOWED {
            check(name).expect(name);
            assert!(!REFUSED.iter().any(|(beginning, _)| name.starts_with(beginning)), "{name} is refused too");
        }
        assert!(ALLOWED.is_sorted() && OURS.is_sorted() && REFUSED.is_sorted());
    }

    #[test]
    fn a_refused_property_says_why() {
        for (name, word) in [
            ("enable.idempotence", "doubles"),
            ("message.timeout.ms", "holes"),
            ("sasl.password", "BUSLINE_KAFKA_PASSWORD"),
            ("sasl.oauthbearer.token.endpoint.url", "attack"),
            ("partitioner", "same on every backend"),
        ] {
            let error = check(name).expect_err(name);
            assert_eq!(error.code(), "Invalid/RefusedKey");
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn an_unknown_property_names_the_nearest() {
        let error = check("lingerms").expect_err("unknown");
        assert_eq!(error.code(), "Invalid/UnknownKey");
        assert!(error.to_string().contains("'linger.ms'"), "{error}");
    }
}
