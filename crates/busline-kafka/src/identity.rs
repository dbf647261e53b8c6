//! Whether a topic is still the one that a sink or source was opened on: its end is invisible to the clients.

use std::time::Duration;

use busline_core::{Error, ErrorKind, Result, TopicInfo, topic_not_found};
use tokio::time::Instant;

use crate::clients::Clients;
use crate::native::{Ask, Described, ask_topics, described};

/// A look at the topic's id about once a second, which never waits.
#[derive(Default)]
pub(crate) struct Identity {
    ask: Option<Ask>,
    asked: Option<Instant>,
    /// Answers in a row that say it is another one.
    strangers: u32,
}

const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One answer may come from a broker that is behind.
const STRANGERS_MAX: u32 = 2;
const STRANGER_AGAIN: Duration = Duration::from_millis(200);

impl Identity {
    /// The error of a topic that is gone or was replaced.
    pub(crate) fn check(&mut self, clients: &Clients, topic: &TopicInfo) -> Option<Error> {
        if let Some(answer) = self.ask.as_ref().and_then(|ask| ask.poll(Duration::ZERO)) {
            self.ask = None;
            let found = answer.check().ok().and_then(|()| described(&answer).into_iter().next());
            let stranger = found.and_then(|found| stranger(clients, topic, found));
            self.strangers = if stranger.is_some() { self.strangers + 1 } else { 0 };
            if self.strangers >= STRANGERS_MAX {
                return stranger;
            }
        }
        let pause = if self.strangers > 0 { STRANGER_AGAIN } else { LOOK_AGAIN };
        if self.ask.is_none() && self.asked.is_none_or(|asked| asked.elapsed() >= pause) {
            self.asked = Some(Instant::now());
            let client = clients.native().ok()?;
            self.ask = ask_topics(&client, &[topic.name.as_str()], clients.patience()).ok();
        }
        None
    }
}

fn stranger(clients: &Clients, topic: &TopicInfo, found: Result<Described>) -> Option<Error> {
    match found {
        Ok(found) if found.id == topic.incarnation => None,
        Ok(_) => Some(replaced().at("topic", &topic.name)),
        // The broker that was asked is behind.
        Err(_) if clients.fresh.holds(topic.name.as_str()) => None,
        Err(error) if error.kind() == ErrorKind::NotFound => Some(topic_not_found(&topic.name)),
        Err(_) => None,
    }
}

/// The error of a topic that was deleted and made again.
pub(crate) fn replaced() -> Error {
    Error::new(ErrorKind::NotFound, "TopicReplaced").cause("the topic was deleted and made again").next("open it again")
}
