//! Topics as streams: changed, found and deleted.
//!
//! The spec lives in the streams' metadata. Stream 0 is made last and deleted first: a topic exists when it does.

use std::time::Duration;

use busline_core::{
    Error, ErrorKind, Offset, Partition, Result, Retention, TopicInfo, TopicName, TopicSpec, partition_not_found,
    topic_not_found,
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::admin::Admin;
use crate::error::{code, from_api};
use crate::names;
use crate::records::KeyIn;

/// Window in which the server knows a message id again, unless the topic keeps its records for a shorter time.
pub(crate) const DUPLICATE_WINDOW: Duration = Duration::from_secs(30);

const TOPIC: &str = "busline_topic";
pub(crate) const SPEC: &str = "busline_spec";
pub(crate) const INCARNATION: &str = "busline_incarnation";

/// What `STREAM.INFO` says that matters here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: StreamConfig,
    pub(crate) state: StreamState,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StreamConfig {
    pub(crate) name: String,
    pub(crate) storage: String,
    pub(crate) num_replicas: u8,
    pub(crate) persist_mode: Option<String>,
    pub(crate) allow_atomic: bool,
    pub(crate) allow_batched: bool,
    /// In nanoseconds.
    pub(crate) duplicate_window: u64,
    pub(crate) metadata: std::collections::HashMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StreamState {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// Positions between the first and the last that are gone.
    pub(crate) num_deleted: u64,
    /// Which ones, ascending; only if that was asked.
    pub(crate) deleted: Option<Vec<u64>>,
}

/// What the server can, as far as streams are configured by it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamFeatures {
    /// Atomic batches (server 2.12).
    pub(crate) atomic: bool,
    /// Fast ingest (server 2.14).
    pub(crate) fast: bool,
}

pub(crate) fn check_retention(spec: &TopicSpec) -> Result<()> {
    let unsupported = |cause: &str, next: &str| {
        Err(Error::new(ErrorKind::Unsupported, "Retention").cause(cause).next(next.to_owned()))
    };
    let Retention { age_max, bytes_max, records_max } = &spec.retention;
    if bytes_max.is_some() && spec.streams != spec.partitions {
        return unsupported(
            "NATS limits the bytes of a stream, not of a partition",
            "give each partition a stream of its own (streams = partitions), or limit records or age",
        );
    }
    if age_max.is_some_and(|age| age < Duration::from_millis(100)) {
        return unsupported("a stream's age limit is at least 100 ms", "keep records longer");
    }
    if [*bytes_max, *records_max].into_iter().flatten().any(|limit| limit == 0 || limit > i64::MAX as u64) {
        return unsupported("a limit of 0 means none on NATS", "use 1 or more, or no limit");
    }
    Ok(())
}

/// The configuration of the stream with this number.
pub(crate) fn config(info: &TopicInfo, number: u32, features: StreamFeatures) -> Result<Value> {
    let TopicInfo { name, spec, incarnation } = info;
    let Retention { age_max, bytes_max, records_max } = spec.retention;
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(i64::MAX as u64).min(i64::MAX as u64);
    let spec_text = serde_json::to_string(spec)
        .map_err(|error| Error::new(ErrorKind::Internal, "Json").because(error).next("report this"))?;
    let mut config = json!({
        "name": names::stream(name, spec.streams, number),
        "subjects": names::subjects(name, spec.partitions, spec.streams, number),
        "retention": "limits",
        "discard": "old",
        "storage": "file",
        "num_replicas": spec.replicas,
        "max_age": age_max.map_or(0, nanos),
        "max_bytes": bytes_max.map_or(-1, |bytes| bytes as i64),
        "max_msgs_per_subject": records_max.map_or(-1, |records| records as i64),
        "max_msgs": -1,
        "max_consumers": -1,
        "duplicate_window": nanos(duplicate_window(spec)),
        "allow_direct": true,
        "metadata": { TOPIC: name.as_str(), SPEC: spec_text, INCARNATION: incarnation.to_string() },
    });
    // Older servers refuse fields that they do not know.
    if features.atomic {
        config["allow_atomic"] = json!(true);
    }
    if features.fast {
        config["allow_batched"] = json!(true);
    }
    Ok(config)
}

/// The time for which the streams of a topic know a message's id. The server knows none for longer than it keeps records.
pub(crate) fn duplicate_window(spec: &TopicSpec) -> Duration {
    spec.retention.age_max.map_or(DUPLICATE_WINDOW, |age| age.min(DUPLICATE_WINDOW))
}

/// Changes the streams of a topic.
pub(crate) async fn update(
    admin: &Admin,
    features: StreamFeatures,
    name: &TopicName,
    spec: &TopicSpec,
) -> Result<TopicInfo> {
    spec.validate()?;
    let found = info(admin, name).await?;
    found.spec.check_update(spec)?;
    if found.spec.streams != spec.streams {
        return Err(Error::invalid("StreamCount")
            .cause(format!("the topic has {} streams, wanted {}", found.spec.streams, spec.streams))
            .next("copy the events to a new topic: another count would move partitions to other streams"));
    }
    check_retention(spec)?;
    // A server of 2.12 deletes what is beyond a limit that was lowered, not what is beyond a first one.
    let first_limit = found.spec.retention.records_max.is_none() && spec.retention.records_max.is_some();
    let in_two_steps = first_limit && !features.fast;
    let wanted = TopicInfo { spec: spec.clone(), ..found };
    for number in (0..spec.streams).rev() {
        let stream = names::stream(name, spec.streams, number);
        let config = config(&wanted, number, features)?;
        if in_two_steps {
            let mut wide = config.clone();
            wide["max_msgs_per_subject"] = json!(i64::MAX);
            admin.demand::<StreamInfo>(&format!("STREAM.UPDATE.{stream}"), &wide).await?;
        }
        admin.demand::<StreamInfo>(&format!("STREAM.UPDATE.{stream}"), &config).await?;
    }
    Ok(wanted)
}

/// The topic of this name.
pub(crate) async fn info(admin: &Admin, name: &TopicName) -> Result<TopicInfo> {
    // The name of stream 0 tells whether there are others, so both are looked for.
    for stream in [names::stream(name, 1, 0), names::stream(name, 2, 0)] {
        if let Some(found) = stream_info(admin, &stream).await?
            && let Some(info) = topic_of(&found.config)?
        {
            return Ok(info);
        }
    }
    Err(topic_not_found(name))
}

/// What a stream is; `None` if there is none of this name.
pub(crate) async fn stream_info(admin: &Admin, stream: &str) -> Result<Option<StreamInfo>> {
    match admin.ask_of::<StreamInfo>(stream, "INFO", &Value::Null).await? {
        Ok(found) => {
            admin.note_shown(stream);
            Ok(Some(found))
        }
        Err(error) if error.err_code == code::STREAM_NOT_FOUND => Ok(None),
        Err(error) => Err(from_api(&error)),
    }
}

/// The topic that this stream is the first of; `None` for streams of others and for further streams of a topic.
pub(crate) fn topic_of(config: &StreamConfig) -> Result<Option<TopicInfo>> {
    let (Some(name), Some(spec), Some(incarnation)) =
        (config.metadata.get(TOPIC), config.metadata.get(SPEC), config.metadata.get(INCARNATION))
    else {
        return Ok(None);
    };
    let damaged = |what: &str| {
        Error::new(ErrorKind::Corrupt, "Metadata")
            .cause(format!("the {what} of stream {} cannot be read", config.name))
            .next("restore the stream's metadata")
    };
    let name = TopicName::stored(name)?;
    let spec: TopicSpec = serde_json::from_str(spec).map_err(|error| damaged("spec").because(error))?;
    let incarnation = Uuid::parse_str(incarnation).map_err(|error| damaged("incarnation").because(error))?;
    if config.name != names::stream(&name, spec.streams, 0) {
        return Ok(None);
    }
    Ok(Some(TopicInfo { name, spec, incarnation }))
}

/// All topics, by name.
pub(crate) async fn list(admin: &Admin) -> Result<Vec<TopicInfo>> {
    let mut topics = Vec::new();
    for stream in streams(admin).await? {
        topics.extend(topic_of(&stream.config)?);
    }
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    topics.dedup_by(|a, b| a.name == b.name);
    Ok(topics)
}

/// The streams that say that they are of this topic, by name, also where its first one is missing.
pub(crate) async fn streams_of(admin: &Admin, name: &TopicName) -> Result<Vec<StreamInfo>> {
    let mut found = streams(admin).await?;
    found.retain(|stream| stream.config.metadata.get(TOPIC).is_some_and(|of| of == name.as_str()));
    found.sort_by(|a, b| a.config.name.cmp(&b.config.name));
    found.dedup_by(|a, b| a.config.name == b.config.name);
    Ok(found)
}

/// All streams of the account.
async fn streams(admin: &Admin) -> Result<Vec<StreamInfo>> {
    #[derive(Deserialize)]
    struct Page {
        total: usize,
        #[serde(default)]
        streams: Option<Vec<StreamInfo>>,
    }
    let mut found = Vec::new();
    loop {
        let page: Page = admin.demand("STREAM.LIST", &json!({ "offset": found.len() })).await?;
        let streams = page.streams.unwrap_or_default();
        let is_last = streams.is_empty() || found.len() + streams.len() >= page.total;
        found.extend(streams);
        if is_last {
            return Ok(found);
        }
    }
}

/// Deletes the streams of a topic, or what is left of one whose first stream is gone.
pub(crate) async fn delete(admin: &Admin, name: &TopicName) -> Result<()> {
    let streams = match info(admin, name).await {
        Ok(found) => (0..found.spec.streams).map(|number| names::stream(name, found.spec.streams, number)).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => left_of(admin, name).await?.ok_or(error)?,
        Err(error) => return Err(error),
    };
    for stream in streams {
        admin.note_deleted(&stream);
        match admin.ask::<Value>(&format!("STREAM.DELETE.{stream}"), &Value::Null).await? {
            Ok(_) => {}
            Err(error) if error.err_code == code::STREAM_NOT_FOUND => {}
            Err(error) => return Err(from_api(&error)),
        }
    }
    Ok(())
}

/// The names of what is left of a topic; `None` if nothing is.
async fn left_of(admin: &Admin, name: &TopicName) -> Result<Option<Vec<String>>> {
    let left: Vec<String> = streams_of(admin, name).await?.into_iter().map(|stream| stream.config.name).collect();
    Ok(if left.is_empty() { None } else { Some(left) })
}

/// # Errors
/// `NotFound/Topic` if neither the topic is there nor anything that is left of it.
pub(crate) async fn check_there(admin: &Admin, name: &TopicName) -> Result<()> {
    match info(admin, name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => left_of(admin, name).await?.map(drop).ok_or(error),
        found => found.map(drop),
    }
}

/// Deletes the records of a partition below this offset.
pub(crate) async fn trim(admin: &Admin, name: &TopicName, partition: Partition, below: Offset) -> Result<Offset> {
    let place = Place::find(admin, name, partition).await?;
    let bounds = place.bounds(admin).await?;
    let below = below.min(bounds.end);
    if below <= bounds.start {
        return Ok(bounds.start);
    }
    let question = json!({ "filter": place.subject, "seq": below.0 });
    admin.ask_of::<Value>(&place.stream, "PURGE", &question).await?.map_err(|error| from_api(&error))?;
    Ok(place.bounds(admin).await?.start)
}

/// Where a partition lies.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) stream: String,
    pub(crate) subject: String,
    pub(crate) partition: Partition,
    pub(crate) key_in: KeyIn,
}

impl Place {
    /// # Errors
    /// `NotFound/Topic`, `NotFound/Partition`.
    pub(crate) async fn find(admin: &Admin, name: &TopicName, partition: Partition) -> Result<Self> {
        let info = info(admin, name).await?;
        if partition.0 >= info.spec.partitions {
            return Err(partition_not_found(name, partition));
        }
        Ok(Self::of(&info, partition))
    }

    pub(crate) fn of(info: &TopicInfo, partition: Partition) -> Self {
        Self {
            stream: names::stream_of(info, partition),
            subject: names::subject(&info.name, partition),
            partition,
            key_in: KeyIn::of(&info.name),
        }
    }

    /// What the partition holds, as its leader says.
    pub(crate) async fn bounds(&self, admin: &Admin) -> Result<busline_core::Bounds> {
        if let Some(bounds) = self.filled(admin).await? {
            return Ok(bounds);
        }
        // The end of the stream is read before the partition is looked at once more: were it read afterwards, a record
        // that has come in between would lie below it, and a group that begins there would never see it.
        let end = self.stream_end(admin).await?;
        Ok(self.filled(admin).await?.unwrap_or(busline_core::Bounds { start: end, end }))
    }

    /// One behind the last offset that its stream has given to any partition.
    pub(crate) async fn stream_end(&self, admin: &Admin) -> Result<Offset> {
        let stream = stream_info(admin, &self.stream).await?;
        Ok(Offset(stream.map_or(0, |found| found.state.last_seq)).next())
    }

    /// The bounds, unless it is empty.
    async fn filled(&self, admin: &Admin) -> Result<Option<busline_core::Bounds>> {
        let Some(first) = admin.first_from(&self.stream, &self.subject, 1).await? else { return Ok(None) };
        let last = admin.last(&self.stream, &self.subject).await?;
        Ok(last.map(|last| busline_core::Bounds { start: Offset(first.seq), end: Offset(last.seq).next() }))
    }
}
