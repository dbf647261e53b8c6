//! Deleting a topic, until the brokers show it no more.

use std::time::{Duration, Instant};

use busline_core::{Error, ErrorKind, Result, TopicName, group_active, topic_not_found};
use rdkafka::error::RDKafkaErrorCode;
use uuid::Uuid;

use crate::clients::{Clients, TRY_AGAIN, options_within, pause};
use crate::{error, groups, topics};

/// How many times the driver's patience a deletion may take: once for the answer, once until nobody shows the topic.
const PATIENCES: u32 = 2;

/// Deletes the topic's groups and the topic. Ok: the brokers that were asked afterwards do not show it any more.
///
/// # Errors
/// `NotFound/Topic`; `Unavailable/GroupActive`; `Unavailable/Deletion` if it is shown for longer than twice the driver's
/// patience, and what a broker answers. Where it is not known whether the topic goes, the error is not definite.
pub(crate) fn delete(clients: &Clients, name: &TopicName) -> Result<()> {
    let described = topics::describe(clients, name)?;
    delete_groups(clients, name)?;
    clients.fresh.forget(name.as_str());
    let deletion = Deletion { clients, name, id: described.id, until: Instant::now() + clients.patience() * PATIENCES };
    match deletion.ask() {
        // A lost answer says nothing of the topic, a look at the topic does.
        Err(error) if !error::is_transient(&error) => Err(error),
        asked => deletion.wait(asked, topics::looks_enough(described.replicas)),
    }
}

fn delete_groups(clients: &Clients, name: &TopicName) -> Result<()> {
    let of_topic = groups::of_topic(clients, name)?;
    for group in &of_topic {
        let members = groups::member_names(clients, group, name)?;
        if !members.is_empty() {
            return Err(group_active(group, &members));
        }
    }
    for group in &of_topic {
        match groups::delete(clients, group, name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            deleted => deleted?,
        }
    }
    Ok(())
}

/// One incarnation of a topic on its way out.
struct Deletion<'a> {
    clients: &'a Clients,
    name: &'a TopicName,
    id: Uuid,
    until: Instant,
}

/// What one look at the topic finds.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Gone,
    /// Somebody has made it again, so the one before is gone everywhere.
    Another,
    Shown,
}

impl Deletion<'_> {
    fn ask(&self) -> Result<()> {
        let at = |error: Error| error.at("delete topic", self.name);
        let request = self.clients.admin()?;
        let request = request.delete_topics(&[self.name.as_str()], &options_within(self.limit()));
        match self.clients.wait(request).map_err(at)?.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::UnknownTopicOrPartition))) => Err(topic_not_found(self.name)),
            Some(Err((_, code))) => Err(at(error::of_code(code))),
            _ => Ok(()),
        }
    }

    /// Looks until so many looks in a row do not find it, and asks again while nobody has taken the request.
    fn wait(&self, mut asked: Result<()>, enough: u32) -> Result<()> {
        let mut looks = 0;
        while Instant::now() < self.until {
            match self.look() {
                Ok(Seen::Another) => return Ok(()),
                Ok(Seen::Gone) => looks += 1,
                Ok(Seen::Shown) => {
                    looks = 0;
                    if asked.as_ref().is_err_and(error::is_transient) {
                        asked = self.ask();
                    }
                }
                Err(error) if error::is_transient(&error) => {}
                Err(error) => return Err(error.indeterminate()),
            }
            if looks >= enough {
                return Ok(());
            }
            pause(TRY_AGAIN);
        }
        let failed = asked.err().filter(|error| error.kind() != ErrorKind::NotFound);
        Err(failed.unwrap_or_else(|| self.still_shown()).indeterminate())
    }

    fn look(&self) -> Result<Seen> {
        match topics::look(self.clients, self.name, self.limit()) {
            Ok(found) if found.id == self.id => Ok(Seen::Shown),
            Ok(_) => Ok(Seen::Another),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Seen::Gone),
            Err(error) => Err(error),
        }
    }

    /// Longest wait for one answer. No request is made without any time for its answer.
    fn limit(&self) -> Duration {
        let left = self.until.saturating_duration_since(Instant::now());
        left.clamp(TRY_AGAIN, self.clients.patience())
    }

    fn still_shown(&self) -> Error {
        Error::new(ErrorKind::Unavailable, "Deletion")
            .cause(format!("a broker still shows the topic after {:?}", self.clients.patience() * PATIENCES))
            .next("check the brokers, then delete it again: NotFound/Topic says that it is gone")
            .at("delete topic", self.name)
    }
}
