//! Questions to JetStream's own subjects: JSON there and back, with retries of what is transient.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Client, RequestErrorKind};
use busline_core::{Error, Result};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::error::{ApiError, code, from_api, protocol, unanswered, unreachable};
use crate::standing::Standing;

/// One attempt of a question.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);

/// Pause before a question is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks JetStream.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    client: Client,
    standing: Standing,
    patience: Duration,
}

/// An answer: either an error or what was asked for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    Refused { error: ApiError },
    Given(T),
}

/// What JetStream said to a question.
pub(crate) type Said<T> = std::result::Result<T, ApiError>;

impl Admin {
    pub(crate) fn new(client: Client, standing: Standing, patience: Duration) -> Self {
        Self { client, standing, patience }
    }

    /// The client underneath.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Asks `$JS.API.<what>` until there is an answer that is not transient; an error of JetStream is part of the answer.
    ///
    /// # Errors
    /// `Unavailable/Server` once the patience is used up; `Denied/Credentials` and `Denied/Tls` at once;
    /// `Corrupt/Protocol`.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, what: &str, question: &Value) -> Result<Said<T>> {
        let subject = format!("$JS.API.{what}");
        let body = if question.is_null() { Bytes::new() } else { Bytes::from(question.to_string()) };
        let until = Instant::now() + self.patience;
        loop {
            let last = match self.attempt(&subject, body.clone()).await {
                Ok(Err(error)) if is_transient(&error) => from_api(&error),
                Err(error) if error.is_retryable() => error,
                answer => return answer,
            };
            if Instant::now() + PAUSE >= until {
                return Err(last);
            }
            sleep(PAUSE).await;
        }
    }

    /// The same, where every error of JetStream is an error.
    ///
    /// # Errors
    /// As [`Admin::ask`], and those of [`from_api`].
    pub(crate) async fn demand<T: DeserializeOwned>(&self, what: &str, question: &Value) -> Result<T> {
        self.ask(what, question).await?.map_err(|error| from_api(&error))
    }

    /// What was asked for on the present connection; `None` without an answer within this time, or as soon as the connection
    /// is replaced, since nothing that was asked on it is answered then.
    ///
    /// A connection that has brought nothing at all meanwhile is given up: the library itself finds out only after three
    /// signs of life that were missed, which is longer than a lease.
    pub(crate) async fn answer<T>(&self, at_most: Duration, asked: impl Future<Output = T>) -> Option<T> {
        let (brought, lost) = (self.brought(), self.standing.lost());
        tokio::select! {
            biased;
            answer = asked => return Some(answer),
            () = lost => return None,
            () = sleep(at_most) => {}
        }
        if self.brought() == brought {
            // It fails only where the client is closed.
            drop(self.client.force_reconnect().await);
        }
        None
    }

    fn brought(&self) -> u64 {
        self.client.statistics().in_bytes.load(Ordering::Relaxed)
    }

    async fn attempt<T: DeserializeOwned>(&self, subject: &str, body: Bytes) -> Result<Said<T>> {
        // Without a connection the request would wait for one.
        if let Some(refusal) = self.standing.refusal() {
            return Err(refusal);
        }
        let request = self.client.request(subject.to_owned(), body);
        let answer = match self.answer(ATTEMPT_MAX, request).await {
            None => {
                return Err(self.standing.refusal().unwrap_or_else(|| unanswered(ATTEMPT_MAX)));
            }
            Some(Err(error)) => {
                return Err(match error.kind() {
                    RequestErrorKind::NoResponders => no_jetstream(),
                    _ => self.standing.refusal().unwrap_or_else(|| unreachable("the request failed")),
                });
            }
            Some(Ok(answer)) => answer,
        };
        match serde_json::from_slice(&answer.payload) {
            Ok(Answer::Refused { error }) => Ok(Err(error)),
            Ok(Answer::Given(given)) => Ok(Ok(given)),
            Err(error) => Err(protocol("an answer of JetStream that cannot be read").because(error)),
        }
    }

    /// One stored message, read through the stream's leader; `None` if there is none.
    pub(crate) async fn message(&self, stream: &str, which: &Value) -> Result<Option<StoredMessage>> {
        match self.ask::<MessageAnswer>(&format!("STREAM.MSG.GET.{stream}"), which).await? {
            Ok(answer) => Ok(Some(answer.message)),
            Err(error) if error.err_code == code::NO_MESSAGE => Ok(None),
            Err(error) => Err(from_api(&error)),
        }
    }

    /// The last message of a subject, read through the leader.
    pub(crate) async fn last(&self, stream: &str, subject: &str) -> Result<Option<StoredMessage>> {
        self.message(stream, &json!({ "last_by_subj": subject })).await
    }

    /// The first message of a subject from this sequence on, read through the leader.
    pub(crate) async fn first_from(&self, stream: &str, subject: &str, from: u64) -> Result<Option<StoredMessage>> {
        self.message(stream, &json!({ "seq": from.max(1), "next_by_subj": subject })).await
    }
}

/// A cluster may have no leader for a while; until the patience is used up that is transient.
fn is_transient(error: &ApiError) -> bool {
    error.code == 503 || matches!(error.err_code, 10_008 | 10_009 | 10_013)
}

fn no_jetstream() -> Error {
    unreachable("JetStream does not answer on this account")
}

#[derive(Deserialize)]
struct MessageAnswer {
    message: StoredMessage,
}

/// A message as `STREAM.MSG.GET` gives it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StoredMessage {
    pub(crate) subject: String,
    pub(crate) seq: u64,
    #[serde(default, deserialize_with = "base64_bytes")]
    pub(crate) data: Bytes,
    /// The whole header block.
    #[serde(default, deserialize_with = "base64_bytes")]
    pub(crate) hdrs: Bytes,
    #[serde(deserialize_with = "timestamp")]
    pub(crate) time: jiff::Timestamp,
}

fn base64_bytes<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Bytes, D::Error> {
    use base64::Engine;
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(&*text);
    bytes.map(Bytes::from).map_err(serde::de::Error::custom)
}

fn timestamp<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<jiff::Timestamp, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}
