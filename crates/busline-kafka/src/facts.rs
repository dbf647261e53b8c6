//! What brokers and topics attest, in words, for whoever looks after them.

use busline_core::{Durability, RECORD_BYTES_MAX, TopicName};

use crate::broker::{self, Broker};
use crate::clients::Clients;
use crate::config::GroupProtocol;
use crate::sink::durability_of;
use crate::topics::{self, Settings, Topic};

/// A name and what is to be known under it.
pub(crate) type Fact = (&'static str, String);

/// Room that parking needs beyond the largest record, in bytes.
const PARKING_BYTES: usize = 16 * 1024;

/// Asks brokers and topics. What cannot be learned is said in its place.
pub(crate) fn ask(clients: &Clients) -> Vec<Fact> {
    let mut facts = match broker::ask(clients) {
        Ok(broker) => of_brokers(&broker, clients.config.group_protocol),
        Err(error) => vec![("brokers", format!("not known: {error}"))],
    };
    match topics::all(clients) {
        Ok(topics) => facts.extend(topics.iter().flat_map(of_topic)),
        Err(error) => facts.push(("durability", format!("not known: {error}"))),
    }
    facts.push(("transactions", "not used: an outcome may be indeterminate, and there are no atomic batches".into()));
    facts
}

fn of_brokers(broker: &Broker, asked: GroupProtocol) -> Vec<Fact> {
    let mut facts = vec![
        ("brokers", format!("{} known", broker.count)),
        ("broker version", version(broker)),
        ("group protocol", protocol(broker, asked)),
    ];
    if let Some(minutes) = broker.setting("offsets.retention.minutes") {
        facts.push(("group offsets", format!("forgotten {minutes} minutes after a group's last member has left")));
    }
    facts
}

/// Brokers name their version only up to 3.x, where it is a setting; from 4.0 on that setting is gone.
fn version(broker: &Broker) -> String {
    match (broker.is_open(), broker.setting("inter.broker.protocol.version")) {
        (true, Some(version)) => format!("Kafka {version}"),
        (true, None) => "Kafka 4.0 or later, which does not say more".into(),
        (false, _) => "not known: this user may not read the brokers' configuration".into(),
    }
}

fn protocol(broker: &Broker, asked: GroupProtocol) -> String {
    let session = broker.consumer_session().map(|session| format!("; others take over after {session:?}"));
    let session = session.unwrap_or_default();
    match (asked, broker.is_open(), broker.consumer_session()) {
        (GroupProtocol::Classic, ..) => "classic, as group.protocol=classic asks".into(),
        (GroupProtocol::Consumer, ..) => format!("KIP-848, as group.protocol=consumer asks{session}"),
        (GroupProtocol::Auto, true, Some(_)) => format!("KIP-848, which the brokers have{session}"),
        (GroupProtocol::Auto, true, None) => "classic: the brokers do not have KIP-848".into(),
        (GroupProtocol::Auto, false, _) => "KIP-848, unless the brokers refuse it when a group is joined".into(),
    }
}

fn of_topic(topic: &Topic) -> Vec<Fact> {
    let (name, settings) = (&topic.info.name, &topic.settings);
    let replicas = topic.info.spec.replicas;
    let mut facts = vec![("durability", attested(name, durability_of(topic), settings, replicas))];
    let mut near = |what: String| facts.push(("near a limit", format!("{name}: {what}")));
    if settings.message_bytes_max < RECORD_BYTES_MAX + PARKING_BYTES {
        near(format!(
            "max.message.bytes={} is less than the bus's largest record with its parking headers, {}",
            settings.message_bytes_max,
            RECORD_BYTES_MAX + PARKING_BYTES
        ));
    }
    if replicas > 1 && settings.min_in_sync >= replicas {
        near(format!("min.insync.replicas={} of {replicas} replicas: no broker may be away", settings.min_in_sync));
    }
    facts
}

fn attested(name: &TopicName, attested: Durability, settings: &Settings, replicas: u8) -> String {
    let medium = if settings.flush_messages == 1 { "flush.messages=1" } else { "flush.messages is not 1" };
    let unclean =
        if settings.is_unclean { ", and unclean.leader.election.enable=true may lose the others" } else { "" };
    format!(
        "{name}: {} × {}: {medium}; min.insync.replicas={} of {replicas} replicas{unclean}",
        format!("{:?}", attested.medium).to_lowercase(),
        attested.copies,
        settings.min_in_sync,
    )
}

#[cfg(test)]
mod tests {
    use busline_core::{TopicInfo, TopicSpec};

    use super::*;

    fn text(facts: &[Fact]) -> String {
        facts.iter().map(|(name, fact)| format!("{name}: {fact}\n")).collect()
    }

    #[test]
    fn brokers_say_their_version_as_far_as_they_do() {
        let session = ("group.consumer.session.timeout.ms", "45000");
        let new = text(&of_brokers(&Broker::with(3, &[session]), GroupProtocol::Auto));
        for part in ["3 known", "Kafka 4.0 or later", "KIP-848, which the brokers have; others take over after 45s"] {
            assert!(new.contains(part), "{part}: {new}");
        }
        let old = Broker::with(1, &[("inter.broker.protocol.version", "3.6-IV2")]);
        let old = text(&of_brokers(&old, GroupProtocol::Auto));
        for part in ["Kafka 3.6-IV2", "classic: the brokers do not have KIP-848"] {
            assert!(old.contains(part), "{part}: {old}");
        }
        let asked = text(&of_brokers(&Broker::with(1, &[session]), GroupProtocol::Classic));
        assert!(asked.contains("as group.protocol=classic asks"), "{asked}");
        let closed = text(&of_brokers(&Broker::default(), GroupProtocol::Auto));
        assert!(closed.contains("not known: this user") && closed.contains("unless the brokers refuse"), "{closed}");
    }

    #[test]
    fn a_topic_says_what_an_ack_is_worth_and_why() {
        let topic = |replicas, settings| Topic {
            info: TopicInfo {
                name: "t".parse().expect("a name"),
                spec: TopicSpec { replicas, ..TopicSpec::default() },
                incarnation: uuid::Uuid::nil(),
            },
            settings,
            leaders: 1,
        };
        let large = RECORD_BYTES_MAX + PARKING_BYTES;
        let mut settings = Settings::default();
        (settings.min_in_sync, settings.flush_messages, settings.message_bytes_max) = (2, 9, large);
        let plain = text(&of_topic(&topic(3, settings.clone())));
        assert_eq!(plain, "durability: t: written × 2: flush.messages is not 1; min.insync.replicas=2 of 3 replicas\n");
        (settings.flush_messages, settings.is_unclean, settings.message_bytes_max) = (1, true, 1_000);
        let synced = text(&of_topic(&topic(2, settings)));
        for part in [
            "synced × 1: flush.messages=1",
            "may lose the others",
            "max.message.bytes=1000 is",
            "no broker may be away",
        ] {
            assert!(synced.contains(part), "{part}: {synced}");
        }
    }
}
