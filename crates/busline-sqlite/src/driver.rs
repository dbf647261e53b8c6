//! The backend: topics, bounded reads, and the committer's owner.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use busline_core::{
    AckPositions, Bounds, BoxFuture, Capabilities, Clock, Driver, Gaps, GroupName, Integrity, Lag, Member, Offset,
    Partition, RECORD_BYTES_MAX, ReadRequest, Record, Result, Sink, SinkRequest, Source, SourceRequest, SystemClock,
    TopicInfo, TopicName, TopicSpec, blocking, warn_deleted,
};
use jiff::Timestamp;
use rusqlite::Connection;

use crate::committer::Committer;
use crate::config::SqliteConfig;
use crate::connection::{absolute, open_writer};
use crate::group::Store;
use crate::identity::Identity;
use crate::readers::Readers;
use crate::retention::{self, Chunk, Lost};
use crate::sink::{SinkTopic, SqliteSink};
use crate::source::SqliteSource;
use crate::{groups, records, topics};

/// The embedded backend on one file.
#[derive(Debug)]
pub struct SqliteDriver {
    capabilities: Capabilities,
    // Before the committer, so that its connection is the last to close when a driver is dropped.
    readers: Arc<Readers>,
    committer: Arc<Committer>,
}

impl SqliteDriver {
    /// Opens the file, and makes it if it is missing.
    ///
    /// # Errors
    /// `Invalid/…` for settings and paths; `NotFound/Folder`; `Denied/Symlink`, `Denied/ReadOnly`, `Denied/File`;
    /// `Invalid/NotARegularFile`, `Invalid/NotABuslineFile`; `Unsupported/SchemaNewer`; `Corrupt/Store`;
    /// `Unsupported/NetworkFileSystem` and `Unsupported/NoWal` for where it lies; `Unavailable/Locked` if another program keeps
    /// it locked; `Invalid/NoRuntime` outside a runtime.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a new, empty file behind.
    pub async fn open(config: SqliteConfig) -> Result<Self> {
        Self::open_with_clock(config, Arc::new(SystemClock)).await
    }

    /// Opens the file with this clock, which stamps the records.
    ///
    /// # Errors
    /// As [`SqliteDriver::open`].
    ///
    /// # Cancel safety
    /// As [`SqliteDriver::open`].
    pub async fn open_with_clock(config: SqliteConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        let shown = config.path.display().to_string();
        let opened = blocking(move || open(config, clock)).await;
        opened.map_err(|error| error.at("open", format!("sqlite:{shown}")))
    }

    /// Runs a read on a connection of its own, off the async workers.
    fn read_with<'a, T: Send + 'static>(
        &self,
        read: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'a, Result<T>> {
        let readers = Arc::clone(&self.readers);
        Box::pin(blocking(move || readers.with(read)))
    }

    fn write_with<'a, T: Send + 'static>(
        &self,
        change: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'a, Result<T>> {
        let committer = Arc::clone(&self.committer);
        Box::pin(async move { committer.write(change).await })
    }
}

fn open(mut config: SqliteConfig, clock: Arc<dyn Clock>) -> Result<SqliteDriver> {
    config.validate()?;
    if config.vfs.is_none() {
        config.path = absolute(&config.path);
    }
    let connection = open_writer(&config)?;
    let identity = if config.vfs.is_none() { Some(Identity::of(&config.path)?) } else { None };
    let store = Store::new(config.clone(), connection, identity.clone(), clock)?;
    let committer = Arc::new(Committer::start(store)?);
    let capabilities = Capabilities {
        backend: "sqlite",
        ack_positions: AckPositions::Always,
        gaps: Gaps::Exact,
        deduplicate_max: None,
        integrity: Integrity::Record,
        atomic_batch_max: config.batch_records_max,
        groups: true,
        persistent: true,
        record_bytes_max: RECORD_BYTES_MAX,
    };
    Ok(SqliteDriver { capabilities, readers: Arc::new(Readers::new(config, identity)), committer })
}

impl Driver for SqliteDriver {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn patience(&self) -> Duration {
        self.readers.config().patience
    }

    fn create_topic<'a>(&'a self, name: &'a TopicName, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo>> {
        let (name, spec) = (name.clone(), spec.clone());
        self.write_with(move |connection| topics::create(connection, &name, &spec))
    }

    fn update_topic<'a>(&'a self, name: &'a TopicName, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo>> {
        let (name, spec) = (name.clone(), spec.clone());
        self.write_with(move |connection| topics::update(connection, &name, &spec))
    }

    fn topic<'a>(&'a self, name: &'a TopicName) -> BoxFuture<'a, Result<TopicInfo>> {
        let name = name.clone();
        self.read_with(move |connection| topics::info(connection, &name))
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>>> {
        self.read_with(topics::infos)
    }

    fn delete_topic<'a>(&'a self, name: &'a TopicName) -> BoxFuture<'a, Result<()>> {
        let name = name.clone();
        self.write_with(move |connection| topics::delete(connection, &name))
    }

    fn trim<'a>(&'a self, topic: &'a TopicName, partition: Partition, below: Offset) -> BoxFuture<'a, Result<Offset>> {
        Box::pin(async move {
            loop {
                let name = topic.clone();
                let chunk = move |connection: &Connection| retention::trim_chunk(connection, &name, partition, below);
                let Chunk { start, more, lost } = self.committer.write(chunk).await?;
                lost.iter().for_each(|Lost { topic, group, records }| warn_deleted(topic, group, *records));
                if !more {
                    return Ok(start);
                }
            }
        })
    }

    fn sink(&self, request: SinkRequest) -> BoxFuture<'_, Result<Arc<dyn Sink>>> {
        Box::pin(async move {
            let name = request.topic.name.clone();
            let partition_ids =
                self.read_with(move |connection| topics::partition_ids(connection, &request.topic)).await?;
            Ok(Arc::new(SqliteSink {
                committer: Arc::clone(&self.committer),
                topic: Arc::new(SinkTopic { name, partition_ids }),
                batch_records_max: self.readers.config().batch_records_max,
                batch_bytes_max: self.readers.config().batch_bytes_max,
                closed: AtomicBool::new(false),
            }) as Arc<dyn Sink>)
        })
    }

    fn source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Arc<dyn Source>>> {
        let (readers, committer) = (Arc::clone(&self.readers), Arc::clone(&self.committer));
        Box::pin(async move {
            let connection = blocking(move || readers.open()).await?;
            let source = SqliteSource::join(committer, connection, request).await?;
            Ok(Arc::new(source) as Arc<dyn Source>)
        })
    }

    fn read<'a>(&'a self, topic: &'a TopicName, request: ReadRequest) -> BoxFuture<'a, Result<Vec<Record>>> {
        let topic = topic.clone();
        self.read_with(move |connection| records::read(connection, &topic, &request))
    }

    fn bounds<'a>(&'a self, topic: &'a TopicName, partition: Partition) -> BoxFuture<'a, Result<Bounds>> {
        let topic = topic.clone();
        self.read_with(move |connection| topics::partition(connection, &topic, partition).map(|(_, bounds)| bounds))
    }

    fn offset_at<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        time: Timestamp,
    ) -> BoxFuture<'a, Result<Offset>> {
        let topic = topic.clone();
        self.read_with(move |connection| records::offset_at(connection, &topic, partition, time))
    }

    fn committed<'a>(
        &'a self,
        group: &'a GroupName,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<Option<Offset>>>> {
        let (group, topic) = (group.clone(), topic.clone());
        self.read_with(move |connection| groups::committed(connection, &group, &topic))
    }

    fn lag<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Lag>>> {
        let (group, topic) = (group.clone(), topic.clone());
        self.read_with(move |connection| groups::lag(connection, &group, &topic))
    }

    fn move_committed<'a>(
        &'a self,
        group: &'a GroupName,
        topic: &'a TopicName,
        to: &'a [(Partition, Offset)],
    ) -> BoxFuture<'a, Result<()>> {
        let (group, topic, to) = (group.clone(), topic.clone(), to.to_vec());
        self.write_with(move |connection| groups::move_committed(connection, &group, &topic, &to))
    }

    fn delete_group<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<()>> {
        let (group, topic) = (group.clone(), topic.clone());
        self.write_with(move |connection| groups::delete(connection, &group, &topic))
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<(GroupName, TopicName)>>> {
        self.read_with(groups::all)
    }

    fn members<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Member>>> {
        let (group, topic) = (group.clone(), topic.clone());
        self.read_with(move |connection| groups::members(connection, &group, &topic))
    }

    fn probe(&self) -> BoxFuture<'_, Result<()>> {
        self.read_with(|connection| topics::infos(connection).map(drop))
    }

    fn close(&self, _deadline: tokio::time::Instant) -> BoxFuture<'_, Result<()>> {
        let (committer, readers) = (Arc::clone(&self.committer), Arc::clone(&self.readers));
        Box::pin(blocking(move || {
            committer.check_process()?;
            readers.close();
            committer.stop();
            Ok(())
        }))
    }
}
