//! Topics: how they come to exist and change.

use std::collections::HashMap;
use std::time::Duration;

use busline_core::{
    BEHIND_MAX, Error, ErrorKind, Offset, Partition, RECORD_BYTES_MAX, Result, Retention, TopicInfo, TopicName,
    TopicSpec, colliding_name, partition_not_found, topic_exists, topic_not_found,
};
use rdkafka::admin::{AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};

use crate::clients::Clients;
use crate::error;
use crate::native::{self, Described, Resource, Setting};

/// Room that a topic leaves beyond the largest record, for what the broker and parking add.
const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX + 64 * 1024;

/// Looks in a row that must agree where several brokers may answer.
const LOOKS_OF_SEVERAL: u32 = 6;

/// What the configuration of a topic says, as far as the driver reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    retention: Retention,
    pub(crate) min_in_sync: u8,
    /// Messages after which the log is synced.
    pub(crate) flush_messages: u64,
    pub(crate) message_bytes_max: usize,
    /// Whether a replica that lags behind may become leader, and so take acked records with it.
    pub(crate) is_unclean: bool,
    /// What was set for this topic itself.
    own: HashMap<String, String>,
}

/// A topic with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) info: TopicInfo,
    pub(crate) settings: Settings,
    /// Brokers that lead a partition of it.
    pub(crate) leaders: usize,
}

pub(crate) fn create(clients: &Clients, name: &TopicName, spec: &TopicSpec) -> Result<TopicInfo> {
    check(spec).map_err(|error| error.at("create topic", name))?;
    let wanted = settings_of(spec);
    let config = wanted.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let wanted_topic = NewTopic {
        name: name.as_str(),
        num_partitions: spec.partitions as i32,
        replication: TopicReplication::Fixed(i32::from(spec.replicas)),
        config,
    };
    let made = clients.wait(clients.admin()?.create_topics([&wanted_topic], &clients.options()))?;
    match made.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {
            // Whoever hears this asks for the topic next, and the broker that is asked may hear of it a moment later.
            clients.await_that(|| Ok(describe(clients, name).is_ok_and(|described| described.is_led)))?;
            clients.fresh.note(name.as_str(), clients.patience());
            return Err(topic_exists(name));
        }
        Some(Err((_, RDKafkaErrorCode::InvalidTopic))) => return Err(collision(clients, name)?),
        Some(Err((_, code))) => return Err(error::of_code(code).at("create topic", name)),
        _ => {}
    }
    let is_led = || Ok(describe(clients, name).is_ok_and(|described| described.is_led));
    if !clients.await_that(is_led)? {
        return Err(Error::new(ErrorKind::Unavailable, "Leader")
            .cause("the topic was made, and not every partition has a leader yet")
            .next("check the brokers, then open it again")
            .at("create topic", name));
    }
    // Any broker may answer: another one hears of the name a moment later, and of the settings after that.
    let (mut found, mut looks) = (Err(topic_not_found(name)), 0);
    let enough = looks_enough(usize::from(spec.replicas));
    clients.await_that(|| {
        found = topic(clients, name);
        looks = match &found {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.clone()),
            Ok(found) if found.info.spec == *spec => looks + 1,
            _ => 0,
        };
        Ok(looks >= enough)
    })?;
    // From now on, since the looks above must meet each broker that is behind.
    clients.fresh.note(name.as_str(), clients.patience());
    found.map(|found| found.info)
}

/// The error of a name that the brokers refuse: names are checked before, so it collides with another.
fn collision(clients: &Clients, name: &TopicName) -> Result<Error> {
    let form = |name: &TopicName| name.as_str().replace('.', "_");
    let existing = names(clients)?.into_iter().find(|other| form(other) == form(name));
    Ok(match existing {
        Some(existing) => colliding_name(name, &existing),
        None => Error::invalid("NameCharacter")
            .cause("the brokers refuse this name")
            .next("choose another name")
            .at("create topic", name),
    })
}

pub(crate) fn update(clients: &Clients, name: &TopicName, spec: &TopicSpec) -> Result<TopicInfo> {
    let at = |error: Error| error.at("update topic", name);
    check(spec).map_err(at)?;
    let before = topic(clients, name)?;
    before.info.spec.check_update(spec).map_err(at)?;
    if before.info.spec.replicas != spec.replicas {
        return Err(at(Error::new(ErrorKind::Unsupported, "Replicas")
            .cause(format!("the topic has {} replicas, wanted {}", before.info.spec.replicas, spec.replicas))
            .next("reassign its replicas with the brokers' own tools")));
    }
    // The request replaces everything that was set for the topic, so what stays is said again.
    let wanted = retention_of(&spec.retention);
    let mut alter = AlterConfig::new(ResourceSpecifier::Topic(name.as_str()));
    for (key, value) in &before.settings.own {
        alter = alter.set(key, value);
    }
    for (key, value) in &wanted {
        alter = alter.set(key, value);
    }
    for altered in clients.wait(clients.admin()?.alter_configs([&alter], &clients.options()))? {
        altered.map_err(|(_, code)| at(error::of_code(code)))?;
    }
    let mut found = topic(clients, name)?;
    clients.await_that(|| {
        found = topic(clients, name)?;
        Ok(found.info.spec == *spec)
    })?;
    Ok(found.info)
}

/// The topic of this name, with its settings.
pub(crate) fn topic(clients: &Clients, name: &TopicName) -> Result<Topic> {
    let described = describe(clients, name)?;
    // Another broker may answer this, and may be behind the one that has shown the topic.
    clients.fresh.note(name.as_str(), BEHIND_MAX);
    let settings = clients.patiently_of(name, || {
        settings(clients, &[name.as_str()])?.remove(name.as_str()).unwrap_or_else(|| Err(topic_not_found(name)))
    })?;
    Ok(with_settings(name.clone(), &described, settings))
}

/// All topics whose names are ours to use, by name.
pub(crate) fn infos(clients: &Clients) -> Result<Vec<TopicInfo>> {
    Ok(all(clients)?.into_iter().map(|topic| topic.info).collect())
}

/// The same with their settings.
pub(crate) fn all(clients: &Clients) -> Result<Vec<Topic>> {
    let names = names(clients)?;
    let texts: Vec<&str> = names.iter().map(TopicName::as_str).collect();
    let described = native::describe_topics(&clients.native()?, &texts, clients.patience())?;
    let mut settings = settings(clients, &texts)?;
    let mut topics: Vec<Topic> = described
        .into_iter()
        // A topic that has been deleted meanwhile is no topic any more.
        .filter_map(Result::ok)
        .filter_map(|described| {
            let name = TopicName::stored(&described.name).ok()?;
            // One whose settings this user may not read cannot be shown with them, and must not hide the others.
            let settings = settings.remove(&described.name)?;
            let settings = settings.inspect_err(|error| tracing::warn!("left out: {error}")).ok()?;
            Some(with_settings(name, &described, settings))
        })
        .collect();
    topics.sort_by(|left, right| left.info.name.cmp(&right.info.name));
    Ok(topics)
}

/// Deletes records below an offset; gives the partition's start afterwards.
pub(crate) fn trim(clients: &Clients, name: &TopicName, partition: Partition, below: Offset) -> Result<Offset> {
    check_partition(clients, name, partition)?;
    let (low, high) = clients.readers.watermarks(clients, name, partition)?;
    if below <= low {
        return Ok(low);
    }
    let mut list = TopicPartitionList::new();
    let below = KafkaOffset::Offset(below.min(high).0 as i64);
    list.add_partition_offset(name.as_str(), partition.0 as i32, below).map_err(|error| error::of(&error))?;
    let trimmed = clients.wait(clients.admin()?.delete_records(&list, &clients.options()))?;
    let elements = trimmed.elements();
    let element = elements.first().ok_or_else(|| partition_not_found(name, partition))?;
    element.error().map_err(|error| error::of(&error).at("trim", name))?;
    match element.offset() {
        KafkaOffset::Offset(start) => Ok(Offset(start as u64)),
        _ => Ok(clients.readers.watermarks(clients, name, partition)?.0),
    }
}

/// The topic's description, if it has this partition.
pub(crate) fn check_partition(clients: &Clients, name: &TopicName, partition: Partition) -> Result<Described> {
    let described = describe(clients, name)?;
    if partition.0 >= described.partitions {
        return Err(partition_not_found(name, partition));
    }
    Ok(described)
}

/// What the brokers say of the topic itself. One that does not know a topic which was just made is asked again.
pub(crate) fn describe(clients: &Clients, name: &TopicName) -> Result<Described> {
    clients.patiently_of(name, || look(clients, name, clients.patience()))
}

/// What the broker that is asked says at once, or within this time.
pub(crate) fn look(clients: &Clients, name: &TopicName, limit: Duration) -> Result<Described> {
    let found = native::describe_topics(&clients.native()?, &[name.as_str()], limit);
    let found = found.and_then(|topics| topics.into_iter().next().unwrap_or_else(|| Err(topic_not_found(name))));
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(topic_not_found(name)),
        Err(error) => Err(error.at("topic", name)),
        Ok(described) => Ok(described),
    }
}

/// Looks in a row that must say the same before every broker is taken to know it.
pub(crate) fn looks_enough(replicas: usize) -> u32 {
    if replicas > 1 { LOOKS_OF_SEVERAL } else { 1 }
}

fn names(clients: &Clients) -> Result<Vec<TopicName>> {
    let metadata = clients.admin()?.inner().fetch_metadata(None, clients.patience());
    let metadata = metadata.map_err(|error| error::of(&error).at("topics", ""))?;
    // Names that the bus refuses belong to the brokers or to others.
    Ok(metadata.topics().iter().filter_map(|topic| TopicName::stored(topic.name()).ok()).collect())
}

fn with_settings(name: TopicName, described: &Described, settings: Settings) -> Topic {
    let spec = TopicSpec {
        partitions: described.partitions,
        streams: 1,
        replicas: u8::try_from(described.replicas).unwrap_or(u8::MAX),
        retention: settings.retention.clone(),
    };
    Topic { info: TopicInfo { name, spec, incarnation: described.id }, settings, leaders: described.leaders }
}

/// The settings of each topic that exists.
fn settings(clients: &Clients, names: &[&str]) -> Result<HashMap<String, Result<Settings>>> {
    let topics: Vec<Resource<'_>> = names.iter().copied().map(Resource::Topic).collect();
    let found = native::describe_configs(&clients.native()?, &topics, clients.patience())?;
    let named = names.iter().zip(found).filter_map(|(name, told)| match told {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        told => Some(((*name).to_owned(), told.map(read_settings).map_err(|error| untold(error, name)))),
    });
    Ok(named.collect())
}

/// Without its settings a topic is neither published to nor read: what its acks attest stands in them.
fn untold(error: Error, name: &str) -> Error {
    let is_denied = error.kind() == ErrorKind::Denied;
    let error = if is_denied { error.next("grant this user DescribeConfigs on the topic") } else { error };
    error.at("settings of topic", name)
}

fn read_settings(told: Vec<Setting>) -> Settings {
    let value = |key: &str| told.iter().find(|setting| setting.name == key)?.value.as_deref();
    let number = |key: &str| value(key).and_then(|value| value.parse::<i64>().ok());
    let limit = |key: &str| number(key).and_then(|number| u64::try_from(number).ok());
    Settings {
        retention: Retention {
            age_max: limit("retention.ms").map(Duration::from_millis),
            bytes_max: limit("retention.bytes"),
            records_max: None,
        },
        min_in_sync: number("min.insync.replicas").unwrap_or(1).clamp(1, i64::from(u8::MAX)) as u8,
        flush_messages: limit("flush.messages").unwrap_or(u64::MAX),
        // A broker that does not tell its limit keeps it by itself.
        message_bytes_max: limit("max.message.bytes").map_or(usize::MAX, |limit| limit as usize),
        is_unclean: value("unclean.leader.election.enable") == Some("true"),
        own: told
            .into_iter()
            .filter(|setting| setting.is_of_topic)
            .filter_map(|setting| Some((setting.name, setting.value?)))
            .collect(),
    }
}

/// The configuration of a topic that the driver makes.
fn settings_of(spec: &TopicSpec) -> Vec<(&'static str, String)> {
    let mut settings = retention_of(&spec.retention);
    settings.push(("cleanup.policy", "delete".into()));
    settings.push(("message.timestamp.type", "LogAppendTime".into()));
    settings.push(("max.message.bytes", MESSAGE_BYTES_MAX.to_string()));
    // More than half of an odd number: one broker may be away, and what was acked has two copies left.
    settings.push(("min.insync.replicas", spec.replicas.div_ceil(2).to_string()));
    settings
}

fn retention_of(retention: &Retention) -> Vec<(&'static str, String)> {
    let or_none = |limit: Option<u128>| limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
    vec![
        ("retention.ms", or_none(retention.age_max.map(|age| age.as_millis()))),
        ("retention.bytes", or_none(retention.bytes_max.map(u128::from))),
    ]
}

fn check(spec: &TopicSpec) -> Result<()> {
    spec.validate()?;
    spec.check_one_stream("kafka")?;
    let unsupported =
        |cause: &str, next: &'static str| Err(Error::new(ErrorKind::Unsupported, "Retention").cause(cause).next(next));
    if spec.retention.records_max.is_some() {
        return unsupported("Kafka does not count records", "limit the bytes of a partition");
    }
    if spec.retention.age_max.is_some_and(|age| age.subsec_nanos() % 1_000_000 != 0) {
        return unsupported("Kafka counts an age in milliseconds", "use whole milliseconds");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_made_so_that_one_broker_may_be_away() {
        for (replicas, expected) in [(1, "1"), (2, "1"), (3, "2"), (5, "3")] {
            let settings = settings_of(&TopicSpec { replicas, ..TopicSpec::default() });
            assert!(settings.contains(&("min.insync.replicas", expected.into())), "{replicas} replicas");
        }
    }

    #[test]
    fn a_limit_that_kafka_cannot_hold_is_refused() {
        let check_of = |retention| check(&TopicSpec { retention, ..TopicSpec::default() });
        let records = Retention { records_max: Some(1), ..Retention::default() };
        assert_eq!(check_of(records).expect_err("records").code(), "Unsupported/Retention");
        let age = Retention { age_max: Some(Duration::from_micros(1_500)), ..Retention::default() };
        assert_eq!(check_of(age).expect_err("age").code(), "Unsupported/Retention");
        check_of(Retention::default()).expect("no limit");
    }
}
