//! The client of a member, and what it has to say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use busline_core::{Offset, Partition, Result, SourceRequest, TopicName};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::agreement::classic_session;
use super::bell::Bell;
use crate::clients::{create, log};
use crate::config::KafkaConfig;
use crate::{error, groups};

/// The client of a member.
pub(super) type Consumer = BaseConsumer<Voice>;

/// Time without a poll after which the group takes a member for dead. The member polls ten times a second.
pub(super) const POLL_INTERVAL_MAX: Duration = Duration::from_secs(300);

/// Pause before something is tried again that the brokers refused for the moment.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Bytes that the client reads ahead of all partitions.
const FETCH_AHEAD_KBYTES: u32 = 32 * 1_024;

/// What the client has to say, for the thread that polls it.
pub(super) struct Voice {
    said: Mutex<Vec<Said>>,
    /// The member ends: whatever is revoked is given up at once.
    is_closing: AtomicBool,
}

/// One thing that the client said.
pub(super) enum Said {
    Assign(TopicPartitionList),
    Revoke { list: TopicPartitionList, is_lost: bool },
}

impl Voice {
    /// What was said since the last call, in order.
    pub(super) fn take(&self) -> Vec<Said> {
        std::mem::take(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    fn say(&self, said: Said) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(said);
    }
}

impl ClientContext for Voice {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("kafka member: {error}: {reason}");
    }
}

impl ConsumerContext for Voice {
    /// Notes what is wanted and returns: the group waits until the member has answered by an assign or unassign.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.is_closing.load(Ordering::Acquire) {
            let answered = match code {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => consumer.incremental_assign(list),
                _ => consumer.incremental_unassign(list),
            };
            // Where the client has given them up by itself there is nothing left to give up.
            return drop(answered);
        }
        self.say(match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Said::Assign(list.clone()),
            _ => Said::Revoke { list: list.clone(), is_lost: consumer.assignment_lost() },
        });
    }
}

/// Joins the group of a request, under the protocol of KIP-848 or the classic one.
pub(super) fn join(
    config: &KafkaConfig,
    request: &SourceRequest,
    is_classic: bool,
    bell: &Arc<Bell>,
) -> Result<Arc<Consumer>> {
    let mut client = config.client(&request.member);
    let mut unless_set = |name: &str, value: &str| {
        if !config.properties.contains_key(name) {
            client.set(name, value);
        }
    };
    // A fetch that waits keeps a partition waiting that was assigned meanwhile.
    unless_set("fetch.wait.max.ms", "20");
    let ahead = (FETCH_AHEAD_KBYTES / request.topic.spec.partitions.max(1)).clamp(1_024, 16 * 1_024);
    client
        .set("group.id", groups::id(&request.group, &request.topic.name))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.error.backoff.ms", "50")
        .set("queued.min.messages", "20000")
        .set("queued.max.messages.kbytes", ahead.to_string())
        .set("max.poll.interval.ms", POLL_INTERVAL_MAX.as_millis().to_string());
    if is_classic {
        client
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", classic_session(request.lease).as_millis().to_string())
            .set("heartbeat.interval.ms", (classic_session(request.lease) / 6).as_millis().to_string());
    } else {
        client.set("group.protocol", "consumer");
    }
    let voice = Voice { said: Mutex::default(), is_closing: AtomicBool::new(false) };
    let mut consumer: Consumer = create(&client, |client| client.create_with_context(voice))?;
    let ring = Arc::clone(bell);
    consumer.set_nonempty_callback(move || ring.ring());
    consumer.subscribe(&[request.topic.name.as_str()]).map_err(|failed| error::of(&failed))?;
    Ok(Arc::new(consumer))
}

/// A client that joins no group.
#[cfg(test)]
pub(super) fn without_group(bootstrap: &str) -> Arc<Consumer> {
    let voice = Voice { said: Mutex::default(), is_closing: AtomicBool::new(false) };
    let mut client = rdkafka::ClientConfig::new();
    client.set("bootstrap.servers", bootstrap).set("group.id", "none").set("auto.offset.reset", "error");
    Arc::new(client.create_with_context(voice).expect("a client"))
}

/// Reads these partitions from now on, each from its offset.
pub(super) fn take(consumer: &Consumer, topic: &TopicName, places: &[(Partition, Offset)]) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in places {
        list.add_partition_offset(topic.as_str(), partition.0 as i32, KafkaOffset::Offset(offset.0 as i64))?;
    }
    consumer.incremental_assign(&list)
}

/// Does not read these partitions any more.
pub(super) fn give_up(consumer: &Consumer, topic: &TopicName, partitions: &[Partition]) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic.as_str(), partition.0 as i32);
    }
    consumer.incremental_unassign(&list)
}
