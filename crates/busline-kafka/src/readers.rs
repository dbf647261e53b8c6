//! Bounded reads without a group, by a few consumers that are kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use busline_core::{
    Bounds, Error, ErrorKind, Offset, Partition, ReadRequest, Record, Result, TopicName, bus_closed,
    partition_not_found,
};
use jiff::Timestamp;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use uuid::Uuid;

use crate::clients::{Clients, Logging, create};
use crate::native::Described;
use crate::{error, records, topics};

/// Consumers kept at most; further reads wait for one.
const READERS_MAX: usize = 4;

/// The pool of consumers.
pub(crate) struct Readers {
    config: ClientConfig,
    pool: Mutex<Pool>,
    returned: Condvar,
    /// The readable end of partitions, with the stable end that it was found for.
    ends: Mutex<HashMap<(Uuid, Partition), (Offset, Offset)>>,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Reader>,
    lent: usize,
    closed: bool,
}

/// One consumer, and what it reads next if it is read on.
struct Reader {
    consumer: BaseConsumer<Logging>,
    at: Option<(Uuid, Partition, u64)>,
}

impl Readers {
    pub(crate) fn new(mut config: ClientConfig) -> Self {
        config
            // A client may be told what to read only if it has a group; this one is never joined and commits nothing.
            .set("group.id", "busline-readers")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", "5")
            .set("fetch.queue.backoff.ms", "1")
            .set("fetch.error.backoff.ms", "20")
            // What is read ahead of a reader that nobody reads on.
            .set("queued.min.messages", "2000")
            .set("queued.max.messages.kbytes", "2048");
        Self { config, pool: Mutex::default(), returned: Condvar::new(), ends: Mutex::default() }
    }

    /// Records of one partition, as [`Driver::read`](busline_core::Driver::read) gives them.
    pub(crate) fn read(&self, clients: &Clients, topic: &TopicName, request: &ReadRequest) -> Result<Vec<Record>> {
        let described = topics::check_partition(clients, topic, request.partition)?;
        self.between_watermarks(clients, topic, request.partition, |(low, high)| {
            let (from, to) = (request.from.max(low), request.to.min(high));
            if from >= to || request.records_max == 0 {
                return Ok(Vec::new());
            }
            self.read_within(clients, topic, &described, &ReadRequest { from, to, ..*request })
        })
    }

    /// Reads between the first offset of a partition and its stable end, and again where a deletion has overtaken that.
    fn between_watermarks<T>(
        &self,
        clients: &Clients,
        topic: &TopicName,
        partition: Partition,
        read: impl Fn((Offset, Offset)) -> Result<T>,
    ) -> Result<T> {
        let mut found = self.watermarks(clients, topic, partition)?;
        loop {
            match read(found) {
                Err(error) if error::is_out_of_range(&error) => {
                    let before = std::mem::replace(&mut found, self.watermarks(clients, topic, partition)?);
                    if found.0 <= before.0 {
                        return Err(error);
                    }
                }
                read => return read,
            }
        }
    }

    /// Records of a range that the partition has.
    ///
    /// A broker that does not know the partition, though the topic is there, has not heard of it yet, or the client has not:
    /// it is asked again.
    fn read_within(
        &self,
        clients: &Clients,
        topic: &TopicName,
        described: &Described,
        request: &ReadRequest,
    ) -> Result<Vec<Record>> {
        let place = (described.id, request.partition, request.from.0);
        let is_unknown = |error: &Error| error.kind() == ErrorKind::NotFound;
        let is_there = || topics::describe(clients, topic).is_ok_and(|found| found.id == described.id);
        clients.while_it_passes(
            |error| is_unknown(error) && is_there(),
            || {
                self.with(Some(place), |reader| {
                    let read = reader.read(topic, described, request, clients.patience());
                    if read.as_ref().is_err_and(is_unknown) {
                        drop(reader.consumer.fetch_metadata(Some(topic.as_str()), clients.patience()));
                    }
                    read
                })
            },
        )
    }

    /// What a partition holds: from its start to one after its last readable record.
    pub(crate) fn bounds(&self, clients: &Clients, topic: &TopicName, partition: Partition) -> Result<Bounds> {
        let described = topics::check_partition(clients, topic, partition)?;
        self.bounds_of(clients, topic, &described, partition)
    }

    /// The bounds of a partition that exists.
    pub(crate) fn bounds_of(
        &self,
        clients: &Clients,
        topic: &TopicName,
        described: &Described,
        partition: Partition,
    ) -> Result<Bounds> {
        let place = (described.id, partition);
        self.between_watermarks(clients, topic, partition, |(start, stable)| {
            let known = self.lock_ends().get(&place).copied();
            let end = match known {
                Some((of, end)) if of == stable => end,
                _ => {
                    let end = self.readable_end(clients, topic, described, partition, (start, stable))?;
                    self.lock_ends().insert(place, (stable, end));
                    end
                }
            };
            Ok(Bounds { start, end: end.max(start) })
        })
    }

    /// One after the last record before the stable end: markers of transactions occupy offsets behind it.
    fn readable_end(
        &self,
        clients: &Clients,
        topic: &TopicName,
        described: &Described,
        partition: Partition,
        (start, stable): (Offset, Offset),
    ) -> Result<Offset> {
        let mut step = 1;
        let mut to = stable;
        while to > start {
            let from = Offset(to.0.saturating_sub(step)).max(start);
            let request = ReadRequest { partition, from, to, records_max: step as usize, bytes_max: usize::MAX };
            let found = self.read_within(clients, topic, described, &request)?;
            if let Some(last) = found.last() {
                return Ok(last.offset.next());
            }
            to = from;
            step = (step * 2).min(10_000);
        }
        Ok(start)
    }

    /// The first offset of a partition and its stable end.
    pub(crate) fn watermarks(
        &self,
        clients: &Clients,
        topic: &TopicName,
        partition: Partition,
    ) -> Result<(Offset, Offset)> {
        self.asked(clients, topic, |consumer| {
            let found = consumer.fetch_watermarks(topic.as_str(), partition.0 as i32, clients.patience());
            let (low, high) = found.map_err(|error| error::of(&error).at("bounds", topic))?;
            Ok((Offset(low.max(0) as u64), Offset(high.max(0) as u64)))
        })
    }

    /// The end of each partition, in order, all of them asked for at once.
    pub(crate) fn ends(&self, clients: &Clients, topic: &TopicName, partitions: u32) -> Result<Vec<Offset>> {
        self.extremes(clients, topic, 0..partitions, KafkaOffset::End)
    }

    /// The first or the last offset of these partitions.
    pub(crate) fn extremes(
        &self,
        clients: &Clients,
        topic: &TopicName,
        partitions: impl IntoIterator<Item = u32> + Clone,
        extreme: KafkaOffset,
    ) -> Result<Vec<Offset>> {
        self.asked(clients, topic, |consumer| {
            // In place of a time these two ask for the ends of the log.
            let mut list = TopicPartitionList::new();
            for partition in partitions.clone() {
                list.add_partition_offset(topic.as_str(), partition as i32, extreme)
                    .map_err(|error| error::of(&error))?;
            }
            let found = consumer.offsets_for_times(list, clients.patience());
            let found = found.map_err(|error| error::of(&error).at("bounds", topic))?;
            let of = |partition: u32| {
                let element = found.find_partition(topic.as_str(), partition as i32);
                let element = element.ok_or_else(|| partition_not_found(topic, Partition(partition)))?;
                element.error().map_err(|error| error::of(&error).at("bounds", topic))?;
                Ok(Offset(element.offset().to_raw().and_then(|raw| u64::try_from(raw).ok()).unwrap_or_default()))
            };
            partitions.clone().into_iter().map(of).collect()
        })
    }

    /// The first offset stored at or after this time, or the end.
    pub(crate) fn offset_at(
        &self,
        clients: &Clients,
        topic: &TopicName,
        partition: Partition,
        time: Timestamp,
    ) -> Result<Offset> {
        let described = topics::check_partition(clients, topic, partition)?;
        // Times are stored in milliseconds, so the next whole one is the first that counts.
        let millis = time.as_millisecond() + i64::from(time.subsec_nanosecond() % 1_000_000 > 0);
        let found = self.asked(clients, topic, |consumer| {
            let mut list = TopicPartitionList::new();
            let at = KafkaOffset::Offset(millis.max(0));
            list.add_partition_offset(topic.as_str(), partition.0 as i32, at).map_err(|error| error::of(&error))?;
            let found = consumer.offsets_for_times(list, clients.patience());
            let found = found.map_err(|error| error::of(&error).at("offset at a time", topic))?;
            let element = found.find_partition(topic.as_str(), partition.0 as i32);
            element.as_ref().map_or(Ok(None), |element| {
                element.error().map_err(|error| error::of(&error).at("offset at a time", topic))?;
                Ok(element.offset().to_raw().and_then(|offset| u64::try_from(offset).ok()))
            })
        })?;
        let bounds = self.bounds_of(clients, topic, &described, partition)?;
        Ok(found.map_or(bounds.end, |offset| Offset(offset).min(bounds.end)))
    }

    /// Ends the idle consumers; those that are lent end when they come back.
    pub(crate) fn close(&self) {
        let mut pool = self.lock();
        pool.closed = true;
        let idle = std::mem::take(&mut pool.idle);
        drop(pool);
        drop(idle);
        self.returned.notify_all();
    }

    /// Asks a consumer about partitions of the topic.
    ///
    /// The client answers from what it has heard last: of a partition that had no leader then it says for minutes that there
    /// is none, or that it is not there. So it is asked again once it has heard anew.
    fn asked<T>(
        &self,
        clients: &Clients,
        topic: &TopicName,
        ask: impl Fn(&BaseConsumer<Logging>) -> Result<T>,
    ) -> Result<T> {
        clients.patiently_of(topic, || {
            self.with(None, |reader| match ask(&reader.consumer) {
                Err(error) if error::may_be_outdated(&error) => {
                    drop(reader.consumer.fetch_metadata(Some(topic.as_str()), clients.patience()));
                    ask(&reader.consumer)
                }
                answer => answer,
            })
        })
    }

    /// Lends a consumer, one that stands at this place if there is one.
    fn with<T>(&self, place: Option<(Uuid, Partition, u64)>, work: impl FnOnce(&mut Reader) -> Result<T>) -> Result<T> {
        let mut lent = Lent { readers: self, reader: Some(self.borrow(place)?) };
        let reader = lent.reader.as_mut().ok_or_else(bus_closed)?;
        work(reader)
    }

    fn borrow(&self, place: Option<(Uuid, Partition, u64)>) -> Result<Reader> {
        let mut pool = self.lock();
        loop {
            if pool.closed {
                return Err(bus_closed());
            }
            let fitting = pool.idle.iter().position(|reader| reader.at == place);
            if let Some(found) = fitting.or_else(|| pool.idle.len().checked_sub(1)) {
                pool.lent += 1;
                return Ok(pool.idle.swap_remove(found));
            }
            if pool.lent < READERS_MAX {
                pool.lent += 1;
                drop(pool);
                let made = create(&self.config, |config| config.create_with_context::<_, BaseConsumer<_>>(Logging));
                if made.is_err() {
                    self.lock().lent -= 1;
                }
                return Ok(Reader { consumer: made?, at: None });
            }
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, reader: Reader) {
        let mut pool = self.lock();
        pool.lent -= 1;
        if pool.closed {
            drop(pool);
            drop(reader);
        } else {
            pool.idle.push(reader);
        }
        self.returned.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_ends(&self) -> MutexGuard<'_, HashMap<(Uuid, Partition), (Offset, Offset)>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader that comes back to its pool, whatever happens.
struct Lent<'a> {
    readers: &'a Readers,
    reader: Option<Reader>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.readers.give_back(reader);
        }
    }
}

impl Reader {
    fn read(
        &mut self,
        topic: &TopicName,
        described: &Described,
        request: &ReadRequest,
        limit: Duration,
    ) -> Result<Vec<Record>> {
        let begin = (described.id, request.partition, request.from.0);
        if self.at.take() != Some(begin) {
            self.stand_at(topic, request.partition, request.from)?;
        }
        let read = self.read_on(topic, request, Instant::now() + limit);
        match &read {
            // Only where the caller is about to go on: a reader that stands at the end would ask the broker for ever.
            Ok((_, next)) if *next < request.to => self.at = Some((described.id, request.partition, next.0)),
            _ => self.consumer.unassign().map_err(|error| error::of(&error))?,
        }
        read.map(|(records, _)| records)
    }

    fn stand_at(&self, topic: &TopicName, partition: Partition, offset: Offset) -> Result<()> {
        let mut list = TopicPartitionList::new();
        let at = KafkaOffset::Offset(offset.0 as i64);
        list.add_partition_offset(topic.as_str(), partition.0 as i32, at).map_err(|error| error::of(&error))?;
        self.consumer.assign(&list).map_err(|error| error::of(&error))
    }

    /// Reads from where the consumer stands; gives where it stands then, or the range's end.
    fn read_on(&self, topic: &TopicName, request: &ReadRequest, until: Instant) -> Result<(Vec<Record>, Offset)> {
        let mut records = Vec::new();
        let mut room = request.bytes_max;
        loop {
            let wait = until.saturating_duration_since(Instant::now());
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let record = records::record(&message)?;
                    if record.offset >= request.to {
                        return Ok((records, request.to));
                    }
                    room = room.saturating_sub(record.bytes());
                    let next = record.offset.next();
                    records.push(record);
                    if next >= request.to || room == 0 || records.len() >= request.records_max {
                        return Ok((records, next));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok((records, request.to)),
                Some(Err(error)) => self.trouble(topic, request.partition, &error)?,
                None if Instant::now() >= until => return Err(no_answer().at("read", topic)),
                None => {}
            }
        }
    }

    /// An error of the fetching: some pass by themselves.
    fn trouble(&self, topic: &TopicName, partition: Partition, error: &KafkaError) -> Result<()> {
        let meaning = error::of(error).at("read", format!("{topic}/{partition}"));
        // Of its group it asks nothing, so it does not matter whether it would be allowed to.
        if error::is_transient(&meaning) || meaning.code() == "Denied/Group" { Ok(()) } else { Err(meaning) }
    }
}

fn no_answer() -> Error {
    Error::new(ErrorKind::Unavailable, "NoAnswer").cause("no records in time").next("check that the brokers run")
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("lent", &self.lock().lent).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::config::KafkaConfig;

    #[test]
    fn a_partition_without_a_leader_is_there_again_as_soon_as_it_has_one() {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        let topic = TopicName::new("orders").expect("legal");
        cluster.create_topic(topic.as_str(), 2, 1).expect("a topic");
        let lead = |broker| {
            for partition in 0..2 {
                cluster.partition_leader(topic.as_str(), partition, broker).expect("the mock changes its leaders");
            }
        };
        let mut config = KafkaConfig::new([cluster.bootstrap_servers()]);
        config.patience = Duration::from_millis(400);
        let clients = Clients::new(config).expect("clients");
        let readers = &clients.readers;
        lead(None);
        readers.ends(&clients, &topic, 2).expect_err("nobody leads");
        readers.watermarks(&clients, &topic, Partition(1)).expect_err("nobody leads");
        lead(Some(1));
        assert_eq!(readers.ends(&clients, &topic, 2).expect("the broker leads"), [Offset(0), Offset(0)]);
        let bounds = readers.watermarks(&clients, &topic, Partition(1)).expect("the broker leads");
        assert_eq!(bounds, (Offset(0), Offset(0)));
    }
}
