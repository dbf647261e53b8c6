//! Topics as streams: made, changed, found and deleted.
//!
//! The spec lives in the streams' metadata. Stream 0 is made last and deleted first: a topic exists when it does.

use std::time::Duration;

use busline_core::{
    Error, ErrorKind, Offset, Partition, Result, Retention, TopicInfo, TopicName, TopicSpec, colliding_name,
    partition_not_found, topic_exists, topic_not_found,
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::admin::Admin;
use crate::error::{code, from_api};
use crate::names;
use crate::records::KeyIn;

/// Window in which the server knows a message id again: longer than any resend takes that relies on it.
pub(crate) const DUPLICATE_WINDOW: Duration = Duration::from_secs(30);

const TOPIC: &str = "busline_topic";
const SPEC: &str = "busline_spec";
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

/// Makes the streams of a topic.
pub(crate) async fn create(
    admin: &Admin,
    features: StreamFeatures,
    name: &TopicName,
    spec: &TopicSpec,
) -> Result<TopicInfo> {
    spec.validate()?;
    check_retention(spec)?;
    refuse_taken(admin, name).await?;
    let info = TopicInfo { name: name.clone(), spec: spec.clone(), incarnation: Uuid::from_bytes(rand::random()) };
    if let Err(error) = make_streams(admin, features, &info).await {
        unmake(admin, &info).await;
        return Err(error);
    }
    Ok(info)
}

async fn make_streams(admin: &Admin, features: StreamFeatures, info: &TopicInfo) -> Result<()> {
    let TopicInfo { name, spec, .. } = info;
    for number in (0..spec.streams).rev() {
        let config = config(info, number, features)?;
        let stream = names::stream(name, spec.streams, number);
        match admin.ask::<StreamInfo>(&format!("STREAM.CREATE.{stream}"), &config).await? {
            Ok(_) => {}
            // Somebody else was quicker, or a stream of another program has the name.
            Err(error) if error.err_code == code::STREAM_NAME_IN_USE => {
                refuse_taken(admin, name).await?;
                return Err(from_api(&error));
            }
            Err(error) => return Err(from_api(&error)),
        }
    }
    Ok(())
}

/// Deletes the streams that were made of a topic which does not come to exist: they would be in the way of the next try.
async fn unmake(admin: &Admin, info: &TopicInfo) {
    for number in 0..info.spec.streams {
        let stream = names::stream(&info.name, info.spec.streams, number);
        let found = stream_info(admin, &stream).await.ok().flatten();
        let is_ours = found.is_some_and(|found| {
            found.config.metadata.get(INCARNATION).is_some_and(|found| *found == info.incarnation.to_string())
        });
        if is_ours && let Err(error) = admin.demand::<Value>(&format!("STREAM.DELETE.{stream}"), &Value::Null).await {
            tracing::warn!("{}", error.at("delete what was made of a topic", &info.name));
        }
    }
}

async fn refuse_taken(admin: &Admin, name: &TopicName) -> Result<()> {
    let form = name.collision_form();
    for found in list(admin).await? {
        if found.name == *name {
            return Err(topic_exists(name));
        }
        if found.name.collision_form() == form {
            return Err(colliding_name(name, &found.name));
        }
    }
    Ok(())
}

fn check_retention(spec: &TopicSpec) -> Result<()> {
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
fn config(info: &TopicInfo, number: u32, features: StreamFeatures) -> Result<Value> {
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
        "duplicate_window": nanos(age_max.map_or(DUPLICATE_WINDOW, |age| age.min(DUPLICATE_WINDOW))),
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
    match admin.ask::<StreamInfo>(&format!("STREAM.INFO.{stream}"), &Value::Null).await? {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.err_code == code::STREAM_NOT_FOUND => Ok(None),
        Err(error) => Err(from_api(&error)),
    }
}

/// The topic that this stream is the first of; `None` for streams of others and for further streams of a topic.
fn topic_of(config: &StreamConfig) -> Result<Option<TopicInfo>> {
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
    #[derive(Deserialize)]
    struct Page {
        total: usize,
        #[serde(default)]
        streams: Option<Vec<StreamInfo>>,
    }
    let mut topics = Vec::new();
    let mut offset = 0;
    loop {
        let page: Page = admin.demand("STREAM.LIST", &json!({ "offset": offset })).await?;
        let streams = page.streams.unwrap_or_default();
        offset += streams.len();
        let end = streams.is_empty() || offset >= page.total;
        for stream in streams {
            topics.extend(topic_of(&stream.config)?);
        }
        if end {
            topics.sort_by(|a, b| a.name.cmp(&b.name));
            topics.dedup_by(|a, b| a.name == b.name);
            return Ok(topics);
        }
    }
}

/// Deletes the streams of a topic.
pub(crate) async fn delete(admin: &Admin, name: &TopicName) -> Result<()> {
    let found = info(admin, name).await?;
    for number in 0..found.spec.streams {
        let stream = names::stream(name, found.spec.streams, number);
        match admin.ask::<Value>(&format!("STREAM.DELETE.{stream}"), &Value::Null).await? {
            Ok(_) => {}
            Err(error) if error.err_code == code::STREAM_NOT_FOUND => {}
            Err(error) => return Err(from_api(&error)),
        }
    }
    Ok(())
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
    admin.demand::<Value>(&format!("STREAM.PURGE.{}", place.stream), &question).await?;
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
        let stream = stream_info(admin, &self.stream).await?;
        let end = Offset(stream.map_or(0, |found| found.state.last_seq)).next();
        Ok(self.filled(admin).await?.unwrap_or(busline_core::Bounds { start: end, end }))
    }

    /// The bounds, unless it is empty.
    async fn filled(&self, admin: &Admin) -> Result<Option<busline_core::Bounds>> {
        let Some(first) = admin.first_from(&self.stream, &self.subject, 1).await? else { return Ok(None) };
        let last = admin.last(&self.stream, &self.subject).await?;
        Ok(last.map(|last| busline_core::Bounds { start: Offset(first.seq), end: Offset(last.seq).next() }))
    }
}
