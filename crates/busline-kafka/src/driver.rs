//! The backend: what the bus asks of the brokers.

use std::sync::Arc;
use std::time::Duration;

use busline_core::{
    AckPositions, Bounds, BoxFuture, Capabilities, Driver, Error, ErrorKind, Gaps, GroupName, Integrity, Lag, Member,
    Offset, Partition, RECORD_BYTES_MAX, ReadRequest, Record, Result, Sink, SinkRequest, Source, SourceRequest,
    TopicInfo, TopicName, TopicSpec, blocking,
};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::clients::Clients;
use crate::config::KafkaConfig;
use crate::sink::{KafkaSink, SinkTopic};
use crate::{deletion, error, facts, groups, identity, native, topics};

/// The backend on a cluster of Kafka brokers.
#[derive(Debug)]
pub struct KafkaDriver {
    capabilities: Capabilities,
    clients: Arc<Clients>,
}

impl KafkaDriver {
    /// Connects, and waits until a broker has answered.
    ///
    /// # Errors
    /// `Invalid/…` for settings; `Unsupported/Feature`; `Unavailable/Connection`, `Unavailable/NoAnswer` if no broker
    /// answers within [`KafkaConfig::patience`]; `Denied/Authentication`; `Invalid/NoRuntime` outside a runtime.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn open(config: KafkaConfig) -> Result<Self> {
        let shown = config.servers.join(",");
        let opened = blocking(move || {
            config.validate()?;
            let clients = Clients::new(config)?;
            probe(&clients)?;
            Ok(clients)
        });
        let clients = opened.await.map_err(|error| error.at("connect", format!("kafka://{shown}")))?;
        let capabilities = Capabilities {
            backend: "kafka",
            ack_positions: AckPositions::Sometimes,
            gaps: Gaps::None,
            deduplicate_max: None,
            integrity: Integrity::Batch,
            atomic_batch_max: 0,
            groups: true,
            persistent: true,
            record_bytes_max: RECORD_BYTES_MAX,
        };
        Ok(Self { capabilities, clients: Arc::new(clients) })
    }

    /// What brokers and topics attest: version, group protocol, the durability of each topic and why, and what is near a
    /// limit; each a name and a text. Asks them now, and says what it could not learn.
    ///
    /// # Cancel safety
    /// Changes nothing.
    pub async fn facts(&self) -> Vec<(&'static str, String)> {
        let asked = self.ask(|clients| Ok(facts::ask(clients))).await;
        asked.unwrap_or_else(|error| vec![("brokers", format!("not known: {error}"))])
    }

    /// Runs what waits for the brokers on a thread for it.
    fn ask<'a, T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Clients) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'a, Result<T>> {
        let clients = Arc::clone(&self.clients);
        Box::pin(blocking(move || ask(&clients)))
    }
}

/// First wait for an answer; each further one is twice as long. Between them a refusal is noticed.
const PROBE: Duration = Duration::from_secs(1);

fn probe(clients: &Clients) -> Result<()> {
    let until = Instant::now() + clients.patience();
    let (admin, native, mut wait) = (clients.admin()?, clients.native()?, PROBE);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let answered = admin.inner().fetch_metadata(Some("busline-probe"), wait.min(left));
        let Err(failed) = answered.map_err(|error| error::of(&error)) else { return Ok(()) };
        if let Some(denied) = native::denied(&native) {
            return Err(denied);
        }
        if wait >= left || !error::is_transient(&failed) {
            return Err(failed);
        }
        wait *= 2;
    }
}

/// Opens a sink on a topic that is still the one asked for.
fn open_sink(clients: &Arc<Clients>, request: &SinkRequest) -> Result<KafkaSink> {
    let name = &request.topic.name;
    if request.deduplicate.is_some() {
        return Err(Error::new(ErrorKind::Unsupported, "Deduplicate")
            .cause("Kafka knows a producer's own resends only")
            .next("deduplicate where the events are handled"));
    }
    let topic = topics::topic(clients, name)?;
    if topic.info.incarnation != request.topic.incarnation {
        return Err(identity::replaced());
    }
    let ends = clients.readers.ends(clients, name, topic.info.spec.partitions)?;
    KafkaSink::open(Arc::clone(clients), SinkTopic::new(topic, request.positions), ends)
}

impl Driver for KafkaDriver {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn patience(&self) -> Duration {
        self.clients.patience()
    }

    fn create_topic<'a>(&'a self, name: &'a TopicName, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo>> {
        let (name, spec) = (name.clone(), spec.clone());
        self.ask(move |clients| topics::create(clients, &name, &spec))
    }

    fn update_topic<'a>(&'a self, name: &'a TopicName, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo>> {
        let (name, spec) = (name.clone(), spec.clone());
        self.ask(move |clients| topics::update(clients, &name, &spec))
    }

    fn topic<'a>(&'a self, name: &'a TopicName) -> BoxFuture<'a, Result<TopicInfo>> {
        let name = name.clone();
        self.ask(move |clients| topics::topic(clients, &name).map(|topic| topic.info))
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>>> {
        self.ask(topics::infos)
    }

    fn delete_topic<'a>(&'a self, name: &'a TopicName) -> BoxFuture<'a, Result<()>> {
        let name = name.clone();
        self.ask(move |clients| deletion::delete(clients, &name))
    }

    fn trim<'a>(&'a self, topic: &'a TopicName, partition: Partition, below: Offset) -> BoxFuture<'a, Result<Offset>> {
        let topic = topic.clone();
        self.ask(move |clients| topics::trim(clients, &topic, partition, below))
    }

    fn sink(&self, request: SinkRequest) -> BoxFuture<'_, Result<Arc<dyn Sink>>> {
        let clients = Arc::clone(&self.clients);
        Box::pin(async move {
            let sink = blocking(move || {
                open_sink(&clients, &request).map_err(|error| error.at("open publisher", &request.topic.name))
            });
            Ok(Arc::new(sink.await?) as Arc<dyn Sink>)
        })
    }

    fn source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Arc<dyn Source>>> {
        let clients = Arc::clone(&self.clients);
        Box::pin(async move {
            let source = blocking(move || crate::source::KafkaSource::join(&clients, request));
            Ok(Arc::new(source.await?) as Arc<dyn Source>)
        })
    }

    fn read<'a>(&'a self, topic: &'a TopicName, request: ReadRequest) -> BoxFuture<'a, Result<Vec<Record>>> {
        let topic = topic.clone();
        self.ask(move |clients| clients.readers.read(clients, &topic, &request))
    }

    fn bounds<'a>(&'a self, topic: &'a TopicName, partition: Partition) -> BoxFuture<'a, Result<Bounds>> {
        let topic = topic.clone();
        self.ask(move |clients| clients.readers.bounds(clients, &topic, partition))
    }

    fn offset_at<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        time: Timestamp,
    ) -> BoxFuture<'a, Result<Offset>> {
        let topic = topic.clone();
        self.ask(move |clients| clients.readers.offset_at(clients, &topic, partition, time))
    }

    fn committed<'a>(
        &'a self,
        group: &'a GroupName,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<Option<Offset>>>> {
        let (group, topic) = (group.clone(), topic.clone());
        self.ask(move |clients| groups::committed(clients, &group, &topic))
    }

    fn lag<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Lag>>> {
        let (group, topic) = (group.clone(), topic.clone());
        self.ask(move |clients| groups::lag(clients, &group, &topic))
    }

    fn move_committed<'a>(
        &'a self,
        group: &'a GroupName,
        topic: &'a TopicName,
        to: &'a [(Partition, Offset)],
    ) -> BoxFuture<'a, Result<()>> {
        let (group, topic, to) = (group.clone(), topic.clone(), to.to_vec());
        self.ask(move |clients| groups::move_committed(clients, &group, &topic, &to))
    }

    fn delete_group<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<()>> {
        let (group, topic) = (group.clone(), topic.clone());
        self.ask(move |clients| groups::delete(clients, &group, &topic))
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<(GroupName, TopicName)>>> {
        self.ask(groups::all)
    }

    fn members<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Member>>> {
        let (group, topic) = (group.clone(), topic.clone());
        self.ask(move |clients| groups::members(clients, &group, &topic))
    }

    fn probe(&self) -> BoxFuture<'_, Result<()>> {
        self.ask(|clients| probe(clients).map_err(|error| error.at("probe", "kafka")))
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.ask(move |clients| {
            clients.close(deadline.into_std());
            Ok(())
        })
    }
}
