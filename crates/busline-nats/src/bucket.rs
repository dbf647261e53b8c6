//! The key-value bucket of the groups: reads through the leader, writes by compare-and-set.
//!
//! A revision is the sequence of the message that holds a key's value. Whoever writes names the revision it knows, 0 for
//! none, so a write that arrives late changes nothing that another one has changed meanwhile.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Request, RequestErrorKind};
use busline_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::admin::{Admin, StoredMessage};
use crate::error::{ApiError, code, from_api, protocol, unreachable};
use crate::keys::BUCKET;

/// One attempt of a write or a list.
const ATTEMPT_MAX: Duration = Duration::from_millis(1_500);

/// Copies that the bucket has where there are so many servers.
const COPIES: u8 = 3;

/// No message of this sequence.
const NO_SUCH_SEQUENCE: [u16; 2] = [10_057, 10_043];

/// Between two questions whether a new bucket takes writes.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// What is asked for then: a key that nobody writes, at a revision that no key has.
const ASKED_KEY: &str = "asked";
const NEVER: u64 = 1 << 62;

/// The cluster has too few servers for so many copies, or is none.
const TOO_FEW_SERVERS: [u16; 2] = [10_005, 10_074];

/// The bucket.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    admin: Admin,
}

/// A key's value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) revision: u64,
    pub(crate) value: Bytes,
}

/// How a write ended that got an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// Stored under this revision.
    Stored(u64),
    /// The key has another revision than the one named.
    Conflict,
}

/// What a write asks of the key as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Anything,
    /// This revision; 0: the key must not be there.
    Revision(u64),
}

impl Bucket {
    pub(crate) fn new(admin: Admin) -> Self {
        Self { admin }
    }

    /// Makes the bucket unless it is there, with as many copies as there are servers, at most three or those of the topic, and
    /// waits until it takes writes.
    ///
    /// # Errors
    /// `Unavailable/GroupCopies` if it has fewer copies than the topic whose groups it is to keep; `Unavailable/…`.
    pub(crate) async fn ensure(&self, copies: u8) -> Result<()> {
        match self.info().await? {
            Some(found) => self.widen(&found, copies).await?,
            None => self.make(copies).await?,
        }
        self.wait_for_writes().await
    }

    async fn make(&self, copies: u8) -> Result<()> {
        let mut refused = None;
        for wanted in (1..=copies.max(COPIES)).rev() {
            let made = self.admin.ask::<Value>(&format!("STREAM.CREATE.KV_{BUCKET}"), &config(wanted)).await?;
            match made {
                Ok(_) if wanted >= copies => return Ok(()),
                Ok(_) => return Err(too_few_copies(wanted, copies)),
                Err(error) if TOO_FEW_SERVERS.contains(&error.err_code) => refused = Some(error),
                // Somebody else was quicker.
                Err(error) if error.err_code == code::STREAM_NAME_IN_USE => {
                    let found = self.info().await?;
                    return found.map_or(Err(from_api(&error)), |found| check_copies(&found, copies));
                }
                Err(error) => return Err(from_api(&error)),
            }
        }
        Err(refused.map_or_else(|| too_few_copies(0, copies), |error| from_api(&error)))
    }

    /// A server of a cluster hears a moment later than the bucket's leader that there is one, and answers for nobody until
    /// then.
    async fn wait_for_writes(&self) -> Result<()> {
        let until = Instant::now() + ATTEMPT_MAX;
        loop {
            // The key never has this revision, so nothing is written.
            match self.put(ASKED_KEY, Vec::new(), Expect::Revision(NEVER), None).await {
                Err(error) if error.reason() == BUCKET_GONE && Instant::now() < until => sleep(ASK_AGAIN).await,
                answer => return answer.map(drop),
            }
        }
    }

    async fn info(&self) -> Result<Option<BucketInfo>> {
        match self.admin.ask::<BucketInfo>(&format!("STREAM.INFO.KV_{BUCKET}"), &Value::Null).await? {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.err_code == code::STREAM_NOT_FOUND => Ok(None),
            Err(error) => Err(from_api(&error)),
        }
    }

    /// A bucket that was made before the cluster grew gets more copies.
    async fn widen(&self, found: &BucketInfo, copies: u8) -> Result<()> {
        if found.config.num_replicas >= copies && found.config.allow_msg_ttl {
            return Ok(());
        }
        let wanted = config(found.config.num_replicas.max(copies));
        let widened = self.admin.ask::<Value>(&format!("STREAM.UPDATE.KV_{BUCKET}"), &wanted).await?;
        widened.map(drop).map_err(|_| too_few_copies(found.config.num_replicas, copies))
    }

    /// A key's value, read through the leader.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let found = self.message(key).await?;
        Ok(found.map(|found| Entry { key: key.to_owned(), revision: found.seq, value: found.data }))
    }

    /// When a key's value was written.
    pub(crate) async fn written(&self, key: &str) -> Result<Option<Timestamp>> {
        Ok(self.message(key).await?.map(|found| found.time))
    }

    async fn message(&self, key: &str) -> Result<Option<StoredMessage>> {
        match self.admin.last(&format!("KV_{BUCKET}"), &subject(key)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found,
        }
    }

    /// Writes a value; `lifetime` is after how long the server deletes it, in whole seconds, rounded up.
    ///
    /// # Errors
    /// `Unavailable/…`, and then it is not known whether it was written, or will be.
    pub(crate) async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        expect: Expect,
        lifetime: Option<Duration>,
    ) -> Result<Put> {
        self.check_connected()?;
        let mut headers = HeaderMap::new();
        if let Expect::Revision(revision) = expect {
            headers.insert("Nats-Expected-Last-Subject-Sequence", revision.to_string().as_str());
        }
        if let Some(lifetime) = lifetime {
            headers.insert("Nats-TTL", format!("{}s", whole_seconds(lifetime)).as_str());
        }
        let request = Request::new().headers(headers).payload(value.into()).timeout(None);
        let subject = subject(key);
        let asked = self.client().send_request(subject.clone(), request);
        let answer = match self.admin.answer(ATTEMPT_MAX, &subject, asked).await? {
            Err(error) if error.kind() == RequestErrorKind::NoResponders => return Err(bucket_gone()),
            Err(_) => return Err(unreachable("the request failed")),
            Ok(answer) => answer,
        };
        let answer: Stored = serde_json::from_slice(&answer.payload)
            .map_err(|error| protocol("an answer to a write that cannot be read").because(error))?;
        match answer.error {
            None => Ok(Put::Stored(answer.seq)),
            Some(error) if code::STREAM_WRONG_SEQUENCE.contains(&error.err_code) => Ok(Put::Conflict),
            // Whatever it says, it may have been stored: whoever asked reads it back.
            Some(error) => Err(from_api(&error)),
        }
    }

    /// Deletes a key, if it still has this revision.
    pub(crate) async fn delete(&self, revision: u64) -> Result<()> {
        let question = json!({ "seq": revision, "no_erase": true });
        match self.admin.ask::<Value>(&format!("STREAM.MSG.DELETE.KV_{BUCKET}"), &question).await? {
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(from_api(&error)),
        }
    }

    /// Deletes all keys of this pattern.
    pub(crate) async fn purge(&self, pattern: &str) -> Result<()> {
        let question = json!({ "filter": subject(pattern) });
        match self.admin.ask::<Value>(&format!("STREAM.PURGE.KV_{BUCKET}"), &question).await? {
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(from_api(&error)),
        }
    }

    /// The keys of this pattern, as the leader has them. A bucket that is not there has none.
    pub(crate) async fn keys(&self, pattern: &str) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        loop {
            let question = json!({ "subjects_filter": subject(pattern), "offset": keys.len() });
            let page = match self.admin.ask::<Page>(&format!("STREAM.INFO.KV_{BUCKET}"), &question).await? {
                Ok(page) => page,
                Err(error) if is_gone(&error) => return Ok(keys),
                Err(error) => return Err(from_api(&error)),
            };
            let subjects = page.state.subjects.unwrap_or_default();
            let is_last = subjects.is_empty() || keys.len() + subjects.len() >= page.total;
            keys.extend(subjects.keys().filter_map(|subject| key(subject)).map(str::to_owned));
            if is_last {
                keys.sort_unstable();
                return Ok(keys);
            }
        }
    }

    /// The values of this pattern as some copy of the bucket has them: perhaps a moment old. The server gives at most 1,024.
    pub(crate) async fn list(&self, pattern: &str) -> Result<Vec<Entry>> {
        self.check_connected()?;
        let asked = format!("$JS.API.DIRECT.GET.KV_{BUCKET}");
        let question = json!({ "multi_last": [subject(pattern)] }).to_string();
        self.admin.answer(ATTEMPT_MAX, &asked, self.all_answers(asked.clone(), question.into())).await?
    }

    async fn all_answers(&self, asked: String, question: Bytes) -> Result<Vec<Entry>> {
        let inbox = self.client().new_inbox();
        let lost = || unreachable("the connection is gone");
        let mut answers = self.client().subscribe(inbox.clone()).await.map_err(|_| lost())?;
        self.client().publish_with_reply(asked, inbox, question).await.map_err(|_| lost())?;
        let mut entries = Vec::new();
        loop {
            let answer = answers.next().await.ok_or_else(lost)?;
            match answer.status.map(|status| status.as_u16()) {
                // 204 ends a list, 404 says that there is nothing.
                Some(204 | 404) => return Ok(entries),
                Some(503) => return Err(bucket_gone()),
                Some(status) => return Err(unreachable(format!("the bucket cannot be listed: {status}"))),
                None => entries.extend(direct(&answer)),
            }
        }
    }

    /// The client keeps what it cannot send and sends it after the reconnect, when it is old.
    fn check_connected(&self) -> Result<()> {
        match self.client().connection_state() {
            State::Connected => Ok(()),
            _ => Err(unreachable("the connection is broken")),
        }
    }

    fn client(&self) -> &Client {
        self.admin.client()
    }
}

/// A value in an answer of a direct get.
fn direct(message: &async_nats::Message) -> Option<Entry> {
    let headers = message.headers.as_ref()?;
    let revision = headers.get("Nats-Sequence")?.as_str().parse().ok()?;
    let key = key(headers.get("Nats-Subject")?.as_str())?.to_owned();
    Some(Entry { key, revision, value: message.payload.clone() })
}

fn subject(key: &str) -> String {
    format!("$KV.{BUCKET}.{key}")
}

fn key(subject: &str) -> Option<&str> {
    subject.strip_prefix("$KV.")?.strip_prefix(BUCKET)?.strip_prefix('.')
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn config(copies: u8) -> Value {
    json!({
        "name": format!("KV_{BUCKET}"),
        "description": "members, leases and committed offsets of Busline groups",
        "subjects": [subject(">")],
        "retention": "limits",
        "discard": "new",
        "storage": "file",
        "num_replicas": copies,
        "max_msgs_per_subject": 1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_consumers": -1,
        "allow_rollup_hdrs": true,
        "allow_direct": true,
        "allow_msg_ttl": true,
    })
}

fn is_gone(error: &ApiError) -> bool {
    NO_SUCH_SEQUENCE.contains(&error.err_code) || matches!(error.err_code, code::NO_MESSAGE | code::STREAM_NOT_FOUND)
}

fn check_copies(found: &BucketInfo, copies: u8) -> Result<()> {
    if found.config.num_replicas >= copies { Ok(()) } else { Err(too_few_copies(found.config.num_replicas, copies)) }
}

fn too_few_copies(has: u8, copies: u8) -> Error {
    Error::new(ErrorKind::Unavailable, "GroupCopies")
        .cause(format!("the bucket {BUCKET} has {has} copies and the topic {copies}"))
        .next("start all servers of the cluster, or give the bucket as many replicas as the topic has")
}

/// The bucket has no leader or is not there.
fn bucket_gone() -> Error {
    Error::new(ErrorKind::Unavailable, BUCKET_GONE)
        .cause(format!("nobody answers for the bucket {BUCKET}"))
        .next("see whether the servers that keep it run; it is made again if it was deleted")
}

/// The reason of an error that a bucket which was deleted gives too.
pub(crate) const BUCKET_GONE: &str = "GroupBucket";

#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    seq: u64,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct BucketInfo {
    config: BucketConfig,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct BucketConfig {
    num_replicas: u8,
    allow_msg_ttl: bool,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    total: usize,
    state: PageState,
}

#[derive(Deserialize)]
struct PageState {
    subjects: Option<std::collections::HashMap<String, u64>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_whole_seconds_and_never_shorter() {
        for (millis, seconds) in [(1_000, 1), (1_001, 2), (5_000, 5)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
