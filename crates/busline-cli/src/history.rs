//! What `pub` did, recorded for the judges of kill tests: `BUSLINE_HISTORY=FILE`, off without it.
//!
//! Each step is in the file before `pub` goes on, and an outcome is there before it is printed.

use std::collections::HashMap;
use std::io;

use busline::{Ack, Envelope, Error, ErrorKind, Medium, Publisher, PublisherSettings, Result, TopicName};
use busline_history::{Acked, ContentHash, Durability, Publication, Recorder};

use crate::commands::Outcome;

/// Names the file; it must not exist, since a history belongs to one process.
pub(crate) const VARIABLE: &str = "BUSLINE_HISTORY";

/// The publisher's name in the history.
const PUBLISHER: &str = "pub";

/// The history of one run of `pub`, if one is asked for.
pub(crate) struct History(Option<Recording>);

struct Recording {
    recorder: Recorder,
    topic: String,
    durability: Durability,
    /// Publishes of each key so far. It grows with the keys, which a test bounds.
    calls: HashMap<String, u64>,
}

impl History {
    pub(crate) fn start(topic: &TopicName, publisher: &Publisher) -> Result<Self> {
        let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) else { return Ok(Self(None)) };
        Ok(Self(Some(Recording {
            recorder: Recorder::create(path, 0).map_err(incomplete)?,
            topic: topic.to_string(),
            durability: durability(publisher.offer().durability),
            calls: HashMap::new(),
        })))
    }

    /// An envelope is about to be published.
    pub(crate) fn invoke(&mut self, envelope: &Envelope) -> Result<()> {
        let Some(recording) = &mut self.0 else { return Ok(()) };
        let calls = recording.calls.entry(envelope.aggregate_id.clone()).or_default();
        *calls += 1;
        let payload = envelope.payload.bytes();
        let headers = envelope.headers.iter().map(|header| (header.name.as_str(), &*header.value));
        let publication = Publication {
            id: envelope.id.clone(),
            topic: recording.topic.clone(),
            key: envelope.aggregate_id.clone(),
            publisher: PUBLISHER.into(),
            kseq: *calls,
            size: payload.len() as u64,
            hash: ContentHash::of(payload, headers),
            durability: recording.durability,
            deadline: PublisherSettings::default().deadline,
        };
        recording.recorder.publish_invoke(publication).map_err(incomplete)
    }

    /// The envelope entered the window.
    pub(crate) fn accepted(&self, id: &str) -> Result<()> {
        self.record(|recorder| recorder.accept(id))
    }

    /// The envelope has its outcome.
    pub(crate) fn ended(&self, id: &str, outcome: &Outcome) -> Result<()> {
        self.record(|recorder| match outcome {
            Outcome::Acked(ack) => recorder.publish_ok(acked(id, ack)),
            Outcome::Failed(error) | Outcome::Invalid(error) => recorder.publish_fail(id, error.to_string()),
            Outcome::Indeterminate(error) => recorder.publish_info(id, error.to_string()),
        })
    }

    fn record(&self, record: impl FnOnce(&Recorder) -> io::Result<()>) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |recording| record(&recording.recorder).map_err(incomplete))
    }
}

fn acked(id: &str, ack: &Ack) -> Acked {
    Acked {
        id: id.into(),
        partition: ack.partition.0,
        offset: ack.offset.map(|offset| offset.0),
        duplicate: ack.duplicate,
        durability: durability(ack.durability),
    }
}

fn durability(is: busline::Durability) -> Durability {
    let medium = match is.medium {
        Medium::Memory => busline_history::Medium::Memory,
        Medium::Written => busline_history::Medium::Written,
        Medium::Synced => busline_history::Medium::Synced,
    };
    Durability { medium, copies: is.copies }
}

pub(crate) fn incomplete(error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "History")
        .because(error)
        .next("name a new file in BUSLINE_HISTORY")
        .at("history", "")
}
