//! How a topic comes to be: stream by stream, the first one last, so that a topic is there whole or not at all.
//!
//! Several may make one topic at once, and one of them may die: whoever comes next goes on with what was begun.

use busline_core::{Error, ErrorKind, Result, TopicInfo, TopicName, TopicSpec, colliding_name, topic_exists};
use serde_json::Value;
use uuid::Uuid;

use crate::admin::Admin;
use crate::error::{code, from_api};
use crate::topics::{
    INCARNATION, SPEC, StreamFeatures, StreamInfo, check_retention, config, list, stream_info, streams_of, topic_of,
};
use crate::{names, topics};

/// Others that may be quicker.
const TRIES_MAX: usize = 3;

/// Makes the streams of a topic.
///
/// # Errors
/// `AlreadyExists/Topic`, `AlreadyExists/CollidingName`; `AlreadyExists/Stream` if a stream of another program has the
/// name, or one of a topic of this name that was begun otherwise or was not deleted to its end; `Unsupported/…`.
pub(crate) async fn create(
    admin: &Admin,
    features: StreamFeatures,
    name: &TopicName,
    spec: &TopicSpec,
) -> Result<TopicInfo> {
    spec.validate()?;
    check_retention(spec)?;
    let mut tries = 1..TRIES_MAX;
    loop {
        refuse_taken(admin, name).await?;
        let begun = begun(admin, name, spec).await?;
        let incarnation = begun.unwrap_or_else(|| Uuid::from_bytes(rand::random()));
        let info = TopicInfo { name: name.clone(), spec: spec.clone(), incarnation };
        match make_streams(admin, features, &info).await {
            Ok(()) => return Ok(info),
            // Somebody else has just begun it, too.
            Err(error) if error.code() == "AlreadyExists/Stream" && tries.next().is_some() => {}
            Err(error) => {
                unmake(admin, &info).await;
                return Err(error);
            }
        }
    }
}

/// The incarnation of a topic of this name that was begun and is not there yet: by somebody who died, or is at work still.
/// Both come to the same topic then.
///
/// # Errors
/// `AlreadyExists/Stream` if it was begun with another spec, or if something was ever stored in it: it is what is left of
/// a topic, and may be wanted.
async fn begun(admin: &Admin, name: &TopicName, spec: &TopicSpec) -> Result<Option<Uuid>> {
    let streams = streams_of(admin, name).await?;
    let Some(first) = streams.first() else { return Ok(None) };
    let of = |stream: &StreamInfo| stream.config.metadata.get(INCARNATION).cloned();
    let incarnation = of(first);
    for stream in &streams {
        if topic_of(&stream.config)?.is_some() {
            return Err(topic_exists(name));
        }
        let wanted = stream.config.metadata.get(SPEC).and_then(|text| serde_json::from_str::<TopicSpec>(text).ok());
        if stream.state.last_seq > 0 || wanted.as_ref() != Some(spec) || of(stream) != incarnation {
            return Err(left(&stream.config.name));
        }
    }
    Ok(incarnation.and_then(|text| Uuid::parse_str(&text).ok()))
}

fn left(stream: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, "Stream")
        .cause(format!("stream {stream} is left of a topic of this name that was not made or not deleted to its end"))
        .next("delete what is left with 'busline topic delete', and make it again")
}

async fn make_streams(admin: &Admin, features: StreamFeatures, info: &TopicInfo) -> Result<()> {
    let TopicInfo { name, spec, .. } = info;
    for number in (0..spec.streams).rev() {
        let config = config(info, number, features)?;
        let stream = names::stream(name, spec.streams, number);
        match admin.ask::<StreamInfo>(&format!("STREAM.CREATE.{stream}"), &config).await? {
            Ok(_) => admin.note_shown(&stream),
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
    // Somebody else may have finished it.
    if !topics::info(admin, &info.name).await.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return;
    }
    for number in 0..info.spec.streams {
        let stream = names::stream(&info.name, info.spec.streams, number);
        let found = stream_info(admin, &stream).await.ok().flatten();
        let is_ours = found.is_some_and(|found| {
            found.config.metadata.get(INCARNATION).is_some_and(|found| *found == info.incarnation.to_string())
        });
        if !is_ours {
            continue;
        }
        admin.note_deleted(&stream);
        if let Err(error) = admin.demand::<Value>(&format!("STREAM.DELETE.{stream}"), &Value::Null).await {
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
