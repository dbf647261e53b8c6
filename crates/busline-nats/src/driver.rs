//! The backend: connection, topics, bounded reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use busline_core::{
    AckPositions, Bounds, BoxFuture, Capabilities, Driver, Error, Gaps, GroupName, Integrity, Lag, Member, Offset,
    Partition, RECORD_BYTES_MAX, ReadRequest, Record, Result, Sink, SinkRequest, Source, SourceRequest, TopicInfo,
    TopicName, TopicSpec, bus_closed, no_runtime,
};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::admin::Admin;
use crate::auth::Auth;
use crate::config::{NatsConfig, Strategy};
use crate::dialer::Dialer;
use crate::home::Home;
use crate::link::Link;
use crate::server::Server;
use crate::sink::Tasks;
use crate::standing::Standing;
use crate::topics::Place;
use crate::{client, making, records, sink, tls, topics};

/// NATS JetStream as a backend.
#[derive(Debug)]
pub struct NatsDriver {
    config: NatsConfig,
    capabilities: Capabilities,
    server: Server,
    admin: Admin,
    dialer: Arc<Dialer>,
    /// A connection for bounded reads, kept from one to the next.
    reading: Mutex<Option<Link>>,
    sinks: Tasks,
    closed: AtomicBool,
    // Last, so that what runs on it goes first when a driver is dropped.
    home: Arc<Home>,
}

impl NatsDriver {
    /// Connects, and finds out what the server can.
    ///
    /// # Errors
    /// `Invalid/…` for settings, files and credentials; `NotFound/File`, `Denied/File`; `Denied/Credentials`,
    /// `Denied/Tls`; `Unavailable/Server`; `Unsupported/ServerVersion` below 2.12; `Unsupported/JetStream`;
    /// `Invalid/NoRuntime` outside a runtime.
    pub async fn open(config: NatsConfig) -> Result<Self> {
        let shown = format!("nats://{}", config.shown());
        open(config).await.map_err(|error| error.at("connect", shown))
    }

    /// The client library's own client, for what the bus does not offer.
    pub fn as_nats(&self) -> &async_nats::Client {
        self.admin.client()
    }

    /// What was found out at open about the server and what is used of it, for people: a name and a text each.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        self.server.facts(self.config.strategy)
    }

    pub(crate) fn admin(&self) -> Result<&Admin> {
        if self.closed.load(Ordering::Acquire) { Err(bus_closed()) } else { Ok(&self.admin) }
    }

    pub(crate) fn dialer(&self) -> Arc<Dialer> {
        Arc::clone(&self.dialer)
    }

    /// Whether the server can move a consumer, so that its tools can see the lag of groups on this topic.
    pub(crate) fn shows_lag(&self, topic: &TopicName) -> bool {
        self.server.features.fast && !topic.is_own()
    }

    pub(crate) fn home(&self) -> Arc<Home> {
        Arc::clone(&self.home)
    }

    async fn place(&self, topic: &TopicName, partition: Partition) -> Result<(&Admin, Place)> {
        let admin = self.admin()?;
        Ok((admin, Place::find(admin, topic, partition).await?))
    }

    /// Reads over the kept connection; one that breaks in the middle is replaced once.
    async fn read_piece(&self, topic: &TopicName, request: &ReadRequest) -> Result<Vec<Record>> {
        let (admin, place) = self.place(topic, request.partition).await?;
        if request.records_max == 0 || request.from >= request.to {
            return Ok(Vec::new());
        }
        let kept = self.reading.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut link) = kept
            && let Ok(read) = records::read(admin, &mut link, &place, request).await
        {
            self.keep(link);
            return Ok(read);
        }
        let mut link = self.dialer.dial().await?;
        let read = records::read(admin, &mut link, &place, request).await?;
        self.keep(link);
        Ok(read)
    }

    fn keep(&self, link: Link) {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.closed.load(Ordering::Acquire) {
            *reading = Some(link);
        }
    }

    async fn open_sink(&self, request: SinkRequest) -> Result<Arc<dyn Sink>> {
        let opened =
            sink::open(self.admin()?, &self.dialer, &self.server, self.config.strategy, request, &self.sinks).await?;
        // The driver may have been closed meanwhile, and has not seen this one.
        if let Err(closed) = self.admin() {
            opened.close(Instant::now()).await?;
            return Err(closed);
        }
        Ok(opened)
    }
}

async fn open(config: NatsConfig) -> Result<NatsDriver> {
    config.validate()?;
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| no_runtime())?;
    let files = config.clone();
    let load = runtime.spawn_blocking(move || Ok::<_, Error>((Auth::load(&files)?, tls::load(&files.tls)?)));
    let (auth, tls) = load.await.map_err(|_| bus_closed())??;
    let home = Arc::new(Home::start()?);
    let standing = Standing::default();
    let connecting = client::connect(config.clone(), auth.clone(), tls.clone(), standing.clone());
    let client = match home.run(connecting).await {
        Ok(client) => client,
        Err(error) => {
            home.close().await;
            return Err(error);
        }
    };
    let admin = Admin::new(client, standing, config.patience);
    let server = match Server::find_out(&admin, &config).await {
        Ok(server) => server,
        Err(error) => {
            home.close().await;
            return Err(error);
        }
    };
    let dialer =
        Arc::new(Dialer::new(config.servers.clone(), auth, Arc::new(tls), config.tls.required, config.connect_timeout));
    let capabilities = capabilities(&server, config.strategy);
    let (reading, sinks, closed) = (Mutex::new(None), Tasks::default(), AtomicBool::new(false));
    Ok(NatsDriver { config, capabilities, server, admin, dialer, reading, sinks, closed, home })
}

fn capabilities(server: &Server, strategy: Strategy) -> Capabilities {
    let fast = server.features.fast && strategy != Strategy::Pipelined;
    Capabilities {
        backend: "nats",
        ack_positions: if fast { AckPositions::Sometimes } else { AckPositions::Always },
        gaps: Gaps::Stream,
        deduplicate_max: None,
        integrity: Integrity::None,
        atomic_batch_max: if server.features.atomic { sink::ATOMIC_RECORDS_MAX } else { 0 },
        groups: true,
        persistent: true,
        record_bytes_max: RECORD_BYTES_MAX.min(server.payload_bytes_max.saturating_sub(PARKING_BYTES)),
    }
}

/// Room that a parked record needs for its diagnosis.
const PARKING_BYTES: usize = 16 * 1024;

impl Driver for NatsDriver {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn patience(&self) -> Duration {
        self.config.patience
    }

    fn create_topic<'a>(&'a self, name: &'a TopicName, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo>> {
        Box::pin(async move {
            let made = making::create(self.admin()?, self.server.features, name, spec).await;
            made.map_err(|error| error.at("create topic", name))
        })
    }

    fn update_topic<'a>(&'a self, name: &'a TopicName, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo>> {
        Box::pin(async move {
            let changed = topics::update(self.admin()?, self.server.features, name, spec).await;
            changed.map_err(|error| error.at("update topic", name))
        })
    }

    fn topic<'a>(&'a self, name: &'a TopicName) -> BoxFuture<'a, Result<TopicInfo>> {
        Box::pin(async move { topics::info(self.admin()?, name).await.map_err(|error| error.at("topic", name)) })
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>>> {
        Box::pin(async move { topics::list(self.admin()?).await.map_err(|error| error.at("list topics", "")) })
    }

    fn delete_topic<'a>(&'a self, name: &'a TopicName) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.delete_with_groups(name).await.map_err(|error| error.at("delete topic", name)) })
    }

    fn trim<'a>(&'a self, topic: &'a TopicName, partition: Partition, below: Offset) -> BoxFuture<'a, Result<Offset>> {
        Box::pin(async move {
            let trimmed = topics::trim(self.admin()?, topic, partition, below).await;
            trimmed.map_err(|error| error.at("trim", records::at(topic, partition)))
        })
    }

    fn sink(&self, request: SinkRequest) -> BoxFuture<'_, Result<Arc<dyn Sink>>> {
        Box::pin(self.open_sink(request))
    }

    fn source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Arc<dyn Source>>> {
        Box::pin(self.join(request))
    }

    fn read<'a>(&'a self, topic: &'a TopicName, request: ReadRequest) -> BoxFuture<'a, Result<Vec<Record>>> {
        Box::pin(async move {
            let read = self.read_piece(topic, &request).await;
            read.map_err(|error| error.at("read", records::at(topic, request.partition)))
        })
    }

    fn bounds<'a>(&'a self, topic: &'a TopicName, partition: Partition) -> BoxFuture<'a, Result<Bounds>> {
        Box::pin(async move {
            let (admin, place) = self.place(topic, partition).await?;
            place.bounds(admin).await.map_err(|error| error.at("bounds", records::at(topic, partition)))
        })
    }

    fn offset_at<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        time: Timestamp,
    ) -> BoxFuture<'a, Result<Offset>> {
        Box::pin(async move {
            let (admin, place) = self.place(topic, partition).await?;
            let found = records::offset_at(admin, &place, time).await;
            found.map_err(|error| error.at("offset at a time", records::at(topic, partition)))
        })
    }

    fn committed<'a>(
        &'a self,
        group: &'a GroupName,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<Option<Offset>>>> {
        Box::pin(self.group_committed(group, topic))
    }

    fn lag<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Lag>>> {
        Box::pin(self.group_lag(group, topic))
    }

    fn move_committed<'a>(
        &'a self,
        group: &'a GroupName,
        topic: &'a TopicName,
        to: &'a [(Partition, Offset)],
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.move_group(group, topic, to))
    }

    fn delete_group<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.forget_group(group, topic))
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<(GroupName, TopicName)>>> {
        Box::pin(self.all_groups())
    }

    fn members<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Member>>> {
        Box::pin(self.group_members(group, topic))
    }

    fn probe(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let asked = self.admin()?.demand::<serde_json::Value>("INFO", &serde_json::Value::Null).await;
            asked.map(drop).map_err(|error| error.at("probe", self.config.shown()))
        })
    }

    fn close(&self, _deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.closed.store(true, Ordering::Release);
        self.reading.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            self.home.close().await;
            self.sinks.end().await;
            Ok(())
        })
    }
}
