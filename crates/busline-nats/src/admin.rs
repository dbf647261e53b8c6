//! Questions to JetStream's own subjects: JSON there and back, with retries of what is transient.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Client, RequestErrorKind};
use busline_core::{BEHIND_MAX, Error, Fresh, Result};
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
    /// Streams that a server of the cluster has shown a moment ago.
    fresh: Arc<Fresh>,
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
        Self { client, standing, patience, fresh: Arc::default() }
    }

    /// The client underneath.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Asks `$JS.API.<what>` until there is an answer that is not transient; an error of JetStream is part of the answer.
    ///
    /// # Errors
    /// `Unavailable/Server` once the patience is used up; `Denied/Credentials`, `Denied/Tls` and `Denied/Permission` at
    /// once; `Corrupt/Protocol`.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, what: &str, question: &Value) -> Result<Said<T>> {
        self.ask_while(what, question, |_| false).await
    }

    /// Asks `$JS.API.STREAM.<verb>.<stream>`. In a cluster, a server that does not know a stream which was shown a moment
    /// ago is behind, and asked again: it may have led the cluster when the stream was made, and not know yet that it
    /// does no more.
    ///
    /// # Errors
    /// As [`Admin::ask`].
    pub(crate) async fn ask_of<T: DeserializeOwned>(
        &self,
        stream: &str,
        verb: &str,
        question: &Value,
    ) -> Result<Said<T>> {
        let is_behind = |error: &ApiError| error.err_code == code::STREAM_NOT_FOUND && self.fresh.holds(stream);
        self.ask_while(&format!("STREAM.{verb}.{stream}"), question, is_behind).await
    }

    /// Asks until there is an answer that is neither transient nor passes; one that passes is given once the patience is
    /// used up.
    async fn ask_while<T: DeserializeOwned>(
        &self,
        what: &str,
        question: &Value,
        passes: impl Fn(&ApiError) -> bool,
    ) -> Result<Said<T>> {
        let subject = format!("$JS.API.{what}");
        let body = if question.is_null() { Bytes::new() } else { Bytes::from(question.to_string()) };
        let until = Instant::now() + self.patience;
        loop {
            let last = match self.attempt(&subject, body.clone()).await {
                Ok(Err(error)) if is_transient(&error) => Err(from_api(&error)),
                Ok(Err(error)) if passes(&error) => Ok(Err(error)),
                Err(error) if error.is_retryable() => Err(error),
                answer => return answer,
            };
            if Instant::now() + PAUSE >= until {
                return last;
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

    /// A server has shown this stream.
    pub(crate) fn note_shown(&self, stream: &str) {
        // One alone is never behind.
        if self.client.server_info().cluster.is_some() {
            self.fresh.note(stream, BEHIND_MAX);
        }
    }

    /// The stream is being deleted.
    pub(crate) fn note_deleted(&self, stream: &str) {
        self.fresh.forget(stream);
    }

    /// What was asked of this subject on the present connection.
    ///
    /// # Errors
    /// `Unavailable/Server` without an answer within this time, or as soon as the connection is replaced, since nothing
    /// that was asked on it is answered then; `Denied/Permission`.
    ///
    /// A connection that has brought nothing at all meanwhile is given up: the library itself finds out only after three
    /// signs of life that were missed, which is longer than a lease.
    pub(crate) async fn answer<T>(
        &self,
        at_most: Duration,
        subject: &str,
        asked: impl Future<Output = T>,
    ) -> Result<T> {
        let (brought, lost, denied) = (self.brought(), self.standing.lost(), self.standing.denied(subject));
        tokio::select! {
            biased;
            answer = asked => return Ok(answer),
            denied = denied => return Err(denied),
            () = lost => return Err(unanswered(at_most)),
            () = sleep(at_most) => {}
        }
        if self.brought() == brought {
            // It fails only where the client is closed.
            drop(self.client.force_reconnect().await);
        }
        Err(unanswered(at_most))
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
        let answer = match self.answer(ATTEMPT_MAX, subject, request).await {
            Err(error) if error.is_retryable() => return Err(self.standing.refusal().unwrap_or(error)),
            Err(denied) => return Err(denied),
            Ok(Err(error)) => {
                return Err(match error.kind() {
                    RequestErrorKind::NoResponders => no_jetstream(),
                    _ => self.standing.refusal().unwrap_or_else(|| unreachable("the request failed")),
                });
            }
            Ok(Ok(answer)) => answer,
        };
        match serde_json::from_slice(&answer.payload) {
            Ok(Answer::Refused { error }) => Ok(Err(error)),
            Ok(Answer::Given(given)) => Ok(Ok(given)),
            Err(error) => Err(protocol("an answer of JetStream that cannot be read").because(error)),
        }
    }

    /// One stored message, read through the stream's leader; `None` if there is none.
    pub(crate) async fn message(&self, stream: &str, which: &Value) -> Result<Option<StoredMessage>> {
        match self.ask_of::<MessageAnswer>(stream, "MSG.GET", which).await? {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    const NOT_FOUND: &str = r#"{"error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;

    /// Answers one client's requests: so many times that there is no such stream, then that there is.
    async fn serve(listener: TcpListener, behind: usize) -> std::io::Result<()> {
        let (read, mut write) = listener.accept().await?.0.into_split();
        let info = r#"{"server_id":"S","version":"2.15.1","max_payload":1048576,"headers":true,"cluster":"c"}"#;
        write.write_all(format!("INFO {info}\r\n").as_bytes()).await?;
        let (mut lines, mut answered) = (BufReader::new(read).lines(), 0);
        let mut inbox = String::new();
        while let Some(line) = lines.next_line().await? {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["PING"] => write.write_all(b"PONG\r\n").await?,
                ["SUB", .., id] => inbox = id.to_owned(),
                ["PUB", _, reply, _] => {
                    let body = if answered < behind { NOT_FOUND } else { "{}" };
                    answered += 1;
                    let message = format!("MSG {reply} {inbox} {}\r\n{body}\r\n", body.len());
                    write.write_all(message.as_bytes()).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the stream is found by somebody to whom this was told before, when a server is behind by two answers.
    async fn is_found(told: impl FnOnce(&Admin)) -> bool {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let server = tokio::runtime::Handle::current().spawn(serve(listener, 2));
        let client = async_nats::connect(address).await.expect("connects");
        let admin = Admin::new(client, Standing::default(), Duration::from_secs(20));
        told(&admin);
        let found = admin.ask_of::<Value>("orders", "INFO", &Value::Null).await.expect("answers").is_ok();
        server.abort();
        found
    }

    #[tokio::test]
    async fn a_server_that_is_behind_is_asked_again_where_a_stream_was_shown() {
        assert!(!is_found(|_| ()).await, "nobody has shown it");
        assert!(is_found(|admin| admin.note_shown("orders")).await);
        assert!(!is_found(|admin| admin.note_shown("others")).await);
        let made_and_deleted = |admin: &Admin| {
            admin.note_shown("orders");
            admin.note_deleted("orders");
        };
        assert!(!is_found(made_and_deleted).await, "it may be gone");
    }
}
